package loop

import (
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	"dhow.dev/dhow/control/plan"
	"dhow.dev/dhow/control/plan/liveness"
	dhowv1 "dhow.dev/dhow/proto/dhow/v1"
)

// Core is the loop without its goroutine: what the leader of one term knows
// and plans. Feed it what the state is and how it changes; Pass then says what
// to propose. Between a Pass that proposes and the next there must be all
// events up to the proposal's revision; when it was refused, make a new Core.
type Core struct {
	state    *plan.State
	term     uint64
	revision uint64
	check    checker
}

// NewCore makes the Core of a term.
func NewCore(term uint64) *Core {
	return &Core{state: plan.NewState(), term: term, check: newChecker()}
}

// Load takes in the objects of a snapshot.
func (c *Core) Load(objs []*dhowv1.Object, revision uint64) {
	for _, o := range objs {
		c.check.put(o)
		c.state.Put(o)
	}
	c.revision = revision
}

// Apply takes in changes, up to the revision.
func (c *Core) Apply(events []*dhowv1.WatchEvent, revision uint64) {
	for _, ev := range events {
		c.check.observe(ev)
		c.state.Apply(ev)
	}
	c.revision = revision
}

// SetFacts takes in what gossip knows.
func (c *Core) SetFacts(f liveness.Facts) { c.state.SetFacts(f) }

// Revision is that of the state the Core knows.
func (c *Core) Revision() uint64 { return c.revision }

// Dirty tells that a Pass may have something to propose already.
func (c *Core) Dirty() bool { return c.state.Dirty() }

// Pass plans once. A nil proposal means that there is nothing to do, until
// something changes or it is wake, unless that is zero.
func (c *Core) Pass(now time.Time) (p *dhowv1.Proposal, wake time.Time) {
	// The revision is the seed: it is another one after each plan that took
	// effect, and the same one when the same has to be planned again.
	out := c.state.Plan(now, c.revision)
	if out.Empty() {
		return nil, out.Wake
	}
	c.check.propose(out.Changes)
	return &dhowv1.Proposal{Changes: out.Changes, Time: timestamppb.New(now), Term: c.term}, out.Wake
}

// Why explains where an instance or a workload's instances could not go.
func (c *Core) Why(ref *dhowv1.Ref) []*dhowv1.Explanation { return c.state.Why(ref) }
