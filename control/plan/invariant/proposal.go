package invariant

import (
	"slices"

	dhowv1 "dhow.dev/dhow/proto/dhow/v1"
	"dhow.dev/dhow/proto/spec"
)

// Propose looks at what the leader is about to propose as if it happened in
// the state that is known, and tells what that would break. Beside what Observe
// checks: a rollout's bounds, and that only nodes that take instances get some.
// Nothing of it is remembered.
func (c *Checker) Propose(changes []*dhowv1.Change) error {
	var undo []func()
	rolling := map[string]*rolling{}
	c.planning = true
	defer func() {
		c.planning = false
		for _, u := range slices.Backward(undo) {
			u()
		}
	}()
	for _, ch := range changes {
		switch op := ch.GetOp().(type) {
		case *dhowv1.Change_Delete:
			if d := op.Delete; d.GetKind() == dhowv1.Kind_KIND_INSTANCE {
				if old := c.instances[d.GetNamespace()+"/"+d.GetName()]; old != nil {
					undo = append(undo, func() { c.link(old) })
					c.unlink(old)
				}
			}
		case *dhowv1.Change_Liveness:
			name := op.Liveness.GetNode()
			if n := c.nodes[name]; n != nil {
				undo = append(undo, func() { c.nodes[name] = n })
				c.nodes[name] = &dhowv1.Node{
					Meta: n.GetMeta(), Spec: n.GetSpec(), Info: n.GetInfo(), Session: n.GetSession(), Liveness: op.Liveness.GetLiveness(),
				}
			}
		case *dhowv1.Change_Put:
			i := op.Put.GetInstance()
			if i == nil {
				if op.Put.GetRevision() != nil {
					_ = c.Put(op.Put) // the instances that follow are of it
				}
				continue
			}
			old := c.instances[id(i)]
			undo = append(undo, func() { c.restore(i, old) })
			if err := c.proposed(old, i); err != nil {
				return err
			}
			c.note(rolling, old, i)
		}
	}
	// A proposal happens as a whole: its bounds hold at its end.
	for uid, r := range rolling {
		if err := c.bounds(c.workloads[uid], r); err != nil {
			return err
		}
	}
	return nil
}

// rolling is what a proposal does to one workload.
type rolling struct {
	born    string // the last instance it makes beside another
	stopped string // the last ready one it replaces
	drained []*dhowv1.Instance
}

func (c *Checker) restore(i, old *dhowv1.Instance) {
	c.unlink(i)
	if old != nil {
		c.link(old)
	} else {
		delete(c.uids, i.GetMeta().GetUid())
	}
}

func (c *Checker) proposed(old, i *dhowv1.Instance) error {
	if err := c.putInstance(i); err != nil {
		return err
	}
	return c.admitted(old, i)
}

// admitted checks that a node that is given an instance takes any.
func (c *Checker) admitted(old, i *dhowv1.Instance) error {
	if i.GetSpec().GetNode() == "" || old.GetSpec().GetNode() != "" {
		return nil
	}
	n := c.nodes[i.GetSpec().GetNode()]
	if n.GetLiveness().GetState() != dhowv1.NodeState_NODE_STATE_READY || n.GetSpec().GetCordoned() || n.GetSpec().GetDraining() {
		return broken(3, "instance %s was given to node %s, which takes none", id(i), i.GetSpec().GetNode())
	}
	return nil
}

// note remembers what the bounds of a rollout speak of.
func (c *Checker) note(all map[string]*rolling, old, i *dhowv1.Instance) {
	const (
		replaced = "replaced by a new revision"
		drained  = "its node is drained"
	)
	uid := i.GetSpec().GetWorkloadUid()
	w := c.workloads[uid]
	if w == nil || w.GetSpec().GetType() == dhowv1.WorkloadType_WORKLOAD_TYPE_JOB {
		return
	}
	r := all[uid]
	if r == nil {
		r = &rolling{}
		all[uid] = r
	}
	if old == nil && c.beside(i) {
		r.born = id(i)
	}
	if old == nil || old.GetSpec().GetStopReason() != "" || !serves(old) {
		return
	}
	switch i.GetSpec().GetStopReason() {
	case replaced:
		r.stopped = id(i)
	case drained:
		r.drained = append(r.drained, i)
	}
}

// beside tells whether an instance is made beside another of its index, which
// is not about to move. One that is alone is wanted in any case.
func (c *Checker) beside(i *dhowv1.Instance) bool {
	for _, o := range c.slots[slotOf(i)] {
		if o != i && !spec.Terminal(o.GetStatus().GetState()) && o.GetSpec().GetDesired() != dhowv1.Desired_DESIRED_STOP &&
			!c.nodes[o.GetSpec().GetNode()].GetSpec().GetDraining() {
			return true
		}
	}
	return false
}

// bounds checks those of a rollout.
func (c *Checker) bounds(w *dhowv1.Workload, r *rolling) error {
	replicas := 1
	if w.GetSpec().Replicas != nil {
		replicas = int(w.GetSpec().GetReplicas())
	}
	for _, i := range r.drained {
		if !c.served(i) {
			return broken(5, "%s leaves its draining node before another is ready", id(i))
		}
	}
	live, ready, moving := 0, 0, 0
	for index := range uint32(replicas) {
		for _, o := range c.slots[slot{w.GetMeta().GetUid(), index}] {
			if spec.Terminal(o.GetStatus().GetState()) || o.GetSpec().GetDesired() == dhowv1.Desired_DESIRED_STOP {
				continue
			}
			live++
			if n := o.GetSpec().GetNode(); n != "" && c.nodes[n].GetSpec().GetDraining() {
				moving++
			}
			if serves(o) {
				ready++
			}
		}
	}
	missing := replicas / 4
	if missing == 0 && hostPorts(w) {
		missing = 1
	}
	if r.stopped != "" && ready < replicas-missing {
		return broken(5, "stopping %s leaves %d of %d ready", r.stopped, ready, replicas)
	}
	if r.born != "" && live-moving > replicas+(replicas+3)/4 {
		return broken(5, "with %s there are %d of %d", r.born, live, replicas)
	}
	return nil
}

// served tells whether an index has an instance that is ready and stays.
func (c *Checker) served(i *dhowv1.Instance) bool {
	for _, o := range c.slots[slotOf(i)] {
		if serves(o) && o.GetSpec().GetDesired() != dhowv1.Desired_DESIRED_STOP {
			return true
		}
	}
	return false
}

func serves(i *dhowv1.Instance) bool {
	return i.GetStatus().GetReady() && i.GetStatus().GetState() == dhowv1.InstanceState_INSTANCE_STATE_RUNNING
}

// hostPorts tells whether a second instance beside the first may have no place
// for want of a port.
func hostPorts(w *dhowv1.Workload) bool {
	for _, t := range w.GetSpec().GetTemplate().GetTasks() {
		for _, p := range t.GetPorts() {
			if p.GetHostPort() != 0 {
				return true
			}
		}
	}
	return false
}
