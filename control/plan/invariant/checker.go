// Package invariant checks what must hold in every state of the cluster and
// in every step from one to the next, by the numbers of DESIGN.md. It is pure,
// and shares no code with the planner that it watches.
package invariant

import (
	"fmt"

	dhowv1 "dhow.dev/dhow/proto/dhow/v1"
	"dhow.dev/dhow/proto/spec"
)

// Violation is a broken invariant.
type Violation struct {
	Number int // of DESIGN.md
	Text   string
}

func (v *Violation) Error() string { return fmt.Sprintf("invariant %d broken: %s", v.Number, v.Text) }

func broken(number int, format string, args ...any) error {
	return &Violation{Number: number, Text: fmt.Sprintf(format, args...)}
}

// Checker follows the cluster change by change.
type Checker struct {
	nodes     map[string]*dhowv1.Node
	workloads map[string]*dhowv1.Workload // by uid
	types     map[revision]dhowv1.WorkloadType
	instances map[string]*dhowv1.Instance // by namespace/name
	on        map[string]map[string]*dhowv1.Instance
	slots     map[slot]map[string]*dhowv1.Instance
	uids      map[string]string // every uid that an instance ever had, and its name
	drained   map[string]bool   // nodes that ever were drained
	planning  bool              // what is looked at is a plan, made for just this state
}

type revision struct {
	workload string
	number   uint64
}

type slot struct {
	workload string
	index    uint32
}

// New makes a Checker of an empty cluster.
func New() *Checker {
	return &Checker{
		types: map[revision]dhowv1.WorkloadType{}, nodes: map[string]*dhowv1.Node{}, workloads: map[string]*dhowv1.Workload{},
		instances: map[string]*dhowv1.Instance{}, on: map[string]map[string]*dhowv1.Instance{},
		slots: map[slot]map[string]*dhowv1.Instance{}, uids: map[string]string{},
		drained: map[string]bool{},
	}
}

// Observe takes in a change that has happened, and tells what it broke.
func (c *Checker) Observe(ev *dhowv1.WatchEvent) error {
	o := ev.GetObject()
	if ev.GetType() == dhowv1.WatchEventType_WATCH_EVENT_TYPE_DELETE {
		c.remove(spec.RefOf(o))
		return nil
	}
	return c.Put(o)
}

// Put takes in an object as it is now.
func (c *Checker) Put(o *dhowv1.Object) error {
	switch k := o.GetKind().(type) {
	case *dhowv1.Object_Node:
		c.nodes[k.Node.GetMeta().GetName()] = k.Node
		if k.Node.GetSpec().GetDraining() {
			c.drained[k.Node.GetMeta().GetName()] = true
		}
	case *dhowv1.Object_Workload:
		c.workloads[k.Workload.GetMeta().GetUid()] = k.Workload
	case *dhowv1.Object_Revision:
		c.types[revision{k.Revision.GetWorkloadUid(), k.Revision.GetNumber()}] = k.Revision.GetType()
	case *dhowv1.Object_Instance:
		return c.putInstance(k.Instance)
	}
	return nil
}

// Forget takes in that there is no such object.
func (c *Checker) Forget(r *dhowv1.Ref) { c.remove(r) }

func (c *Checker) remove(r *dhowv1.Ref) {
	switch r.GetKind() {
	case dhowv1.Kind_KIND_NODE:
		delete(c.nodes, r.GetName())
	case dhowv1.Kind_KIND_WORKLOAD:
		for uid, w := range c.workloads {
			if w.GetMeta().GetNamespace() == r.GetNamespace() && w.GetMeta().GetName() == r.GetName() {
				delete(c.workloads, uid)
			}
		}
	case dhowv1.Kind_KIND_INSTANCE:
		if i := c.instances[r.GetNamespace()+"/"+r.GetName()]; i != nil {
			c.unlink(i)
		}
	default:
	}
}

func id(i *dhowv1.Instance) string {
	return i.GetMeta().GetNamespace() + "/" + i.GetMeta().GetName()
}

func slotOf(i *dhowv1.Instance) slot {
	return slot{i.GetSpec().GetWorkloadUid(), i.GetSpec().GetIndex()}
}

func (c *Checker) unlink(i *dhowv1.Instance) {
	k := id(i)
	delete(c.instances, k)
	delete(c.on[i.GetSpec().GetNode()], k)
	delete(c.slots[slotOf(i)], k)
}

func (c *Checker) link(i *dhowv1.Instance) {
	k, n, s := id(i), i.GetSpec().GetNode(), slotOf(i)
	c.instances[k] = i
	if c.on[n] == nil {
		c.on[n] = map[string]*dhowv1.Instance{}
	}
	c.on[n][k] = i
	if c.slots[s] == nil {
		c.slots[s] = map[string]*dhowv1.Instance{}
	}
	c.slots[s][k] = i
}

func (c *Checker) putInstance(i *dhowv1.Instance) error {
	k, uid := id(i), i.GetMeta().GetUid()
	old := c.instances[k]
	if old != nil {
		c.unlink(old)
	}
	c.link(i)
	if old != nil && old.GetMeta().GetUid() != uid {
		return broken(2, "instance %s changed its uid from %s to %s", k, old.GetMeta().GetUid(), uid)
	}
	if old == nil {
		if was, ok := c.uids[uid]; ok {
			return broken(2, "instance %s has the uid %s that %s had", k, uid, was)
		}
		c.uids[uid] = k
	} else if err := moved(old, i); err != nil {
		return err
	}
	if spec.Occupies(i) && (old == nil || !spec.Occupies(old)) {
		if err := c.room(i); err != nil {
			return err
		}
	}
	if old == nil {
		return c.alone(i)
	}
	return nil
}

// moved checks one step in the life of an instance.
func moved(old, i *dhowv1.Instance) error {
	a, b := old.GetSpec(), i.GetSpec()
	switch {
	case a.GetNode() != "" && a.GetNode() != b.GetNode():
		return broken(2, "instance %s moved from node %s to %q", id(i), a.GetNode(), b.GetNode())
	case a.GetIndex() != b.GetIndex() || a.GetRevision() != b.GetRevision() || a.GetAttempt() != b.GetAttempt() ||
		a.GetWorkloadUid() != b.GetWorkloadUid():
		return broken(2, "instance %s changed what it is", id(i))
	case a.GetDesired() == dhowv1.Desired_DESIRED_STOP && b.GetDesired() != dhowv1.Desired_DESIRED_STOP:
		return broken(2, "instance %s was to stop and is to run again", id(i))
	case !spec.Forward(old.GetStatus().GetState(), i.GetStatus().GetState()):
		return broken(2, "instance %s went back from %s to %s", id(i), old.GetStatus().GetState(), i.GetStatus().GetState())
	case old.GetStatus().GetSequence() > i.GetStatus().GetSequence():
		return broken(2, "instance %s went back from report %d to %d", id(i), old.GetStatus().GetSequence(), i.GetStatus().GetSequence())
	}
	return nil
}

// room checks that the instance's node holds it.
func (c *Checker) room(i *dhowv1.Instance) error {
	name := i.GetSpec().GetNode()
	n := c.nodes[name]
	if n == nil {
		return nil // removed meanwhile; nothing runs there
	}
	var cpu, memory uint64
	ports := map[uint32]string{}
	for k, o := range c.on[name] {
		if !spec.Occupies(o) {
			continue
		}
		cpu += o.GetSpec().GetRequests().GetCpu()
		memory += o.GetSpec().GetRequests().GetMemory()
		for _, p := range o.GetSpec().GetHostPorts() {
			if other, taken := ports[p]; taken && (o == i || c.instances[other] == i) {
				return broken(3, "node %s gives host port %d to both %s and %s", name, p, other, k)
			}
			ports[p] = k
		}
	}
	all := n.GetInfo().GetAllocatable()
	if req := i.GetSpec().GetRequests(); req.GetCpu() > 0 && cpu > all.GetCpu() || req.GetMemory() > 0 && memory > all.GetMemory() {
		return broken(3, "node %s holds cpu %d of %d and memory %d of %d with %s",
			name, cpu, all.GetCpu(), memory, all.GetMemory(), id(i))
	}
	return nil
}

// alone checks that a new instance's index has no other that runs: of the same
// revision for a service, of any for a job. One on a draining node may still
// run until a service's new one does.
func (c *Checker) alone(i *dhowv1.Instance) error {
	if i.GetSpec().GetDesired() != dhowv1.Desired_DESIRED_RUN {
		return nil
	}
	of := revision{i.GetSpec().GetWorkloadUid(), i.GetSpec().GetRevision()}
	job := c.types[of] == dhowv1.WorkloadType_WORKLOAD_TYPE_JOB
	for k, o := range c.slots[slotOf(i)] {
		s := o.GetSpec()
		switch {
		case o == i || spec.Terminal(o.GetStatus().GetState()) || s.GetLostAt() != nil:
		case s.GetNode() != "" && c.nodes[s.GetNode()] == nil:
		case job:
			return broken(4, "job instance %s was made while %s may run", id(i), k)
		case s.GetDesired() == dhowv1.Desired_DESIRED_RUN && s.GetRevision() == i.GetSpec().GetRevision() &&
			!c.moves(s.GetNode()):
			return broken(4, "instance %s was made while %s runs", id(i), k)
		case s.GetAttempt() >= i.GetSpec().GetAttempt():
			return broken(4, "instance %s is no later attempt than %s, which runs", id(i), k)
		}
	}
	return nil
}

// moves tells whether an instance may be made beside one on this node. A drain
// may be called off before the plan that was made for it is carried out; the
// next one stops what is too much.
func (c *Checker) moves(node string) bool {
	if c.planning {
		return c.nodes[node].GetSpec().GetDraining()
	}
	return c.drained[node]
}
