package plan

import (
	"time"

	"dhow.dev/dhow/control/plan/liveness"
	dhowv1 "dhow.dev/dhow/proto/dhow/v1"
)

// State is the planner's model of the cluster. It is not safe for concurrent
// use.
type State struct{}

// NewState makes a model of an empty cluster. grace is how long after now, the
// start of a leadership, missing facts count for nothing.
func NewState(now time.Time) *State { return &State{} }

// Apply takes in a change. Applying an object again replaces what was there.
func (s *State) Apply(ev *dhowv1.WatchEvent) {}

// SetFacts takes in what gossip knows.
func (s *State) SetFacts(f liveness.Facts) {}

// Plan is what has to change now.
type Plan struct {
	// All belong into one proposal.
	Changes []*dhowv1.Change
	// When to plan again even if nothing changes; zero: not before a change.
	Wake time.Time
	// There is more to do once these changes are applied.
	More bool
}

// Empty tells that there is nothing to propose.
func (p Plan) Empty() bool { return len(p.Changes) == 0 }

// Plan decides what to do, and takes it for done: the model is ahead of the
// store until the proposal is applied. When it is not, give the objects that
// the changes speak of to Apply as they really are.
func (s *State) Plan(now time.Time, seed uint64) Plan { return Plan{} }

// Why explains, node by node, where an instance or a workload's instances
// could not go.
func (s *State) Why(ref *dhowv1.Ref) []*dhowv1.Explanation { return nil }
