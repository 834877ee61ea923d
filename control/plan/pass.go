package plan

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	"dhow.dev/dhow/control/plan/heal"
	"dhow.dev/dhow/control/plan/schedule"
	dhowv1 "dhow.dev/dhow/proto/dhow/v1"
	"dhow.dev/dhow/proto/spec"
)

// maxChanges is how many changes one plan holds, about. What is left comes
// with the next.
const maxChanges = 4096

// pass is one run of Plan; to heal it is the Env.
type pass struct {
	s       *State
	now     time.Time
	stamp   *timestamppb.Timestamp
	pending *dhowv1.InstanceStatus
	seed    uint64
	changes []*dhowv1.Change

	// Of the group that was placed last.
	batch             *schedule.Batch
	of                *heal.Group
	number            uint64
	shape             *schedule.Shape
	labels            map[string]string
	nameBase, uidBase uint64

	tales tales
}

// Plan decides what to do, and takes it for done: the model is ahead of the
// store until the proposal is applied. When it is refused, the model is of no
// use any more.
func (s *State) Plan(now time.Time, seed uint64) Plan {
	p := &pass{
		s: s, now: now, stamp: timestamppb.New(now), seed: seed,
		pending: &dhowv1.InstanceStatus{State: dhowv1.InstanceState_INSTANCE_STATE_PENDING},
		tales:   newTales(),
	}
	s.due(now)
	p.judge()
	p.retry()
	p.heal()
	p.expire()
	p.tell()
	out := Plan{Changes: p.changes, More: s.Dirty()}
	if len(s.timers) > 0 {
		out.Wake = s.timers[0].at
	}
	if w := s.events.wake(); !w.IsZero() && (out.Wake.IsZero() || w.Before(out.Wake)) {
		out.Wake = w
	}
	return out
}

// judge reports what nodes have become.
func (p *pass) judge() {
	names := sorted(p.s.judged)
	for _, name := range names {
		n := p.s.nodes[name]
		if n == nil || n.obj == nil {
			continue
		}
		v := p.s.tracker.Judge(n.obj, p.now)
		if !v.Wake.IsZero() {
			p.s.timers.Push(timer{at: v.Wake, node: name})
		}
		was := n.obj.GetLiveness().GetState()
		if v.State == was {
			continue
		}
		l := &dhowv1.NodeLiveness{State: v.State, Since: p.stamp, Message: v.Message}
		p.change(&dhowv1.Change{Op: &dhowv1.Change_Liveness{Liveness: &dhowv1.NodeLivenessReport{Node: name, Liveness: l}}})
		p.tales.node(n.obj, was, l)
		p.s.putNode(&dhowv1.Node{
			Meta: n.obj.GetMeta(), Spec: n.obj.GetSpec(), Info: n.obj.GetInfo(), Session: n.obj.GetSession(), Liveness: l,
		})
	}
	clear(p.s.judged)
}

func sorted(set map[string]bool) []string {
	out := make([]string, 0, len(set))
	for k := range set {
		out = append(out, k)
	}
	slices.Sort(out)
	return out
}

// retry places what found no node, on nodes that changed since.
func (p *pass) retry() {
	s := p.s
	if !s.cluster.Freed() {
		return
	}
	left := s.blocked[:0]
	for _, w := range s.blocked {
		w.groups = slices.DeleteFunc(w.groups, func(g *heal.Group) bool {
			if g.Workload != nil && g.Waiting() != nil && s.shapeOf(g) == w.shape {
				return false
			}
			delete(w.in, g)
			return true
		})
		if len(w.groups) == 0 {
			delete(s.waits, w.shape)
			continue
		}
		left = append(left, w)
		p.admit(w)
	}
	clear(s.blocked[len(left):])
	s.blocked = left
	if !p.Full() {
		s.cluster.Settle()
	}
}

// admit gives the groups that wait, in their order, what came free.
func (p *pass) admit(w *wait) {
	s := p.s
	if s.cluster.Unblocked(w.shape) {
		for _, g := range w.groups {
			s.queue(g)
			if !g.Retry(p) || p.Full() {
				break
			}
		}
	}
	if w.layout == s.cluster.Layout() {
		return
	}
	// Other nodes, other reasons: one instance of each workload tells them.
	w.layout = s.cluster.Layout()
	for _, g := range w.groups {
		if i := g.Waiting(); i != nil {
			p.explain(i, w.shape)
			s.queue(g)
		}
	}
}

// explain writes down why an instance waits, if that is something new.
func (p *pass) explain(i *heal.Instance, sh *schedule.Shape) {
	why := p.s.cluster.Summary(sh)
	if i.Obj.GetSpec().GetPendingReason() != why {
		p.amend(i, func(sp *dhowv1.InstanceSpec) { sp.PendingReason = why })
	}
}

// heal plans the workloads that something happened to.
func (p *pass) heal() {
	s := p.s
	groups := make([]*heal.Group, 0, len(s.queued))
	for g := range s.queued {
		groups = append(groups, g)
	}
	slices.SortFunc(groups, func(a, b *heal.Group) int {
		return cmp.Or(cmp.Compare(a.Namespace, b.Namespace), cmp.Compare(a.Name, b.Name), cmp.Compare(a.UID, b.UID))
	})
	for _, g := range groups {
		if p.Full() {
			return
		}
		g.Plan(p)
		if !g.Busy() {
			delete(s.queued, g)
		}
		if g.Gone() {
			s.forget(g)
		}
	}
}

// forget drops a group of which nothing is left.
func (s *State) forget(g *heal.Group) {
	delete(s.queued, g)
	if s.groups[g.UID] == g {
		delete(s.groups, g.UID)
	}
	if sh, ok := s.shapes[g]; ok {
		s.cluster.Drop(sh.shape)
		delete(s.shapes, g)
	}
}

// expire removes old events.
func (p *pass) expire() {
	for range eventBatch {
		k, ok := p.s.events.expired(p.now)
		if !ok {
			return
		}
		p.change(&dhowv1.Change{Op: &dhowv1.Change_Delete{Delete: &dhowv1.Ref{
			Kind: dhowv1.Kind_KIND_EVENT, Namespace: k.namespace, Name: k.name,
		}}})
		p.s.events.remove(k)
	}
}

func (p *pass) change(c *dhowv1.Change) { p.changes = append(p.changes, c) }

// Now is the time of the plan.
func (p *pass) Now() time.Time { return p.now }

// Full tells that the plan holds enough.
func (p *pass) Full() bool { return len(p.changes) >= maxChanges }

// Node tells what heal needs to know of a node.
func (p *pass) Node(name string) heal.Node {
	n := p.s.nodes[name]
	if n == nil || n.obj == nil {
		return heal.Node{}
	}
	out := heal.Node{Known: true, Draining: n.obj.GetSpec().GetDraining()}
	if l := n.obj.GetLiveness(); l.GetState() == dhowv1.NodeState_NODE_STATE_LOST {
		out.Lost, out.Since = true, l.GetSince().AsTime()
	}
	return out
}

// WakeAt has the slot looked at again.
func (p *pass) WakeAt(s *heal.Slot, at time.Time) {
	if s.Wake.IsZero() || at.Before(s.Wake) {
		s.Wake = at
		p.s.timers.Push(timer{at: at, slot: s})
	}
}

// turn to a group: what is remembered is of it from here on.
func (p *pass) turn(g *heal.Group) {
	if p.of == g && p.shape != nil && p.number == g.Current().GetNumber() {
		return
	}
	sh := p.s.shapeOf(g)
	p.of, p.number, p.shape = g, g.Current().GetNumber(), sh
	p.batch = p.s.cluster.Batch(sh, g.Counts)
	p.labels = map[string]string{}
	maps.Copy(p.labels, g.Workload.GetMeta().GetLabels())
	maps.Copy(p.labels, g.Current().GetTemplate().GetLabels())
	p.labels[spec.LabelWorkload] = g.Name
	p.nameBase, p.uidBase = hash(0, g.UID), hash(p.seed, g.UID)
}

// block has the group's instances tried again when a node changes.
func (p *pass) block(g *heal.Group) {
	p.turn(g)
	s, sh := p.s, p.shape
	w := s.waits[sh]
	if w == nil {
		w = &wait{shape: sh, in: map[*heal.Group]bool{}, layout: s.cluster.Layout()}
		s.waits[sh] = w
		s.blocked = append(s.blocked, w)
	}
	if !w.in[g] {
		w.in[g] = true
		w.groups = append(w.groups, g)
	}
}

// Place tries to place an instance that has no node.
func (p *pass) Place(i *heal.Instance) bool {
	g := i.Slot.Group
	p.turn(g)
	node, ok := p.batch.Place("")
	if !ok {
		p.explain(i, p.shape)
		p.block(g)
		p.tales.of(g).unplaced++
		return false
	}
	p.amend(i, func(sp *dhowv1.InstanceSpec) { sp.Node, sp.PendingReason = node.Name(), "" })
	p.tales.of(g).placed++
	return true
}

// Stop asks an instance to end.
func (p *pass) Stop(i *heal.Instance, why heal.StopReason) {
	p.amend(i, func(sp *dhowv1.InstanceSpec) {
		sp.Desired, sp.StopReason = dhowv1.Desired_DESIRED_STOP, string(why)
		if why == heal.Lost {
			sp.LostAt = p.stamp
		}
	})
}

// amend changes an instance's spec.
func (p *pass) amend(i *heal.Instance, change func(*dhowv1.InstanceSpec)) {
	o := i.Obj.GetSpec()
	sp := &dhowv1.InstanceSpec{
		Workload: o.GetWorkload(), WorkloadUid: o.GetWorkloadUid(), Index: o.GetIndex(), Revision: o.GetRevision(),
		Attempt: o.GetAttempt(), Node: o.GetNode(), Requests: o.GetRequests(), HostPorts: o.GetHostPorts(),
		PendingReason: o.GetPendingReason(), Desired: o.GetDesired(), StopReason: o.GetStopReason(),
		LostAt: o.GetLostAt(), NotBefore: o.GetNotBefore(), Failures: o.GetFailures(),
	}
	change(sp)
	obj := &dhowv1.Instance{Meta: i.Obj.GetMeta(), Spec: sp, Status: i.Obj.GetStatus()}
	p.change(&dhowv1.Change{
		Op:     &dhowv1.Change_Put{Put: &dhowv1.Object{Kind: &dhowv1.Object_Instance{Instance: obj}}},
		Expect: &dhowv1.Expect{Present: true},
	})
	p.s.putInstance(obj)
}

// Remove deletes an instance.
func (p *pass) Remove(i *heal.Instance) {
	m := i.Obj.GetMeta()
	p.change(&dhowv1.Change{Op: &dhowv1.Change_Delete{Delete: &dhowv1.Ref{
		Kind: dhowv1.Kind_KIND_INSTANCE, Namespace: m.GetNamespace(), Name: m.GetName(), Uid: m.GetUid(),
	}}})
	p.s.removeInstance(key{m.GetNamespace(), m.GetName()}, i)
}

// Revise makes a new revision.
func (p *pass) Revise(g *heal.Group) {
	number := p.s.numbers[key{g.Namespace, g.Name}] + 1
	name := spec.RevisionName(g.Name, number)
	r := &dhowv1.Revision{
		Meta: &dhowv1.Meta{
			Name: name, Namespace: g.Namespace, Uid: uid(hash(p.seed, g.UID), 0, number),
			Labels: g.Workload.GetMeta().GetLabels(), CreatedAt: p.stamp,
		},
		Workload: g.Name, WorkloadUid: g.UID, Number: number,
		Template: g.Workload.GetSpec().GetTemplate(), Type: g.Workload.GetSpec().GetType(),
	}
	p.change(&dhowv1.Change{
		Op:     &dhowv1.Change_Put{Put: &dhowv1.Object{Kind: &dhowv1.Object_Revision{Revision: r}}},
		Expect: &dhowv1.Expect{Absent: true},
	})
	if g.Current() != nil {
		p.Tell(g, heal.Event{Reason: "Revised", Message: fmt.Sprintf("the template changed; it is revision %d now", number)})
	}
	p.s.putRevision(r)
}

// DropRevision removes a revision.
func (p *pass) DropRevision(g *heal.Group, number uint64) {
	name := spec.RevisionName(g.Name, number)
	p.change(&dhowv1.Change{Op: &dhowv1.Change_Delete{Delete: &dhowv1.Ref{
		Kind: dhowv1.Kind_KIND_REVISION, Namespace: g.Namespace, Name: name,
	}}})
	p.s.removeRevision(key{g.Namespace, name})
}

// Report writes a workload's status.
func (p *pass) Report(g *heal.Group, st *dhowv1.WorkloadStatus) {
	m := g.Workload.GetMeta()
	p.change(&dhowv1.Change{Op: &dhowv1.Change_Workload{Workload: &dhowv1.WorkloadReport{
		Ref:    &dhowv1.Ref{Kind: dhowv1.Kind_KIND_WORKLOAD, Namespace: m.GetNamespace(), Name: m.GetName(), Uid: m.GetUid()},
		Status: st,
	}}})
	g.Workload = &dhowv1.Workload{Meta: m, Spec: g.Workload.GetSpec(), Status: st}
}

// Tell makes an event about a workload.
func (p *pass) Tell(g *heal.Group, e heal.Event) {
	t := p.tales.of(g)
	t.events = append(t.events, e)
}
