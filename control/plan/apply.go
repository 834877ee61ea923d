package plan

import (
	"dhow.dev/dhow/control/plan/heal"
	"dhow.dev/dhow/control/plan/schedule"
	dhowv1 "dhow.dev/dhow/proto/dhow/v1"
	"dhow.dev/dhow/proto/spec"
)

// Apply takes in a change. Applying an object again replaces what was there.
func (s *State) Apply(ev *dhowv1.WatchEvent) {
	o := ev.GetObject()
	if ev.GetType() == dhowv1.WatchEventType_WATCH_EVENT_TYPE_DELETE {
		s.Remove(spec.RefOf(o))
		return
	}
	s.Put(o)
}

// Put takes in an object as it is.
func (s *State) Put(o *dhowv1.Object) {
	switch k := o.GetKind().(type) {
	case *dhowv1.Object_Node:
		s.putNode(k.Node)
	case *dhowv1.Object_Workload:
		s.putWorkload(k.Workload)
	case *dhowv1.Object_Revision:
		s.putRevision(k.Revision)
	case *dhowv1.Object_Instance:
		s.putInstance(k.Instance)
	case *dhowv1.Object_Event:
		s.events.put(key{k.Event.GetMeta().GetNamespace(), k.Event.GetMeta().GetName()}, k.Event.GetTime().AsTime())
	}
}

// Remove takes in that there is no such object.
func (s *State) Remove(r *dhowv1.Ref) {
	k := key{r.GetNamespace(), r.GetName()}
	switch r.GetKind() {
	case dhowv1.Kind_KIND_NODE:
		s.removeNode(r.GetName())
	case dhowv1.Kind_KIND_WORKLOAD:
		s.removeWorkload(k)
	case dhowv1.Kind_KIND_REVISION:
		s.removeRevision(k)
	case dhowv1.Kind_KIND_INSTANCE:
		if i := s.instances[k]; i != nil {
			s.removeInstance(k, i)
		}
	case dhowv1.Kind_KIND_EVENT:
		s.events.remove(k)
	default:
	}
}

func (s *State) putNode(obj *dhowv1.Node) {
	name := obj.GetMeta().GetName()
	n := s.node(name)
	old := n.obj
	n.obj = obj
	s.cluster.SetNode(obj)
	s.judged[name] = true
	if old == nil || old.GetLiveness().GetState() != obj.GetLiveness().GetState() ||
		old.GetSpec().GetDraining() != obj.GetSpec().GetDraining() {
		s.touch(n)
	}
}

func (s *State) removeNode(name string) {
	n := s.nodes[name]
	if n == nil {
		return
	}
	n.obj = nil
	s.cluster.RemoveNode(name)
	s.tracker.Forget(name)
	delete(s.judged, name)
	s.touch(n)
	s.sweep(name, n)
}

func (s *State) sweep(name string, n *node) {
	if n.obj == nil && len(n.insts) == 0 {
		delete(s.nodes, name)
	}
}

// touch has all that is on a node looked at.
func (s *State) touch(n *node) {
	for _, i := range n.insts {
		i.Slot.Group.Touch(i.Slot)
		s.queue(i.Slot.Group)
	}
}

func (s *State) putWorkload(w *dhowv1.Workload) {
	m := w.GetMeta()
	k := key{m.GetNamespace(), m.GetName()}
	if old := s.workloads[k]; old != nil && old.UID != m.GetUid() {
		s.removeWorkload(k)
	}
	g := s.group(m.GetNamespace(), m.GetName(), m.GetUid())
	s.workloads[k] = g
	if g.SetWorkload(w) {
		s.queue(g)
	}
}

func (s *State) removeWorkload(k key) {
	g := s.workloads[k]
	if g == nil {
		return
	}
	delete(s.workloads, k)
	g.SetWorkload(nil)
	s.queue(g)
}

func (s *State) putRevision(r *dhowv1.Revision) {
	m := r.GetMeta()
	k := key{m.GetNamespace(), m.GetName()}
	if old, ok := s.revisions[k]; ok && old.group.UID != r.GetWorkloadUid() {
		s.removeRevision(k)
	}
	g := s.group(m.GetNamespace(), r.GetWorkload(), r.GetWorkloadUid())
	s.revisions[k] = revision{group: g, number: r.GetNumber()}
	name := key{m.GetNamespace(), r.GetWorkload()}
	s.numbers[name] = max(s.numbers[name], r.GetNumber())
	g.SetRevision(r)
	if g.Busy() {
		s.queue(g)
	}
}

func (s *State) removeRevision(k key) {
	r, ok := s.revisions[k]
	if !ok {
		return
	}
	delete(s.revisions, k)
	r.group.RemoveRevision(r.number)
	s.queue(r.group)
}

func (s *State) putInstance(obj *dhowv1.Instance) {
	m, sp := obj.GetMeta(), obj.GetSpec()
	if sp.GetIndex() >= spec.MaxReplicas {
		return // nothing of ours
	}
	k := key{m.GetNamespace(), m.GetName()}
	old := s.instances[k]
	if old != nil && old.Obj.GetMeta().GetUid() != m.GetUid() {
		s.removeInstance(k, old)
		old = nil
	}
	g := s.group(m.GetNamespace(), sp.GetWorkload(), sp.GetWorkloadUid())
	if old == nil {
		i, _ := g.Put(obj, nil)
		s.instances[k] = i
		s.attach(i, obj)
		s.queue(g)
		return
	}
	before := old.Obj
	_, changed := g.Put(obj, old)
	if before.GetSpec().GetNode() != sp.GetNode() || spec.Occupies(before) != spec.Occupies(obj) {
		s.detach(old, before)
		s.attach(old, obj)
	}
	if changed {
		s.queue(g)
	}
}

func (s *State) removeInstance(k key, i *heal.Instance) {
	delete(s.instances, k)
	s.detach(i, i.Obj)
	i.Slot.Group.Forget(i)
	s.queue(i.Slot.Group)
}

// add takes in an instance that was just made, on the node or on none.
func (s *State) add(k key, g *heal.Group, obj *dhowv1.Instance, at *schedule.Node) {
	i, _ := g.Put(obj, nil)
	s.instances[k] = i
	if at != nil {
		s.book(i, at.Holder.(*node), obj) //nolint:forcetypeassert // nothing else is ever held
	}
}

// attach books what an instance takes of its node.
func (s *State) attach(i *heal.Instance, obj *dhowv1.Instance) {
	if spec.Occupies(obj) {
		s.book(i, s.node(obj.GetSpec().GetNode()), obj)
	}
}

func (s *State) book(i *heal.Instance, n *node, obj *dhowv1.Instance) {
	i.Pos = len(n.insts)
	n.insts = append(n.insts, i)
	n.at.Take(schedule.DemandOf(obj.GetSpec()))
	i.Slot.Group.Counts[n.at]++
}

func (s *State) detach(i *heal.Instance, obj *dhowv1.Instance) {
	if !spec.Occupies(obj) {
		return
	}
	name := obj.GetSpec().GetNode()
	n := s.node(name)
	last := n.insts[len(n.insts)-1]
	n.insts[i.Pos] = last
	last.Pos = i.Pos
	n.insts[len(n.insts)-1] = nil
	n.insts = n.insts[:len(n.insts)-1]
	n.at.Free(schedule.DemandOf(obj.GetSpec()))
	g := i.Slot.Group
	if g.Counts[n.at]--; g.Counts[n.at] == 0 {
		delete(g.Counts, n.at)
	}
	s.sweep(name, n)
}
