package heal

import (
	"time"

	dhowv1 "dhow.dev/dhow/proto/dhow/v1"
	"dhow.dev/dhow/proto/spec"
)

// Instance is the model of one instance.
type Instance struct {
	Obj  *dhowv1.Instance
	Slot *Slot
	// Pos is for the owner of the model: where it is in its node's list.
	Pos int
	// where it is in the group's list of ended ones, from 1; 0: not in it.
	ended int
}

// State is where it is in its life.
func (i *Instance) State() dhowv1.InstanceState { return i.Obj.GetStatus().GetState() }

// Node is where it is, empty while it is pending.
func (i *Instance) Node() string { return i.Obj.GetSpec().GetNode() }

// Terminal tells whether it has ended.
func (i *Instance) Terminal() bool { return spec.Terminal(i.State()) }

// Live tells whether it runs or is to run.
func (i *Instance) Live() bool {
	return !i.Terminal() && i.Obj.GetSpec().GetDesired() != dhowv1.Desired_DESIRED_STOP
}

// Ready tells whether it does its work.
func (i *Instance) Ready() bool {
	s := i.Obj.GetStatus()
	return s.GetReady() && s.GetState() == dhowv1.InstanceState_INSTANCE_STATE_RUNNING
}

// Stopping tells whether it was told to end and has not, on a node that will
// tell when it has.
func (i *Instance) Stopping() bool {
	s := i.Obj.GetSpec()
	return !i.Terminal() && s.GetDesired() == dhowv1.Desired_DESIRED_STOP && s.GetLostAt() == nil
}

// NotBefore is when it may be placed; zero for at once.
func (i *Instance) NotBefore() time.Time {
	if t := i.Obj.GetSpec().GetNotBefore(); t != nil {
		return t.AsTime()
	}
	return time.Time{}
}

func (i *Instance) unplaced() bool {
	return i.Node() == "" && i.Live() && i.revision() == i.Slot.Group.current
}

func (i *Instance) revision() uint64 { return i.Obj.GetSpec().GetRevision() }
func (i *Instance) attempt() uint32  { return i.Obj.GetSpec().GetAttempt() }

func (i *Instance) failed() bool {
	return i.State() == dhowv1.InstanceState_INSTANCE_STATE_FAILED
}

func (i *Instance) succeeded() bool {
	return i.State() == dhowv1.InstanceState_INSTANCE_STATE_SUCCEEDED
}

// failures counts the failed instances of its index and revision up to it.
func (i *Instance) failures() uint32 {
	n := i.Obj.GetSpec().GetFailures()
	if i.failed() {
		n++
	}
	return n
}

// same tells whether nothing that planning looks at differs.
func same(a, b *dhowv1.Instance) bool {
	as, bs, at, bt := a.GetSpec(), b.GetSpec(), a.GetStatus(), b.GetStatus()
	return a.GetMeta().GetUid() == b.GetMeta().GetUid() &&
		as.GetNode() == bs.GetNode() && as.GetDesired() == bs.GetDesired() &&
		as.GetRevision() == bs.GetRevision() && as.GetAttempt() == bs.GetAttempt() &&
		(as.GetLostAt() == nil) == (bs.GetLostAt() == nil) &&
		(as.GetNotBefore() == nil) == (bs.GetNotBefore() == nil) &&
		settled(at.GetState()) == settled(bt.GetState()) && at.GetReady() == bt.GetReady()
}

// settled makes one of the two states in which no node has taken it.
func settled(s dhowv1.InstanceState) dhowv1.InstanceState {
	return max(s, dhowv1.InstanceState_INSTANCE_STATE_PENDING)
}
