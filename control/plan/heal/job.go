package heal

import (
	"cmp"
	"slices"
)

// over is why the slot of a job needs no instance any more, empty when it does.
func (s *Slot) over() StopReason {
	switch {
	case s.Index >= s.Group.replicas:
		return ScaledDown
	case s.tally.succeeded > 0:
		return JobDone
	case s.Group.jobOver:
		return JobFailed
	}
	return ""
}

// run keeps one instance in a slot of a job until one has succeeded. Never do
// two run at once, as far as nodes can be asked.
func (s *Slot) run(env Env, lost *Instance) {
	g := s.Group
	why := s.over()
	if why != "" {
		for _, i := range s.live() {
			stop(env, i, why)
		}
		return
	}
	lost = cmp.Or(s.abandon(env), lost)
	live := s.live()
	keep := best(slices.DeleteFunc(slices.Clone(live), func(i *Instance) bool {
		return i.revision() != g.current || i.Node() != "" && env.Node(i.Node()).Draining
	}))
	for _, i := range live {
		switch {
		case i.revision() != g.current:
			stop(env, i, Replaced)
		case i.Node() != "" && env.Node(i.Node()).Draining:
			stop(env, i, Drained)
		case i != keep:
			stop(env, i, Surplus)
		}
	}
	if keep != nil {
		s.place(env)
		return
	}
	if slices.ContainsFunc(s.insts, (*Instance).Stopping) {
		return // its end brings us back here
	}
	if last := s.last(); lost == nil && last != nil && last.Terminal() && last.byItself() &&
		last.failures() > g.backoffLimit && last.revision() == g.current {
		return // the group will find that the job has failed
	}
	s.revive(env, lost)
}
