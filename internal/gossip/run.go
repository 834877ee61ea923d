package gossip

import (
	"context"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/hashicorp/serf/serf"
)

const (
	// While alone.
	retryFirst = 250 * time.Millisecond
	retryMost  = 10 * time.Second
	// Not alone: first and longest wait; from settled on, members that are known
	// to be alive are no longer asked.
	settling = 3 * time.Second
	settled  = 15 * time.Second
	seekMost = time.Minute

	saveEvery = 2 * time.Second
)

// Run joins, and rejoins for as long as no other member is alive, until the
// context ends; then it leaves, if so configured, and lets the sockets go.
func (g *Gossip) Run(ctx context.Context) error {
	var seeking sync.WaitGroup
	seeking.Go(func() { g.seekAll(ctx) })
	save := time.NewTimer(saveEvery)
	save.Stop()
	defer save.Stop()
	for {
		select {
		case <-ctx.Done():
			g.save()
			g.checks.Wait()
			err := g.stop() // ends a join that is under way, too
			seeking.Wait()
			return err
		case e := <-g.events:
			if g.take(ctx, e) {
				g.notify()
				save.Reset(saveEvery)
			}
		case member := <-g.signs:
			g.checks.Go(func() { g.tell(member) })
		case <-save.C:
			g.save()
		}
	}
}

func (g *Gossip) seekAll(ctx context.Context) {
	contacts := g.contacts()
	for wait := retryFirst; ; {
		wait = g.seek(ctx, contacts, wait)
		if !pause(ctx, wait) {
			return
		}
	}
}

// seek joins through the contacts and tells when to do so again. A member that
// is not alone goes on seeking, ever more rarely: others that were restarted,
// too, may have found each other only, and who knows this one under an old
// address learns the new one.
func (g *Gossip) seek(ctx context.Context, contacts []string, wait time.Duration) time.Duration {
	alive := g.alive()
	alone := len(alive) == 0
	rand.Shuffle(len(contacts), func(i, j int) { contacts[i], contacts[j] = contacts[j], contacts[i] })
	for _, addr := range contacts {
		if ctx.Err() != nil {
			break
		}
		if !alone && alive[addr] && wait > settled {
			continue
		}
		err := g.Join(addr)
		if err == nil && alone {
			return settling
		}
		if err != nil {
			g.c.Logger.Debug("gossip: not joined", "address", addr, "error", err)
		}
		if !alone {
			break
		}
	}
	if alone {
		return min(2*wait, retryMost)
	}
	return min(max(2*wait, settling), seekMost)
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

// alive are the addresses of the other members that are alive.
func (g *Gossip) alive() map[string]bool {
	out := map[string]bool{}
	for _, m := range g.serf.Members() {
		if m.Name != g.c.Name && m.Status == serf.StatusAlive {
			out[addrOf(m)] = true
		}
	}
	return out
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
