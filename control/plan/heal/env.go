package heal

import (
	"time"

	dhowv1 "dhow.dev/dhow/proto/dhow/v1"
)

// Env is what a Group decides in, and how its decisions take effect. Effects
// are taken for done at once: the Group sees them before the method returns.
type Env interface {
	Now() time.Time
	Node(name string) Node
	// Full tells that this plan holds enough changes. What is left waits.
	Full() bool
	// WakeAt has the slot looked at again.
	WakeAt(s *Slot, at time.Time)

	// Create makes an instance, placed if it can be.
	Create(b Birth)
	// Place tries to place an instance that has no node; false if none fits.
	Place(i *Instance) bool
	// Stop asks an instance that has a node to end.
	Stop(i *Instance, reason StopReason)
	// Remove deletes an instance from the state.
	Remove(i *Instance)
	// Revise makes a new revision of the group's template the current one.
	Revise(g *Group)
	DropRevision(g *Group, number uint64)
	// Report writes the workload's status.
	Report(g *Group, s *dhowv1.WorkloadStatus)
	// Tell makes an event about the workload.
	Tell(g *Group, e Event)
}

// Node is what heal needs to know of a node.
type Node struct {
	Known    bool
	Draining bool
	Lost     bool
	Since    time.Time // when it was lost
}

// Birth is an instance to be made.
type Birth struct {
	Slot     *Slot
	Revision uint64
	Attempt  uint32
	Failures uint32
	// Zero: at once.
	NotBefore time.Time
	// A node to be avoided if there is another.
	Avoid string
	// What it replaces; nil when it is the first or an update.
	Replaces *Instance
	Why      StopReason
}

// StopReason says why an instance is to stop.
type StopReason string

// The reasons.
const (
	ScaledDown StopReason = "scaled down"
	Replaced   StopReason = "replaced by a new revision"
	Deleted    StopReason = "its workload was deleted"
	Drained    StopReason = "its node is drained"
	Lost       StopReason = "its node was lost"
	Surplus    StopReason = "another instance of this index runs"
	JobDone    StopReason = "its index has succeeded"
	JobFailed  StopReason = "its job has failed"

	// Ended is why a replacement is made of what ended by itself.
	Ended StopReason = "it ended"
)

// Event is something people want to know about a workload.
type Event struct {
	Warning bool
	Reason  string
	Message string
}
