package heal

import (
	"iter"
	"slices"
	"time"

	"google.golang.org/protobuf/proto"

	"dhow.dev/dhow/control/plan/schedule"
	dhowv1 "dhow.dev/dhow/proto/dhow/v1"
	"dhow.dev/dhow/proto/spec"
)

// Group is a workload with its revisions and instances. A workload that was
// deleted and made again is another group.
type Group struct {
	Namespace, Name, UID string
	Workload             *dhowv1.Workload // nil: deleted
	Revisions            []*dhowv1.Revision
	// Counts is how many instances of it hold each node.
	Counts schedule.Counts

	// From the workload.
	replicas     uint32
	job          bool
	backoffLimit uint32
	lostAfter    time.Duration
	resetAfter   time.Duration

	current  uint64 // the newest revision's number
	revised  bool   // the current revision is known to be the workload's template
	slots    []*Slot
	dirty    []*Slot
	all      bool   // every slot is to be looked at
	next     uint32 // where to go on with that
	tally    tally
	waiting  []*Slot     // have an instance that found no node
	ended    []*Instance // that are kept for people to see
	outdated []*Slot     // may have instances of old revisions, in order
	jobOver  bool        // the job was seen to have failed
	more     bool        // the last plan was too full to finish
	glut     int         // how many ended ones there must be to look at them again

	failure string // what the last failed instance said
}

// NewGroup makes an empty group.
func NewGroup(namespace, name, uid string) *Group {
	return &Group{Namespace: namespace, Name: name, UID: uid, Counts: schedule.Counts{}}
}

// SetWorkload takes in the workload; nil when it was deleted. It tells whether
// there is something to decide.
func (g *Group) SetWorkload(w *dhowv1.Workload) bool {
	old := g.Workload
	if w == old {
		return false
	}
	g.Workload = w
	if w != nil && old != nil && old.GetMeta().GetGeneration() == w.GetMeta().GetGeneration() {
		// Labels count from the next instance on; the status is ours, and
		// written again if it is not what we wrote.
		return !equal(w.GetStatus(), old.GetStatus())
	}
	g.read()
	g.revised = false
	g.mark()
	return true
}

// read takes out of the workload what is asked often.
func (g *Group) read() {
	s := g.Workload.GetSpec()
	g.replicas = 0
	if s != nil {
		g.replicas = 1
		if s.Replicas != nil {
			g.replicas = min(s.GetReplicas(), spec.MaxReplicas)
		}
	}
	g.job = s.GetType() == dhowv1.WorkloadType_WORKLOAD_TYPE_JOB
	g.backoffLimit = spec.DefaultBackoffLimit
	if s != nil && s.BackoffLimit != nil {
		g.backoffLimit = s.GetBackoffLimit()
	}
	g.lostAfter = max(0, s.GetLostAfter().AsDuration())
	g.resetAfter = spec.DefaultResetAfter
	if d := s.GetTemplate().GetRestart().GetResetAfter(); d != nil {
		g.resetAfter = d.AsDuration()
	}
}

// mark has every slot looked at.
func (g *Group) mark() {
	g.all, g.next = true, 0
	g.tally = tally{}
	g.outdated = g.outdated[:0]
	for _, s := range g.slots {
		s.tally = s.count()
		g.tally.add(&s.tally, 1)
		if s.tally.outdated > 0 {
			g.outdated = append(g.outdated, s)
		}
	}
}

// SetRevision takes in a revision.
func (g *Group) SetRevision(r *dhowv1.Revision) {
	at, found := slices.BinarySearchFunc(g.Revisions, r.GetNumber(), byNumber)
	if found {
		g.Revisions[at] = r
		return
	}
	g.Revisions = slices.Insert(g.Revisions, at, r)
	g.newest()
}

// RemoveRevision forgets a revision.
func (g *Group) RemoveRevision(number uint64) {
	if at, found := slices.BinarySearchFunc(g.Revisions, number, byNumber); found {
		g.Revisions = slices.Delete(g.Revisions, at, at+1)
		g.newest()
	}
}

func byNumber(r *dhowv1.Revision, number uint64) int {
	switch {
	case r.GetNumber() < number:
		return -1
	case r.GetNumber() > number:
		return 1
	}
	return 0
}

func (g *Group) newest() {
	n := uint64(0)
	if k := len(g.Revisions); k > 0 {
		n = g.Revisions[k-1].GetNumber()
	}
	if n != g.current {
		g.current, g.revised = n, false
		for _, s := range g.waiting {
			s.queued = false
		}
		g.waiting = nil
		g.mark()
	}
}

// Current is the current revision; nil if there is none yet.
func (g *Group) Current() *dhowv1.Revision {
	if k := len(g.Revisions); k > 0 {
		return g.Revisions[k-1]
	}
	return nil
}

// uptodate tells whether the current revision is the workload's template.
func (g *Group) uptodate() bool {
	r := g.Current()
	if r == nil {
		return false
	}
	m, st, s := g.Workload.GetMeta(), g.Workload.GetStatus(), g.Workload.GetSpec()
	if st.GetObservedGeneration() == m.GetGeneration() && st.GetRevision() == r.GetNumber() {
		return true // it was found so before
	}
	return r.GetType() == s.GetType() && proto.Equal(r.GetTemplate(), s.GetTemplate())
}

// slot finds or makes the slot of an index.
func (g *Group) slot(index uint32) *Slot {
	for int(index) >= len(g.slots) {
		g.slots = append(g.slots, &Slot{Group: g, Index: uint32(len(g.slots))})
	}
	return g.slots[index]
}

// Put takes in an instance as it is now; old is its model, nil if it is new. It
// returns the model, and whether there is something to decide.
func (g *Group) Put(obj *dhowv1.Instance, old *Instance) (*Instance, bool) {
	if old != nil {
		quiet := same(old.Obj, obj)
		fell := !old.failed()
		old.Obj = obj
		if quiet {
			return old, false
		}
		g.changed(old, fell)
		old.Slot.recount()
		g.Touch(old.Slot)
		return old, true
	}
	i := &Instance{Obj: obj, Slot: g.slot(obj.GetSpec().GetIndex())}
	i.Slot.put(i)
	g.changed(i, true)
	g.Touch(i.Slot)
	return i, true
}

func (g *Group) changed(i *Instance, fell bool) {
	if i.Terminal() && i.ended == 0 {
		g.ended = append(g.ended, i)
		i.ended = len(g.ended)
	}
	if fell && i.failed() {
		st := i.Obj.GetStatus()
		g.failure = st.GetReason()
		if m := st.GetMessage(); m != "" {
			g.failure += ": " + clip(m)
		}
	}
	if s := i.Slot; i.Live() && i.revision() != g.current {
		if at, found := slices.BinarySearchFunc(g.outdated, s.Index, bySlot); !found {
			g.outdated = slices.Insert(g.outdated, at, s)
		}
	}
}

func bySlot(s *Slot, index uint32) int { return int(int64(s.Index) - int64(index)) }

// clip keeps messages from growing without bound.
func clip(s string) string {
	const most = 256
	if len(s) <= most {
		return s
	}
	r := []rune(s[:most])
	return string(r[:len(r)-1]) + "…"
}

// Forget drops the model of an instance that was deleted.
func (g *Group) Forget(i *Instance) {
	if i.ended > 0 {
		k := len(g.ended)
		last := g.ended[k-1]
		g.ended[i.ended-1] = last
		last.ended = i.ended
		g.ended = g.ended[:k-1]
		i.ended = 0
	}
	i.Slot.remove(i)
	g.Touch(i.Slot)
}

// Touch has a slot looked at in the next plan.
func (g *Group) Touch(s *Slot) {
	if !s.dirty && !s.busy {
		s.dirty = true
		g.dirty = append(g.dirty, s)
	}
}

// Gone tells that nothing is left of a deleted workload.
func (g *Group) Gone() bool {
	return g.Workload == nil && g.tally.existing == 0 && len(g.Revisions) == 0
}

// Busy tells that there is something left to decide.
func (g *Group) Busy() bool { return g.all || g.more || len(g.dirty) > 0 }

// Revision finds one of the group's revisions; nil if it is not there.
func (g *Group) Revision(number uint64) *dhowv1.Revision {
	if at, found := slices.BinarySearchFunc(g.Revisions, number, byNumber); found {
		return g.Revisions[at]
	}
	return nil
}

// Live is all instances that run or are to run, by index.
func (g *Group) Live() iter.Seq[*Instance] {
	return func(yield func(*Instance) bool) {
		for _, s := range g.slots {
			for _, i := range s.insts {
				if i.Live() && !yield(i) {
					return
				}
			}
		}
	}
}
