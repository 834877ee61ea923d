package agent

import (
	"fmt"
	"slices"
	"time"

	"google.golang.org/protobuf/proto"

	dhowv1 "dhow.dev/dhow/proto/dhow/v1"
	"dhow.dev/dhow/proto/spec"
)

// maxUnused is how many revisions that no instance uses are kept, because
// the server does not send one twice in a session.
const maxUnused = 256

// partial collects a full set that comes in several messages.
type partial struct {
	instances []*dhowv1.Instance
	revisions []*dhowv1.Revision
}

// Assign takes assignments. Ones that are older than what it has or are for
// another node are refused as a whole and change nothing; the session should
// then be opened anew. An instance whose revision is not there is left out:
// its workload was deleted, and the instance's end will be told.
func (c *Core) Assign(now time.Time, a *dhowv1.Assignments) error {
	if a.GetGeneration() < c.generation {
		return spec.Errorf(spec.CodeConflict, "assignments of generation %d are older than %d, which node %s has: the server is behind", a.GetGeneration(), c.generation, c.config.Node)
	}
	if !a.GetFull() && c.partial != nil {
		return spec.Errorf(spec.CodeInvalid, "a change of the assignments came inside of a full set")
	}
	full, revisions := a.GetInstances(), a.GetRevisions()
	if c.partial != nil {
		full = append(c.partial.instances, full...)
		revisions = append(c.partial.revisions, revisions...)
	}
	if a.GetFull() && a.GetMore() {
		c.partial = &partial{full, revisions}
		return nil
	}
	c.partial = nil
	if err := c.check(full, revisions); err != nil {
		return err
	}
	if a.GetFull() {
		c.evicted = false // it brings all that is needed
	}
	for _, r := range revisions {
		c.takeRevision(r)
	}
	seen := make(map[string]bool, len(full))
	for _, in := range full {
		seen[in.GetMeta().GetUid()] = true
		c.take(now, in, a.GetFull())
	}
	if a.GetFull() {
		for _, uid := range sortedKeys(c.instances) {
			if !seen[uid] {
				c.remove(c.instances[uid])
			}
		}
	}
	for _, ref := range a.GetRemoved() {
		if i := c.find(ref); i != nil {
			c.remove(i)
		}
	}
	c.generation = a.GetGeneration()
	// The generation alone is not worth a write: it goes along with others.
	if len(c.records) > 0 && c.recorded != c.generation {
		c.recorded = c.generation
		c.record(&dhowv1.LedgerRecord{Record: &dhowv1.LedgerRecord_Generation{Generation: c.generation}})
	}
	c.synced = c.connected
	return nil
}

func (c *Core) check(instances []*dhowv1.Instance, revisions []*dhowv1.Revision) error {
	sent := make(map[revisionKey]bool, len(revisions))
	for _, r := range revisions {
		sent[revisionKey{r.GetWorkloadUid(), r.GetNumber()}] = true
	}
	for _, in := range instances {
		m, s := in.GetMeta(), in.GetSpec()
		key := keyOf(in)
		switch {
		case m.GetUid() == "" || m.GetName() == "":
			return spec.Errorf(spec.CodeInvalid, "assignments name an instance %q without name or uid", m.GetName())
		case s.GetNode() != c.config.Node:
			return spec.Errorf(spec.CodeInvalid, "assignments for node %s have instance %s/%s, which is on node %q", c.config.Node, m.GetNamespace(), m.GetName(), s.GetNode())
		case c.evicted && !c.knows(in) && !sent[key]:
			return spec.Errorf(spec.CodeInvalid, "revision %d of workload %s, which instance %s/%s needs, is no longer kept and was not sent again", key.number, s.GetWorkload(), m.GetNamespace(), m.GetName())
		}
	}
	return nil
}

// knows tells whether the core can do what the assignment says.
func (c *Core) knows(in *dhowv1.Instance) bool {
	return stops(in) || c.instances[in.GetMeta().GetUid()] != nil || c.revisions[keyOf(in)] != nil
}

// stops tells that the instance is not to run any more.
func stops(in *dhowv1.Instance) bool {
	return in.GetSpec().GetDesired() == dhowv1.Desired_DESIRED_STOP || in.GetSpec().GetLostAt() != nil ||
		spec.Terminal(in.GetStatus().GetState())
}

// take adds an instance or changes what is known of it.
func (c *Core) take(now time.Time, in *dhowv1.Instance, full bool) {
	i := c.instances[in.GetMeta().GetUid()]
	if i == nil {
		if spec.Terminal(in.GetStatus().GetState()) || !c.knows(in) {
			return
		}
		i = c.add(in)
		i.stop = stops(in)
		c.save(i)
		c.poke(i)
		return
	}
	if in.GetMeta().GetVersion() < i.obj.GetMeta().GetVersion() || i.removed {
		return
	}
	old := i.obj
	i.obj = in
	c.adopt(i, now, in.GetStatus(), full)
	if stops(in) && !i.stop {
		i.stop = true
		c.poke(i)
	}
	if !proto.Equal(old.GetSpec(), in.GetSpec()) && !i.finished {
		c.save(i)
	}
}

// adopt compares the status the server has with the node's own. The node's
// is news unless the server knows a later one, from before a restart that
// lost it.
func (c *Core) adopt(i *instance, now time.Time, s *dhowv1.InstanceStatus, full bool) {
	own := i.status
	if s.GetSequence() < own.GetSequence() {
		if full && !i.report.inFlight {
			c.markDirty(i, now)
		}
		return
	}
	if proto.Equal(s, own) {
		return
	}
	state := max(s.GetState(), own.GetState())
	if spec.Terminal(s.GetState()) {
		state = s.GetState()
	}
	base := proto.CloneOf(s)
	if base == nil {
		base = &dhowv1.InstanceStatus{}
	}
	base.State = state
	if spec.Terminal(state) && !i.finished {
		i.stop, i.verdict, i.reason, i.message = true, state, s.GetReason(), s.GetMessage()
	}
	if spec.Terminal(own.GetState()) && !spec.Terminal(s.GetState()) {
		// Its end is news, whatever else was reported before it.
		base = proto.CloneOf(own)
		base.Sequence = s.GetSequence() + 1
		c.markDirty(i, now)
	} else if state != s.GetState() {
		base.Sequence++
		c.markDirty(i, now)
	}
	i.status = base
	c.poke(i)
}

// add makes an instance from its object; its revision must be known, or it
// can only be stopped.
func (c *Core) add(in *dhowv1.Instance) *instance {
	m := in.GetMeta()
	i := &instance{uid: m.GetUid(), obj: in, status: in.GetStatus(), grace: spec.DefaultGracePeriod}
	if i.status == nil {
		i.status = &dhowv1.InstanceStatus{}
	}
	c.instances[i.uid] = i
	c.names[i.String()] = i.uid
	if r := c.revisions[keyOf(in)]; r != nil {
		c.use(r)
		tpl := r.obj.GetTemplate()
		i.tasks = ordered(tpl.GetTasks())
		i.policy = policyOf(tpl.GetRestart(), r.obj.GetType())
		i.grace = orDefault(tpl.GetGracePeriod(), spec.DefaultGracePeriod)
	}
	c.vet(i)
	return i
}

// vet fails an instance that cannot run here at all.
func (c *Core) vet(i *instance) {
	for _, t := range i.tasks {
		t.runtime = runtimeOf(t.spec, c.config.Image)
	}
	if stops(i.obj) {
		return
	}
	mains, names := 0, map[string]bool{}
	for _, t := range i.tasks {
		if t.role() == dhowv1.TaskRole_TASK_ROLE_MAIN {
			mains++
		}
		if names[t.spec.GetName()] {
			i.fail("BadTemplate", fmt.Sprintf("two tasks are named %q", t.spec.GetName()))
		}
		names[t.spec.GetName()] = true
		if !c.offers(t.runtime) {
			i.fail("NoRuntime", fmt.Sprintf("%s needs the runtime %q, which node %s does not have", t.describe(), t.runtime, c.config.Node))
		}
	}
	if mains != 1 {
		i.fail("BadTemplate", fmt.Sprintf("the template has %d main tasks, not one", mains))
	}
}

func (c *Core) offers(name string) bool {
	return slices.Contains(c.config.Runtimes, name)
}

func (c *Core) find(ref *dhowv1.Ref) *instance {
	if uid := ref.GetUid(); uid != "" {
		return c.instances[uid]
	}
	return c.instances[c.names[ref.GetNamespace()+"/"+ref.GetName()]]
}

// remove stops an instance that is no longer the node's, and forgets it.
func (c *Core) remove(i *instance) {
	if i.removed {
		return
	}
	i.removed = true
	if !i.finished {
		c.save(i)
	}
	c.poke(i)
}

// forget is the last of an instance.
func (c *Core) forget(i *instance) {
	delete(c.instances, i.uid)
	if c.names[i.String()] == i.uid {
		delete(c.names, i.String())
	}
	c.record(&dhowv1.LedgerRecord{Record: &dhowv1.LedgerRecord_Forgotten{Forgotten: i.uid}})
	c.release(keyOf(i.obj))
}
