package await

import (
	"fmt"

	dhowv1 "dhow.dev/dhow/proto/dhow/v1"
	"dhow.dev/dhow/proto/spec"
)

// Empty follows a set of objects until none is left: the instances of a node
// that is drained, or what was deleted.
type Empty struct {
	name, what string
	left       map[string]string // uid to name
	keep       func(*dhowv1.Object) bool
}

// NewDrain follows the instances that a node still holds.
func NewDrain(node string) *Empty {
	return &Empty{name: node, what: "instance", left: map[string]string{}, keep: func(o *dhowv1.Object) bool {
		i := o.GetInstance()
		return i != nil && i.GetSpec().GetNode() == node && !spec.Terminal(i.GetStatus().GetState())
	}}
}

// NewGone follows a workload's instances until all have ended.
func NewGone(workload, uid string) *Empty {
	return &Empty{name: workload, what: "instance", left: map[string]string{}, keep: func(o *dhowv1.Object) bool {
		i := o.GetInstance()
		return i != nil && i.GetSpec().GetWorkloadUid() == uid && spec.Occupies(i)
	}}
}

// Reset forgets what was seen.
func (e *Empty) Reset() { clear(e.left) }

// Observe takes one event.
func (e *Empty) Observe(ev *dhowv1.WatchEvent) {
	m := spec.MetaOf(ev.GetObject())
	if ev.GetType() != dhowv1.WatchEventType_WATCH_EVENT_TYPE_DELETE && e.keep(ev.GetObject()) {
		e.left[m.GetUid()] = m.GetName()
	} else {
		delete(e.left, m.GetUid())
	}
}

// Progress judges what was seen.
func (e *Empty) Progress() Progress {
	n := len(e.left)
	p := Progress{Done: n == 0, Line: fmt.Sprintf("%s: %d %ss left", e.name, n, e.what)}
	if n == 1 {
		p.Line = fmt.Sprintf("%s: 1 %s left", e.name, e.what)
	}
	return p
}
