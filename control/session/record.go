package session

import (
	"context"
	"sync"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	dhowv1 "dhow.dev/dhow/proto/dhow/v1"
	"dhow.dev/dhow/proto/spec"
)

const (
	// Changes in one proposal.
	maxChanges = 1000
	// A proposal that failed for want of a leader is made again after this.
	retryFirst = 50 * time.Millisecond
	retryMost  = time.Second
	// How long a proposal may take before it is given up and made again.
	proposeTimeout = 10 * time.Second
)

// recorder writes into the state which nodes are connected. It keeps the
// newest fact per node and writes all there are at once, in one goroutine, so
// that facts about a node are written in order.
type recorder struct {
	c    Config
	wake chan struct{}

	mu    sync.Mutex
	facts map[string]*fact
}

// fact is what is to be written about a node.
type fact struct {
	session *dhowv1.NodeSession
	info    *dhowv1.NodeInfo
}

func newRecorder(c Config) *recorder {
	return &recorder{c: c, wake: make(chan struct{}, 1), facts: map[string]*fact{}}
}

func (r *recorder) connected(s *session) {
	r.put(s.node, &fact{info: s.info, session: &dhowv1.NodeSession{
		Server: r.c.Server, Id: s.id, Connected: true, Since: timestamppb.New(r.c.Now()),
	}})
}

func (r *recorder) disconnected(node, id string) {
	r.put(node, &fact{session: &dhowv1.NodeSession{Server: r.c.Server, Id: id, Since: timestamppb.New(r.c.Now())}})
}

func (r *recorder) put(node string, f *fact) {
	r.mu.Lock()
	r.facts[node] = f
	r.mu.Unlock()
	select {
	case r.wake <- struct{}{}:
	default:
	}
}

// take returns up to maxChanges facts.
func (r *recorder) take() map[string]*fact {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.facts) <= maxChanges {
		all := r.facts
		r.facts = map[string]*fact{}
		return all
	}
	some := make(map[string]*fact, maxChanges)
	for node, f := range r.facts {
		some[node] = f
		delete(r.facts, node)
		if len(some) == maxChanges {
			break
		}
	}
	return some
}

// back returns facts that could not be written, unless there are newer ones.
func (r *recorder) back(facts map[string]*fact) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for node, f := range facts {
		if r.facts[node] == nil {
			r.facts[node] = f
		}
	}
}

// run writes until the context ends. unknown is called for nodes that the
// state does not have.
func (r *recorder) run(ctx context.Context, unknown func(node string)) error {
	retry := retryFirst
	for {
		facts := r.take()
		if len(facts) == 0 {
			select {
			case <-ctx.Done():
				return ctx.Err()
			case <-r.wake:
			}
			continue
		}
		err := r.write(ctx, facts, unknown)
		if err == nil {
			retry = retryFirst
			continue
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		r.c.Logger.WarnContext(ctx, "cannot record nodes' sessions yet", "nodes", len(facts), "err", err)
		r.back(facts)
		pause := time.NewTimer(retry)
		select {
		case <-ctx.Done():
			pause.Stop()
			return ctx.Err()
		case <-pause.C:
		}
		retry = min(2*retry, retryMost)
	}
}

// write proposes facts. When one of them is refused, each is tried alone.
func (r *recorder) write(ctx context.Context, facts map[string]*fact, unknown func(string)) error {
	p := &dhowv1.Proposal{Time: timestamppb.New(r.c.Now())}
	for node, f := range facts {
		if f.info != nil {
			p.Changes = append(p.Changes, &dhowv1.Change{Op: &dhowv1.Change_Node{Node: &dhowv1.NodeReport{Node: node, Info: f.info}}})
		}
		p.Changes = append(p.Changes, &dhowv1.Change{Op: &dhowv1.Change_Session{Session: &dhowv1.NodeSessionReport{Node: node, Session: f.session}}})
	}
	err := propose(ctx, r.c.Store, p)
	switch spec.CodeOf(err) {
	case spec.CodeNotFound, spec.CodeInvalid, spec.CodeDenied, spec.CodeConflict:
	default:
		return err
	}
	if len(facts) == 1 {
		for node, f := range facts {
			if f.session.GetConnected() {
				unknown(node)
			}
		}
		return nil
	}
	for node, f := range facts {
		if err := r.write(ctx, map[string]*fact{node: f}, unknown); err != nil {
			return err
		}
	}
	return nil
}

func propose(ctx context.Context, s Store, p *dhowv1.Proposal) error {
	ctx, cancel := context.WithTimeout(ctx, proposeTimeout)
	defer cancel()
	_, err := s.Propose(ctx, p)
	return err
}
