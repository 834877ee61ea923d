package heal

import (
	"cmp"
	"slices"
)

// How much of the past is kept.
const (
	keepEnded     = 5   // ended instances of an index
	keepAllEnded  = 100 // ended instances of a workload
	keepRevisions = 10
)

// trim removes the oldest ended instances of a slot.
func (s *Slot) trim(env Env) {
	if s.Group.Workload == nil {
		return
	}
	ended := 0
	for _, i := range s.insts {
		if i.Terminal() && !i.record() {
			ended++
		}
	}
	for k := 0; k < len(s.insts) && ended > keepEnded; {
		if i := s.insts[k]; i.Terminal() && !i.record() {
			env.Remove(i)
			ended--
			continue
		}
		k++
	}
}

// record tells that the instance is what is known of a job's success.
func (i *Instance) record() bool {
	g := i.Slot.Group
	return g.job && i.succeeded() && i.revision() == g.current && i.Slot.Index < g.replicas
}

// collect removes the oldest of a workload's ended instances, and revisions
// that nothing needs.
func (g *Group) collect(env Env) {
	if g.Workload != nil {
		g.collectEnded(env)
		if len(g.Revisions) > keepRevisions && !env.Full() {
			g.dropRevisions(env, keepRevisions)
		}
	} else if g.tally.existing == 0 {
		g.dropRevisions(env, 0)
	}
}

func (g *Group) collectEnded(env Env) {
	if len(g.ended)-g.tally.succeeded <= max(keepAllEnded, g.glut) {
		return
	}
	var old []*Instance
	for _, i := range g.ended {
		if !i.record() {
			old = append(old, i)
		}
	}
	slices.SortFunc(old, func(a, b *Instance) int {
		return cmp.Or(
			a.Obj.GetStatus().GetFinishedAt().AsTime().Compare(b.Obj.GetStatus().GetFinishedAt().AsTime()),
			cmp.Compare(a.Obj.GetMeta().GetName(), b.Obj.GetMeta().GetName()),
		)
	})
	for k := 0; k < len(old)-keepAllEnded && !env.Full(); k++ {
		s := old[k].Slot
		if s.last() == old[k] && s.Index < g.replicas {
			continue // its back-off and count of failures are still needed
		}
		was := s.busy
		s.busy = true
		env.Remove(old[k])
		s.busy = was
	}
	// What is left above the bound cannot go yet: do not sort it every time.
	g.glut = 0
	if left := len(g.ended) - g.tally.succeeded; left > keepAllEnded && !env.Full() {
		g.glut = left + left/8
	}
}

func (g *Group) dropRevisions(env Env, keep int) {
	used := map[uint64]bool{}
	for _, s := range g.slots {
		for _, i := range s.insts {
			used[i.revision()] = true
		}
	}
	spare := len(g.Revisions) - keep
	for _, r := range slices.Clone(g.Revisions) {
		if spare <= 0 {
			return
		}
		if !used[r.GetNumber()] {
			env.DropRevision(g, r.GetNumber())
		}
		spare--
	}
}
