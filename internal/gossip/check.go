package gossip

import (
	"context"
	"errors"
	"net"
	"syscall"
	"time"

	"github.com/hashicorp/serf/serf"
)

// checkEvent asks all servers to check a member; its payload is the name.
const checkEvent = "check"

// Check says that there is reason to think that a member died, such as the end
// of a connection to it. It returns at once. Servers then look whether the
// member's machine refuses connections to its gossip port: if it does, the
// member counts as failed at once, instead of after the seconds that probing
// takes. Whoever answers, or does not answer at all, is left to probing.
func (g *Gossip) Check(name string) {
	select {
	case g.signs <- name:
	default: // with so many signs at once, some are lost; probing gives more
	}
}

// tell has the servers check a member unless that is old news.
func (g *Gossip) tell(name string) {
	g.mu.Lock()
	busy := g.checking[name]
	g.mu.Unlock()
	if _, alive := g.aliveAt(name); busy || !alive {
		return
	}
	if err := g.serf.UserEvent(checkEvent, []byte(name), false); err != nil {
		g.c.Logger.Debug("gossip", "check", name, "error", err)
		return
	}
	// The event waits for the next tick, unless a packet goes there before.
	for _, m := range g.serf.Members() {
		if m.Name != g.c.Name && m.Tags[TagRole] == RoleServer && m.Status == serf.StatusAlive {
			_, _ = g.serf.Memberlist().Ping(m.Name, &net.UDPAddr{IP: m.Addr, Port: int(m.Port)})
		}
	}
}

// check runs in a goroutine of its own. It ends when the member is found gone
// and, later, back or known as failed to everyone.
func (g *Gossip) check(ctx context.Context, name string) {
	g.mu.Lock()
	busy := g.checking[name]
	g.checking[name] = true
	g.mu.Unlock()
	if busy {
		return
	}
	defer func() {
		g.mu.Lock()
		defer g.mu.Unlock()
		delete(g.checking, name)
	}()
	addr, ok := g.aliveAt(name)
	if !ok || name == g.c.Name || !g.refuses(ctx, addr) {
		return
	}
	g.c.Logger.Info("gossip", "event", "member-gone", "member", name, "address", addr)
	g.setGone(name, addr)
	defer g.setGone(name, "")
	// Until serf finds the same, or it is back.
	for {
		if !pause(ctx, recheckEvery) {
			return
		}
		if now, ok := g.aliveAt(name); !ok || now != addr || !g.refuses(ctx, addr) {
			return
		}
	}
}

// refuses tells whether connections to the address are refused, several times
// in a row. One that is accepted may have been by a process that is just dying:
// its connections do not all close at the same moment.
func (g *Gossip) refuses(ctx context.Context, addr string) bool {
	for refused, accepted := 0, 0; ; {
		conn, err := (&net.Dialer{Timeout: dialTimeout}).DialContext(ctx, "tcp", addr)
		switch {
		case err == nil:
			_ = conn.Close()
			refused = 0
			accepted++
		case errors.Is(err, syscall.ECONNREFUSED):
			refused++
		default:
			return false
		}
		if refused == enough || accepted == enough {
			return refused == enough
		}
		if !pause(ctx, dialPause) {
			return false
		}
	}
}

// aliveAt tells where serf thinks that a member is alive.
func (g *Gossip) aliveAt(name string) (string, bool) {
	for _, m := range g.serf.Members() {
		if m.Name == name && stateOf(m.Status) == Alive {
			return addrOf(m), true
		}
	}
	return "", false
}

// setGone records that a member at the address is gone; an empty address takes
// that back.
func (g *Gossip) setGone(name, addr string) {
	g.mu.Lock()
	if addr == "" {
		delete(g.gone, name)
	} else {
		g.gone[name] = addr
	}
	g.mu.Unlock()
	g.notify()
}

// pause waits; false when the context ended first.
func pause(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-t.C:
		return true
	}
}
