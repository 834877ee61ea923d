package replica

import (
	"context"
	"sync"

	"dhow.dev/dhow/proto/spec"
)

// reads shares one confirmation of leadership among all that wait for it.
type reads struct {
	r       *Replica
	mu      sync.Mutex
	next    *round
	running bool
}

type round struct {
	done  chan struct{}
	index uint64
	err   error
}

// ReadIndex confirms that this server leads. A state of at least the index it
// returns has every write that was acknowledged before the call. CodeNotLeader
// when it does not lead.
func (r *Replica) ReadIndex(ctx context.Context) (uint64, error) {
	if err := r.waitLead(ctx); err != nil {
		return 0, err
	}
	n := r.reads.join()
	select {
	case <-n.done:
		return n.index, n.err
	case <-ctx.Done():
		return 0, spec.Errorf(spec.CodeTimeout, "a majority of servers does not answer: %w", ctx.Err())
	}
}

// join takes part in the next round, never in the running one: that one's
// index may be older than the caller's wish.
func (s *reads) join() *round {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.next == nil {
		s.next = &round{done: make(chan struct{})}
	}
	n := s.next
	if !s.running {
		s.running = true
		s.r.running.Go(s.run)
	}
	return n
}

func (s *reads) run() {
	for {
		s.mu.Lock()
		n := s.next
		s.next = nil
		s.running = n != nil
		s.mu.Unlock()
		if n == nil {
			return
		}
		n.index, n.err = s.confirm()
		close(n.done)
	}
}

func (s *reads) confirm() (uint64, error) {
	r := s.r
	l, _ := r.lead.get()
	if l == nil {
		return 0, spec.Errorf(spec.CodeNotLeader, "this server does not lead any more")
	}
	// The index comes first: what is committed after it need not be seen. It
	// is of this term, or the commit index would not be known to be current.
	index := max(r.raft.CommitIndex(), l.first)
	if err := r.raft.VerifyLeader().Error(); err != nil {
		return 0, mapError(err)
	}
	return r.logs.visible(index), nil
}

// Barrier waits until all that was written before is applied here. Leader
// only.
func (r *Replica) Barrier(ctx context.Context) error {
	if err := r.waitLead(ctx); err != nil {
		return err
	}
	return wait(ctx, r.raft.Barrier(0))
}
