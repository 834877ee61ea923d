package replica

import (
	"context"
	"errors"
	"sync"

	"github.com/hashicorp/raft"

	"dhow.dev/dhow/proto/spec"
)

// leads is what is known of this server's leadership.
type leads struct {
	mu      sync.Mutex
	now     *leadership // nil while it does not lead
	changed chan struct{}
}

type leadership struct {
	term uint64
	// first is the index of the entry that began it.
	first   uint64
	cancels []context.CancelCauseFunc
}

var errLost = errors.New("this server does not lead any more")

func (l *leads) broadcast() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.broadcastLocked()
}

func (l *leads) broadcastLocked() {
	close(l.changed)
	l.changed = make(chan struct{})
}

func (l *leads) set(now *leadership) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.now != nil {
		for _, c := range l.now.cancels {
			c(errLost)
		}
	}
	l.now = now
	l.broadcastLocked()
}

func (l *leads) get() (*leadership, <-chan struct{}) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.now, l.changed
}

// watchLeadership follows Raft. Leadership begins once an entry of its term is
// applied: then the state has all that earlier leaders wrote.
func (r *Replica) watchLeadership() {
	defer r.lead.set(nil)
	for {
		var leads bool
		select {
		case leads = <-r.notify:
		case <-r.closing:
			return
		}
		r.lead.set(nil)
		if !leads {
			continue
		}
		f := r.raft.Apply(nil, 0)
		if err := f.Error(); err != nil {
			continue // Lost again; Raft will notify.
		}
		a, _ := f.Response().(applied)
		r.lead.set(&leadership{term: a.term, first: a.index})
		r.c.Logger.Info("this server leads", "term", a.term)
	}
}

// waitLead returns nil when this server leads; right after an election it
// waits until the leadership has begun.
func (r *Replica) waitLead(ctx context.Context) error {
	for {
		l, changed := r.lead.get()
		if l != nil {
			return nil
		}
		if r.raft.State() != raft.Leader {
			name, _ := r.Leader()
			if name == "" || name == r.c.Name {
				return spec.Errorf(spec.CodeNotLeader, "there is no leader at the moment")
			}
			return spec.Errorf(spec.CodeNotLeader, "server %s leads", name)
		}
		select {
		case <-changed:
		case <-r.closing:
			return errStopping()
		case <-ctx.Done():
			return spec.Errorf(spec.CodeTimeout, "a majority of servers does not answer: %w", ctx.Err())
		}
	}
}

// Leader is the leader's name and address, empty when there is none.
func (r *Replica) Leader() (name, addr string) {
	a, id := r.raft.LeaderWithID()
	return string(id), string(a)
}

// IsLeader tells whether this server leads and has applied all that earlier
// leaders wrote.
func (r *Replica) IsLeader() bool {
	l, _ := r.lead.get()
	return l != nil
}

// Term is the current Raft term.
func (r *Replica) Term() uint64 { return r.raft.CurrentTerm() }

// LeaderChanged returns a channel that is closed at the next change of leader.
func (r *Replica) LeaderChanged() <-chan struct{} {
	_, changed := r.lead.get()
	return changed
}

// Lead waits until this server leads and has applied all that earlier leaders
// wrote. The context it returns ends with the leadership, and with the given
// one.
func (r *Replica) Lead(ctx context.Context) (leading context.Context, term uint64, err error) {
	for {
		r.lead.mu.Lock()
		l, changed := r.lead.now, r.lead.changed
		if l != nil {
			leading, cancel := context.WithCancelCause(ctx)
			l.cancels = append(l.cancels, cancel)
			r.lead.mu.Unlock()
			return leading, l.term, nil
		}
		r.lead.mu.Unlock()
		select {
		case <-changed:
		case <-r.closing:
			return nil, 0, errStopping()
		case <-ctx.Done():
			return nil, 0, ctx.Err()
		}
	}
}
