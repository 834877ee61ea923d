package gossip

import (
	"context"
	"time"

	"github.com/hashicorp/serf/serf"
)

const (
	retryFirst = 250 * time.Millisecond
	retryMost  = 10 * time.Second
	saveEvery  = 2 * time.Second
)

// Run joins, and rejoins for as long as no other member is alive, until the
// context ends; then it leaves, if so configured, and lets the sockets go.
func (g *Gossip) Run(ctx context.Context) error {
	contacts := g.contacts()
	retry := retryFirst
	join := time.NewTimer(0)
	defer join.Stop()
	save := time.NewTimer(saveEvery)
	save.Stop()
	defer save.Stop()
	for {
		select {
		case <-ctx.Done():
			g.save()
			g.checks.Wait()
			return g.stop()
		case e := <-g.events:
			if g.take(ctx, e) {
				g.notify()
				save.Reset(saveEvery)
			}
		case <-save.C:
			g.save()
		case <-join.C:
			if g.alone() && len(contacts) > 0 {
				if err := g.Join(contacts...); err != nil {
					g.c.Logger.Debug("gossip: nobody to join yet", "retry", retry, "error", err)
				}
				join.Reset(retry)
				retry = min(2*retry, retryMost)
				continue
			}
			retry = retryFirst
			join.Reset(retryMost)
		}
	}
}

// take logs an event and tells whether membership changed.
func (g *Gossip) take(ctx context.Context, e serf.Event) bool {
	if u, ok := e.(serf.UserEvent); ok && u.Name == checkEvent && g.c.Tags[TagRole] == RoleServer {
		g.checks.Go(func() { g.check(ctx, string(u.Payload)) })
	}
	m, ok := e.(serf.MemberEvent)
	if !ok {
		return false
	}
	for _, member := range m.Members {
		if member.Name != g.c.Name {
			g.c.Logger.Info("gossip", "event", m.EventType().String(), "member", member.Name, "address", member.Addr.String())
		}
	}
	return true
}

// alone tells whether no other member is alive.
func (g *Gossip) alone() bool {
	for _, m := range g.serf.Members() {
		if m.Name != g.c.Name && m.Status == serf.StatusAlive {
			return false
		}
	}
	return true
}

func (g *Gossip) stop() error {
	// Serf blocks when nobody takes its events.
	done := make(chan struct{})
	drained := make(chan struct{})
	go func() {
		defer close(drained)
		for {
			select {
			case <-g.events:
			case <-done:
				return
			}
		}
	}()
	if g.c.Leave {
		if err := g.serf.Leave(); err != nil {
			g.c.Logger.Debug("gossip: leave", "error", err)
		}
	}
	err := g.serf.Shutdown()
	<-g.serf.ShutdownCh()
	close(done)
	<-drained
	return err
}
