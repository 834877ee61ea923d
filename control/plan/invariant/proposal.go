package invariant

import (
	dhowv1 "dhow.dev/dhow/proto/dhow/v1"
	"dhow.dev/dhow/proto/spec"
)

// Propose takes in what the leader is about to propose as if it had happened
// in the state that the leader knows, and tells what that broke. Beside what
// Observe checks: a rollout's bounds, and that only nodes that take instances
// get some.
func (c *Checker) Propose(changes []*dhowv1.Change) error {
	for _, ch := range changes {
		if d := ch.GetDelete(); d != nil {
			c.remove(d)
			continue
		}
		if l := ch.GetLiveness(); l != nil {
			if n := c.nodes[l.GetNode()]; n != nil {
				c.nodes[l.GetNode()] = &dhowv1.Node{
					Meta: n.GetMeta(), Spec: n.GetSpec(), Info: n.GetInfo(), Session: n.GetSession(), Liveness: l.GetLiveness(),
				}
			}
			continue
		}
		i := ch.GetPut().GetInstance()
		if i == nil {
			continue
		}
		old := c.instances[id(i)]
		if err := c.Put(ch.GetPut()); err != nil {
			return err
		}
		if err := c.admitted(old, i); err != nil {
			return err
		}
		if err := c.rolls(old, i); err != nil {
			return err
		}
	}
	return nil
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

// rolls checks the bounds of a rollout when it makes or stops an instance.
func (c *Checker) rolls(old, i *dhowv1.Instance) error {
	const replaced = "replaced by a new revision"
	w := c.workloads[i.GetSpec().GetWorkloadUid()]
	if w == nil || w.GetSpec().GetType() == dhowv1.WorkloadType_WORKLOAD_TYPE_JOB {
		return nil
	}
	stopped := old != nil && i.GetSpec().GetStopReason() == replaced && old.GetSpec().GetStopReason() == "" && serves(old)
	if !stopped && old != nil {
		return nil
	}
	replicas := 1
	if w.GetSpec().Replicas != nil {
		replicas = int(w.GetSpec().GetReplicas())
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
	if stopped && ready < replicas-replicas/4 {
		return broken(5, "stopping %s leaves %d of %d ready", id(i), ready, replicas)
	}
	if old == nil && live-moving > replicas+(replicas+3)/4 {
		return broken(5, "with %s there are %d of %d", id(i), live, replicas)
	}
	return nil
}

func serves(i *dhowv1.Instance) bool {
	return i.GetStatus().GetReady() && i.GetStatus().GetState() == dhowv1.InstanceState_INSTANCE_STATE_RUNNING
}
