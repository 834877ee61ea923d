package control

import (
	"context"
	"errors"

	"golang.org/x/sync/errgroup"

	"dhow.dev/dhow/control/loop"
	"dhow.dev/dhow/control/members"
	"dhow.dev/dhow/control/plan/liveness"
	"dhow.dev/dhow/control/registry"
	"dhow.dev/dhow/control/replica"
)

// lead runs what only the leader runs, each time this server becomes it.
func (s *Server) lead(ctx context.Context) error {
	for {
		leading, term, err := s.replica.Lead(ctx)
		if err != nil {
			return err
		}
		s.config.Logger.Info("leading", "term", term)
		err = s.runLeader(leading, term)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if leading.Err() == nil {
			return err // it failed, rather than lost its leadership
		}
		s.config.Logger.Info("no longer leading", "term", term)
	}
}

func (s *Server) runLeader(ctx context.Context, term uint64) error {
	facts, stop := newLivenessFacts(s.members)
	defer stop()
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error {
		return loop.New(loop.Config{Store: s.store, Facts: facts, Clock: s.config.Clock, Logger: s.config.Logger}).Run(ctx, term)
	})
	group.Go(func() error {
		return (&members.Cleanup{Self: s.config.Name, Members: s.members, Replica: voters{s.replica}, Now: s.config.Clock, Logger: s.config.Logger}).Run(ctx)
	})
	group.Go(func() error {
		return (&registry.Collector{State: state{s.store}, Now: s.config.Clock, Logger: s.config.Logger}).Run(ctx)
	})
	err := group.Wait()
	if errors.Is(err, context.Canceled) {
		return nil
	}
	return err
}

// livenessFacts translates between the rooms: gossip's facts, as the planner
// wants them.
type livenessFacts struct {
	members *members.Members
	changed <-chan struct{}
}

func newLivenessFacts(m *members.Members) (*livenessFacts, func()) {
	changed, stop := m.Subscribe()
	return &livenessFacts{members: m, changed: changed}, stop
}

// Changed implements loop.Facts.
func (f *livenessFacts) Changed() <-chan struct{} { return f.changed }

// Facts implements loop.Facts.
func (f *livenessFacts) Facts() liveness.Facts {
	from := f.members.Facts()
	to := liveness.Facts{Nodes: make(map[string]liveness.Gossip, len(from.Nodes)), Servers: make(map[string]liveness.Gossip, len(from.Servers))}
	for name, l := range from.Nodes {
		to.Nodes[name] = asGossip(l)
	}
	for name, server := range from.Servers {
		to.Servers[name] = asGossip(server.State)
	}
	return to
}

func asGossip(l members.Liveness) liveness.Gossip {
	switch l {
	case members.Alive:
		return liveness.Alive
	case members.Failed:
		return liveness.Failed
	case members.Left:
		return liveness.Left
	case members.Unknown:
	}
	return liveness.Unknown
}

// voters is the replica, as the clean-up of dead servers wants it.
type voters struct{ replica *replica.Replica }

// Peers implements members.Replica.
func (v voters) Peers() []members.Peer {
	var out []members.Peer
	for _, s := range v.replica.Servers() {
		out = append(out, members.Peer{Name: s.Name, Voter: s.Voter})
	}
	return out
}

// RemoveServer implements members.Replica.
func (v voters) RemoveServer(ctx context.Context, name string) error {
	return v.replica.RemoveServer(ctx, name)
}
