package heal

import (
	"slices"

	dhowv1 "dhow.dev/dhow/proto/dhow/v1"
)

// Plan decides on all that changed since the last Plan. When Env is full, some
// is left; Busy tells.
func (g *Group) Plan(env Env) {
	if g.Workload != nil && !g.revised {
		if !g.uptodate() {
			env.Revise(g)
		}
		g.revised = true
		g.scaled(env)
	}
	if over := g.Workload != nil && g.job && g.tally.exhausted > 0; over != g.jobOver {
		g.jobOver = over
		g.all, g.next = true, 0
	}
	for g.all && !env.Full() {
		if g.next >= g.replicas && int(g.next) >= len(g.slots) {
			g.all = false
			break
		}
		g.decide(env, g.slot(g.next))
		g.next++
	}
	slices.SortFunc(g.dirty, func(a, b *Slot) int { return bySlot(a, b.Index) })
	for len(g.dirty) > 0 && !env.Full() {
		s := g.dirty[0]
		g.dirty = g.dirty[1:]
		g.decide(env, s)
	}
	if len(g.dirty) == 0 {
		g.dirty = nil
	}
	if g.Workload != nil && !g.job {
		g.roll(env)
	}
	g.collect(env)
	g.more = env.Full()
	if g.Workload == nil || g.Busy() {
		return
	}
	if s := g.status(); !equal(s, g.Workload.GetStatus()) {
		g.tell(env, s)
		env.Report(g, s)
	}
}

// decide looks at one slot.
func (g *Group) decide(env Env, s *Slot) {
	s.dirty, s.busy = false, true
	lost := s.bury(env)
	switch {
	case g.Workload == nil:
		s.clear(env)
	case g.job:
		s.run(env, lost)
	default:
		s.serve(env, lost)
	}
	s.trim(env)
	s.busy = false
}

// stop ends an instance the shortest way.
func stop(env Env, i *Instance, why StopReason) {
	if i.Node() == "" {
		env.Remove(i)
		return
	}
	env.Stop(i, why)
}

// clear ends what a deleted workload left.
func (s *Slot) clear(env Env) {
	for _, i := range slices.Clone(s.insts) {
		switch {
		case i.Terminal() || i.Node() == "":
			env.Remove(i)
		case i.Live():
			env.Stop(i, Deleted)
		}
	}
}

// bury removes instances of nodes that a user removed. It returns one that is
// missed now.
func (s *Slot) bury(env Env) (lost *Instance) {
	for _, i := range slices.Clone(s.insts) {
		if i.Node() == "" || i.Terminal() || env.Node(i.Node()).Known {
			continue
		}
		if i.Live() {
			lost = i
		}
		env.Remove(i)
	}
	return lost
}

// abandon gives up instances whose nodes are lost for longer than the workload
// wants to wait, also those that were told to stop and cannot say that they
// have. It returns one that is missed now.
func (s *Slot) abandon(env Env) (lost *Instance) {
	for _, i := range slices.Clone(s.insts) {
		if i.Node() == "" || !i.Live() && !i.Stopping() {
			continue
		}
		n := env.Node(i.Node())
		if !n.Lost {
			continue
		}
		if due := n.Since.Add(s.Group.lostAfter); env.Now().Before(due) {
			env.WakeAt(s, due)
			continue
		}
		if i.Live() {
			lost = i
		}
		env.Stop(i, Lost)
	}
	return lost
}

// live lists the live instances.
func (s *Slot) live() []*Instance {
	var out []*Instance
	for _, i := range s.insts {
		if i.Live() {
			out = append(out, i)
		}
	}
	return out
}

// place tries to find a node for what has none.
func (s *Slot) place(env Env) {
	for _, i := range s.insts {
		if !i.Live() || i.Node() != "" || i.revision() != s.Group.current {
			continue
		}
		if at := i.NotBefore(); at.After(env.Now()) {
			env.WakeAt(s, at)
			continue
		}
		if !s.queued && !env.Place(i) {
			s.Wait()
		}
		return
	}
}

// Wait puts the slot into the group's waiting list: it has an instance that
// found no node.
func (s *Slot) Wait() {
	if s.queued {
		return
	}
	s.queued = true
	g := s.Group
	if g.waiting = append(g.waiting, s); len(g.waiting) > 2*len(g.slots) {
		g.waiting = slices.DeleteFunc(slices.Clone(g.slots), func(s *Slot) bool { return !s.queued })
	}
	s.recount()
}

// Waiting is the first instance in the waiting list; nil if none waits.
func (g *Group) Waiting() *Instance {
	for len(g.waiting) > 0 {
		if s := g.waiting[0]; s.queued {
			if at := slices.IndexFunc(s.insts, (*Instance).unplaced); at >= 0 {
				return s.insts[at]
			}
		}
		g.waiting[0].queued = false
		g.waiting = g.waiting[1:]
	}
	g.waiting = nil
	return nil
}

// Retry tries to place what waits, in order, until something finds no node
// still. Then it tells false.
func (g *Group) Retry(env Env) bool {
	for !env.Full() {
		i := g.Waiting()
		if i == nil {
			return true
		}
		s := i.Slot
		s.busy = true
		ok := env.Place(i)
		s.busy = false
		if !ok {
			return false
		}
	}
	return true
}

// best is the instance to keep of several.
func best(list []*Instance) *Instance {
	var b *Instance
	for _, i := range list {
		if b == nil || rank(i) > rank(b) {
			b = i
		}
	}
	return b
}

func rank(i *Instance) int {
	switch {
	case i.Ready():
		return 3
	case i.State() >= dhowv1.InstanceState_INSTANCE_STATE_RUNNING:
		return 2
	case i.Node() != "":
		return 1
	}
	return 0
}
