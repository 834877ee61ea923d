package spec

import dhowv1 "dhow.dev/dhow/proto/dhow/v1"

// Terminal tells whether an instance in the state has ended for good.
func Terminal(s dhowv1.InstanceState) bool {
	return s >= dhowv1.InstanceState_INSTANCE_STATE_SUCCEEDED
}

// Forward tells whether an instance may move from one state to the other:
// states only move in the order of their numbers, and terminal ones stay.
func Forward(from, to dhowv1.InstanceState) bool {
	if Terminal(from) {
		return from == to
	}
	return to >= from
}

// Occupies tells whether the instance holds its node's resources: it has a
// node and has not ended there, even if it was given up as lost.
func Occupies(i *dhowv1.Instance) bool {
	return i.GetSpec().GetNode() != "" && !Terminal(i.GetStatus().GetState())
}
