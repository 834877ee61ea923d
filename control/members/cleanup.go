package members

import (
	"context"
	"log/slog"
	"slices"
	"strings"
	"time"
)

const (
	// DeadAfter is how long a server must have been dead, without a break and as
	// seen by the same leader, before it may be removed: longer than a reboot
	// takes.
	DeadAfter = time.Minute
	// SettledAfter is how long a server must have been alive to be counted on.
	SettledAfter = 10 * time.Second
)

// Peer is a Raft member.
type Peer struct {
	Name  string
	Voter bool
}

// Replica is what the clean-up needs of Raft.
type Replica interface {
	Peers() []Peer
	RemoveServer(ctx context.Context, name string) error
}

// Observed is what the leader saw of one Raft member.
type Observed struct {
	Peer
	State Liveness
	// Since when it is in that state without a break.
	Since time.Time
}

// Dead decides which server to remove: one, or none (""). It is pure.
//
// A dead voter is removed only when that lets the cluster lose one server more
// than it can with the dead one counted in. So of three servers with one dead
// none is removed (the two that stay need each other either way, and the third
// may come back); when a replacement has joined and settled, the dead one goes.
// It follows that a majority is always alive and stays so, and that the last
// server is never removed.
func Dead(self string, peers []Observed, now time.Time) string {
	voters, alive := 0, 0
	var dead []Observed
	for _, p := range peers {
		if p.Voter {
			voters++
		}
		since := now.Sub(p.Since)
		switch {
		case p.Name == self || p.State == Alive && since >= SettledAfter:
			if p.Voter {
				alive++
			}
		case (p.State == Failed || p.State == Left) && since >= DeadAfter:
			dead = append(dead, p)
		}
	}
	slices.SortFunc(dead, func(a, b Observed) int {
		if c := a.Since.Compare(b.Since); c != 0 {
			return c
		}
		return strings.Compare(a.Name, b.Name)
	})
	spare := alive - majority(voters)
	for _, d := range dead {
		if spare >= 0 && (!d.Voter || alive-majority(voters-1) > spare) {
			return d.Name
		}
	}
	return ""
}

func majority(voters int) int { return voters/2 + 1 }

// Cleanup removes dead servers from Raft while this server leads.
type Cleanup struct {
	Self    string
	Members *Members
	Replica Replica
	Now     func() time.Time
	Logger  *slog.Logger

	seen map[string]Observed
}

// checkEvery is how often the passing of time is looked at.
const checkEvery = 2 * time.Second

// Run cleans up until the context, which ends with the leadership, ends.
func (c *Cleanup) Run(ctx context.Context) error {
	c.seen = nil // what an earlier leadership saw has had breaks
	changed, end := c.Members.Subscribe()
	defer end()
	tick := time.NewTicker(checkEvery)
	defer tick.Stop()
	for {
		if name := Dead(c.Self, c.observe(), c.Now()); name != "" {
			if err := c.Replica.RemoveServer(ctx, name); err != nil && ctx.Err() == nil {
				c.Logger.Warn("dead server not removed", "server", name, "error", err)
			} else if err == nil {
				c.Logger.Info("dead server removed", "server", name, "dead_since", c.seen[name].Since)
			}
		}
		select {
		case <-ctx.Done():
			return nil
		case <-changed:
		case <-tick.C:
		}
	}
}

// observe notes since when each Raft member is in its state.
func (c *Cleanup) observe() []Observed {
	now := c.Now()
	servers := c.Members.Facts().Servers
	next := map[string]Observed{}
	var out []Observed
	for _, p := range c.Replica.Peers() {
		o := Observed{Peer: p, State: servers[p.Name].State, Since: now}
		// A clock that went back starts the wait anew.
		if old, ok := c.seen[p.Name]; ok && old.State == o.State && !old.Since.After(now) {
			o.Since = old.Since
		}
		next[p.Name] = o
		out = append(out, o)
	}
	c.seen = next
	return out
}
