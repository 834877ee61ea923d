package peer

import (
	"context"
	"sync"
	"time"

	"dhow.dev/dhow/internal/client"
	dhowv1 "dhow.dev/dhow/proto/dhow/v1"
	"dhow.dev/dhow/proto/spec"
)

const (
	// A leader that cannot be asked is tried again after this, or when there
	// is a new one.
	retryAfter = 20 * time.Millisecond
	// A leader that was replaced may still answer what it has committed.
	lastWords = 250 * time.Millisecond
)

// Propose has the leader carry out a proposal. While there is no leader it
// waits. A proposal that may have been carried out is sent again only if doing
// it twice is the same as doing it once.
func (p *Peers) Propose(ctx context.Context, q *dhowv1.Proposal) (*dhowv1.ProposalResult, error) {
	if name, _ := p.c.Replica.Leader(); name == p.c.Server {
		res, err := p.c.Replica.Propose(ctx, q)
		if err == nil || !again(err, q) {
			return res, err
		}
	}
	var res *dhowv1.ProposalResult
	err := p.lead(ctx, func(err error) bool { return again(err, q) }, func(ctx context.Context, leader string) (err error) {
		if leader == p.c.Server {
			res, err = p.c.Replica.Propose(ctx, q)
			return err
		}
		c, err := p.client(leader)
		if err != nil {
			return notSent(err)
		}
		answer, err := c.Peers.Propose(ctx, &dhowv1.ProposeRequest{Proposal: q})
		if err != nil {
			return remote(leader, err)
		}
		res = answer.GetResult()
		return nil
	})
	return res, err
}

// RemovePeer has the leader remove a server.
func (p *Peers) RemovePeer(ctx context.Context, server string) error {
	safe := func(err error) bool { return spec.CodeOf(err) == spec.CodeNotLeader }
	return p.lead(ctx, safe, func(ctx context.Context, leader string) error {
		if leader == p.c.Server {
			return p.c.Replica.RemoveServer(ctx, server)
		}
		c, err := p.client(leader)
		if err != nil {
			return notSent(err)
		}
		_, err = c.Peers.RemovePeer(ctx, &dhowv1.RemovePeerRequest{Name: server})
		return remote(leader, err)
	})
}

// ReadIndex is an index such that a state of at least it has every write
// acknowledged before the call.
func (p *Peers) ReadIndex(ctx context.Context) (uint64, error) {
	if name, _ := p.c.Replica.Leader(); name == p.c.Server {
		index, err := p.c.Replica.ReadIndex(ctx)
		if spec.CodeOf(err) != spec.CodeNotLeader {
			return index, err
		}
	}
	return p.reads.get(ctx)
}

// readIndex asks the leader for all who wait.
func (p *Peers) readIndex(ctx context.Context) (index uint64, err error) {
	retry := func(err error) bool {
		c := spec.CodeOf(err)
		return c == spec.CodeNotLeader || c == spec.CodeUnavailable
	}
	err = p.lead(ctx, retry, func(ctx context.Context, leader string) (err error) {
		if leader == p.c.Server {
			index, err = p.c.Replica.ReadIndex(ctx)
			return err
		}
		c, err := p.client(leader)
		if err != nil {
			return err
		}
		answer, err := c.Peers.ReadIndex(ctx, &dhowv1.ReadIndexRequest{})
		index = answer.GetIndex()
		return err
	})
	return index, err
}

// lead calls do with the leader's name, again as long as retry says so, there
// is time and another leader may come.
func (p *Peers) lead(ctx context.Context, retry func(error) bool, do func(ctx context.Context, leader string) error) error {
	patience := time.NewTimer(p.c.Patience)
	defer patience.Stop()
	var last error
	for {
		changed := p.c.Replica.LeaderChanged()
		if leader, _ := p.c.Replica.Leader(); leader != "" {
			err := p.once(ctx, leader, changed, do)
			if err == nil || ctx.Err() != nil || !retry(err) {
				return err
			}
			last = err
		}
		pause := time.NewTimer(retryAfter)
		select {
		case <-changed:
		case <-pause.C:
		case <-patience.C:
			pause.Stop()
			if last == nil {
				return spec.Errorf(spec.CodeNotLeader, "there is no leader (waited %s): more than half of the servers must be up and reach each other; nothing was changed", p.c.Patience)
			}
			return spec.Errorf(spec.CodeOf(last), "the leader cannot be reached (tried for %s): %w", p.c.Patience, last)
		case <-ctx.Done():
			pause.Stop()
			return spec.Errorf(spec.CodeTimeout, "no leader answered in time; nothing was changed: %w", ctx.Err())
		}
		pause.Stop()
	}
}

// once makes one try. A call to a leader that was replaced is given up, since
// that leader may be gone without a word.
func (p *Peers) once(ctx context.Context, leader string, changed <-chan struct{}, do func(ctx context.Context, leader string) error) error {
	if leader == p.c.Server {
		return do(ctx, leader)
	}
	try, cancel := context.WithCancel(ctx)
	defer cancel()
	go func() {
		select {
		case <-try.Done():
			return
		case <-changed:
		}
		wait := time.NewTimer(lastWords)
		defer wait.Stop()
		select {
		case <-try.Done():
		case <-wait.C:
			cancel()
		}
	}()
	err := do(try, leader)
	if err != nil && ctx.Err() == nil && try.Err() != nil {
		return spec.Errorf(spec.CodeUnavailable, "server %s, which led, did not answer; the change may or may not have been made: look, then try again", leader)
	}
	return err
}

// notSent marks an error after which nothing was sent.
func notSent(err error) error {
	return spec.Errorf(spec.CodeNotLeader, "%w", err)
}

// remote makes sense of a failed call to the leader.
func remote(leader string, err error) error {
	switch {
	case err == nil:
		return nil
	case client.NotSent(err):
		return notSent(err)
	case spec.CodeOf(err) == spec.CodeUnavailable:
		return spec.Errorf(spec.CodeUnavailable, "server %s, which leads, did not answer; the change may or may not have been made: look, then try again: %w", leader, err)
	}
	return err
}

// again tells whether a proposal that failed may be proposed once more.
func again(err error, q *dhowv1.Proposal) bool {
	switch spec.CodeOf(err) {
	case spec.CodeNotLeader:
		// Nothing was written. In another term it would be refused.
		return q.GetTerm() == 0
	case spec.CodeUnavailable:
		return q.GetTerm() == 0 && repeatable(q)
	default:
		return false
	}
}

// repeatable tells whether carrying a proposal out twice does no harm: reports
// are numbered, or say the same again. A put or delete could undo what others
// did in between.
func repeatable(q *dhowv1.Proposal) bool {
	for _, c := range q.GetChanges() {
		switch c.GetOp().(type) {
		case *dhowv1.Change_Instance, *dhowv1.Change_Node, *dhowv1.Change_Session:
		default:
			return false
		}
	}
	return true
}

// reads has one question to the leader answer all who asked before it was put.
type reads struct {
	ask func(ctx context.Context) (uint64, error)

	mu      sync.Mutex
	running bool
	next    *answer
}

type answer struct {
	done  chan struct{}
	index uint64
	err   error
}

func (r *reads) get(ctx context.Context) (uint64, error) {
	r.mu.Lock()
	if r.next == nil {
		r.next = &answer{done: make(chan struct{})}
	}
	a := r.next
	if !r.running {
		r.running = true
		// It asks for others, too, so it must outlive this call.
		go r.run(context.WithoutCancel(ctx))
	}
	r.mu.Unlock()
	select {
	case <-a.done:
		return a.index, a.err
	case <-ctx.Done():
		return 0, spec.Errorf(spec.CodeTimeout, "the leader did not confirm in time that it leads: %w", ctx.Err())
	}
}

// run asks as long as somebody waits; lead bounds each question.
func (r *reads) run(ctx context.Context) {
	for {
		r.mu.Lock()
		a := r.next
		r.next = nil
		if a == nil {
			r.running = false
			r.mu.Unlock()
			return
		}
		r.mu.Unlock()
		a.index, a.err = r.ask(ctx)
		close(a.done)
	}
}
