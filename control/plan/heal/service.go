package heal

import "cmp"

// serve keeps one instance of the current revision in a slot of a service.
// Instances of older revisions are left to roll.
func (s *Slot) serve(env Env, lost *Instance) {
	g := s.Group
	if s.Index >= g.replicas {
		for _, i := range s.live() {
			stop(env, i, ScaledDown)
		}
		return
	}
	lost = cmp.Or(s.abandon(env), lost)
	var stay, moving, old []*Instance
	moved := false // an old one is on a draining node
	for _, i := range s.live() {
		draining := i.Node() != "" && env.Node(i.Node()).Draining
		switch {
		case i.revision() != g.current:
			old = append(old, i)
			moved = moved || draining
		case draining:
			moving = append(moving, i)
		default:
			stay = append(stay, i)
		}
	}
	keep := best(stay)
	for _, i := range stay {
		if i != keep {
			stop(env, i, Surplus)
		}
	}
	// What is on a draining node serves until its replacement does.
	serving := best(moving)
	for _, i := range moving {
		if i != serving || !i.Ready() || keep != nil && keep.Ready() {
			stop(env, i, Drained)
		}
	}
	switch {
	case keep != nil:
		s.place(env)
	case serving != nil:
		env.Create(s.birth(Drained, serving, env.Now()))
	case len(old) == 0:
		s.revive(env, lost)
	case moved:
		env.Create(s.birth(Replaced, nil, env.Now()))
	}
}

// revive makes the instance that a slot without one lacks.
func (s *Slot) revive(env Env, lost *Instance) {
	why := StopReason("")
	if lost != nil {
		why = Lost
	}
	env.Create(s.birth(why, lost, env.Now()))
}

// byItself tells that an instance ended without being told to.
func (i *Instance) byItself() bool { return i.Obj.GetSpec().GetStopReason() == "" }

// roll replaces instances of old revisions: a new one is started beside the
// old one, which is stopped when the new one is ready. Never more than
// replicas + surge exist, never fewer than replicas - unavailable are ready
// because of it.
func (g *Group) roll(env Env) {
	if len(g.outdated) == 0 {
		return
	}
	n := int(g.replicas)
	starts := n + surge(n) - g.tally.live
	stops := g.tally.ready - (n - g.unavailable())
	left := g.outdated[:0]
	for k, s := range g.outdated {
		if env.Full() {
			left = append(left, g.outdated[k:]...)
			break
		}
		if s.Index < g.replicas {
			s.busy = true
			s.step(env, &starts, &stops)
			s.busy = false
		}
		if s.tally.outdated > 0 {
			left = append(left, s)
		}
	}
	clear(g.outdated[len(left):])
	g.outdated = left
}

// step moves one slot on, within what may be started and stopped.
func (s *Slot) step(env Env, starts, stops *int) {
	var fresh *Instance
	var old []*Instance
	for _, i := range s.live() {
		switch {
		case i.revision() != s.Group.current:
			old = append(old, i)
		case fresh == nil || rank(i) > rank(fresh):
			fresh = i
		}
	}
	serving := best(old)
	for _, i := range old {
		switch {
		case !i.Ready(): // missed by nobody
		case i != serving && *stops > 0:
			*stops--
		default:
			continue
		}
		stop(env, i, Replaced)
		*starts++
	}
	if serving == nil || !serving.Ready() {
		serving = nil
	}
	// A slot that has nothing gets its instance whatever others do.
	if fresh == nil && (*starts > 0 || serving == nil) {
		env.Create(s.birth(Replaced, nil, env.Now()))
		*starts--
	}
	// The old one goes when the new one is there, or when it holds the room
	// that the new one needs.
	if serving != nil && *stops > 0 && (fresh != nil && fresh.Ready() || s.queued) {
		stop(env, serving, Replaced)
		*stops--
		*starts++
	}
}

// surge is how many more than wanted may exist: a quarter, rounded up.
func surge(n int) int { return (n + 3) / 4 }

// unavailable is how many may be missing: a quarter, rounded down. But where an
// instance has a port of its node to itself, a second one beside it often has
// no place: then one may be missing at least.
func (g *Group) unavailable() int {
	n := int(g.replicas) / 4
	if n == 0 && g.hostPorts() {
		return 1
	}
	return n
}

func (g *Group) hostPorts() bool {
	for _, t := range g.Current().GetTemplate().GetTasks() {
		for _, p := range t.GetPorts() {
			if p.GetHostPort() != 0 {
				return true
			}
		}
	}
	return false
}
