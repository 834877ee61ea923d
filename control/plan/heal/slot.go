package heal

import (
	"slices"
	"time"

	dhowv1 "dhow.dev/dhow/proto/dhow/v1"
)

// Slot is the place of one index among a workload's replicas.
type Slot struct {
	Group *Group
	Index uint32
	// Wake is when the slot is looked at again; kept by Env.
	Wake time.Time

	insts []*Instance // by attempt
	// attempts is one more than the latest attempt there ever was, as far as is
	// known: what is removed counts, too.
	attempts uint32

	tally  tally
	dirty  bool
	busy   bool // being decided on; its changes need no second look
	queued bool // in the group's waiting list
}

// tally counts what a slot, or all slots of a group, hold.
type tally struct {
	live, pending, starting, running, ready int
	// updated is ready and of the current revision; outdated is live and not.
	updated, outdated   int
	succeeded, failed   int
	exhausted           int // slots that used up the backoff limit
	unplaced, troubled  int
	backingOff          int
	existing, occupying int
}

func (t *tally) add(o *tally, sign int) {
	t.live += sign * o.live
	t.pending += sign * o.pending
	t.starting += sign * o.starting
	t.running += sign * o.running
	t.ready += sign * o.ready
	t.updated += sign * o.updated
	t.outdated += sign * o.outdated
	t.succeeded += sign * o.succeeded
	t.failed += sign * o.failed
	t.exhausted += sign * o.exhausted
	t.unplaced += sign * o.unplaced
	t.troubled += sign * o.troubled
	t.backingOff += sign * o.backingOff
	t.existing += sign * o.existing
	t.occupying += sign * o.occupying
}

// count makes the slot's tally anew.
func (s *Slot) count() tally {
	var t tally
	g := s.Group
	wanted := g.Workload != nil && s.Index < g.replicas
	var newest *Instance
	for _, i := range s.insts {
		t.existing++
		current := i.revision() == g.current
		if current {
			newest = i
		}
		if current && wanted && g.job && i.succeeded() {
			t.succeeded = 1
		}
		if i.Node() != "" && !i.Terminal() {
			t.occupying++
		}
		if i.Live() {
			s.countLive(&t, i, current)
		}
	}
	if newest != nil && wanted {
		t.failed = int(newest.failures())
		if g.job && t.succeeded == 0 && newest.failures() > g.backoffLimit {
			t.exhausted = 1
		}
		if t.failed > 0 && !newest.Ready() && t.succeeded == 0 {
			t.troubled = 1
		}
	}
	return t
}

// countLive adds an instance that is to run.
func (s *Slot) countLive(t *tally, i *Instance, current bool) {
	t.live++
	if !current {
		t.outdated++
	}
	if i.Node() == "" {
		if i.Obj.GetSpec().GetNotBefore() != nil && !s.queued {
			t.backingOff++
		} else {
			t.unplaced++
		}
	}
	switch i.State() {
	case dhowv1.InstanceState_INSTANCE_STATE_UNSPECIFIED, dhowv1.InstanceState_INSTANCE_STATE_PENDING:
		t.pending++
	case dhowv1.InstanceState_INSTANCE_STATE_PREPARING, dhowv1.InstanceState_INSTANCE_STATE_STARTING:
		t.starting++
	default:
		t.running++
	}
	if i.Ready() {
		t.ready++
		if current {
			t.updated++
		}
	}
}

func (s *Slot) recount() {
	if s.queued && !slices.ContainsFunc(s.insts, (*Instance).unplaced) {
		s.queued = false // its place in the waiting list means nothing now
	}
	t := s.count()
	s.Group.tally.add(&s.tally, -1)
	s.tally = t
	s.Group.tally.add(&s.tally, 1)
}

// put adds or replaces an instance's model.
func (s *Slot) put(i *Instance) {
	at, found := slices.BinarySearchFunc(s.insts, i, byAttempt)
	if !found {
		s.insts = slices.Insert(s.insts, at, i)
	}
	s.attempts = max(s.attempts, i.attempt()+1)
	s.recount()
}

func (s *Slot) remove(i *Instance) {
	if at := slices.Index(s.insts, i); at >= 0 {
		s.insts = slices.Delete(s.insts, at, at+1)
	}
	s.recount()
}

func byAttempt(a, b *Instance) int {
	switch {
	case a.attempt() != b.attempt():
		return int(int64(a.attempt()) - int64(b.attempt()))
	case a.Obj.GetMeta().GetName() < b.Obj.GetMeta().GetName():
		return -1
	case a.Obj.GetMeta().GetName() > b.Obj.GetMeta().GetName():
		return 1
	}
	return 0
}

// last is the newest instance, of any kind; nil if there is none.
func (s *Slot) last() *Instance {
	if len(s.insts) == 0 {
		return nil
	}
	return s.insts[len(s.insts)-1]
}

// Back-off of replacements: an instance was restarted in place before it was
// given up as failed, so this begins where that ended.
const (
	firstDelay = time.Second
	mostDelay  = 5 * time.Minute
)

// birth makes the next instance of the slot. Whatever it is for: when the one
// before it ended by itself, it waits.
func (s *Slot) birth(why StopReason, replaces *Instance, now time.Time) Birth {
	g := s.Group
	b := Birth{Slot: s, Revision: g.current, Attempt: s.attempts, Why: why, Replaces: replaces}
	last := s.newest()
	if last == nil {
		return b
	}
	b.Failures = last.failures()
	if !last.Terminal() || !last.byItself() {
		return b
	}
	if replaces == nil {
		b.Why, b.Replaces = Ended, last
	}
	if d := g.delay(last); d > 0 {
		from := now
		if t := last.Obj.GetStatus().GetFinishedAt(); t != nil && t.AsTime().Before(now) {
			from = t.AsTime()
		}
		if at := from.Add(d); at.After(now) {
			b.NotBefore = at
		}
	}
	if last.failed() {
		b.Avoid = last.Node()
	}
	return b
}

// newest is the newest instance of the current revision; nil if there is none.
func (s *Slot) newest() *Instance {
	for _, i := range slices.Backward(s.insts) {
		if i.revision() == s.Group.current {
			return i
		}
	}
	return nil
}

// delay is how long to wait after an instance that ended by itself: twice as
// long as it had waited, unless it ran for long.
func (g *Group) delay(i *Instance) time.Duration {
	st, sp := i.Obj.GetStatus(), i.Obj.GetSpec()
	if a, b := st.GetStartedAt(), st.GetFinishedAt(); a != nil && b != nil && b.AsTime().Sub(a.AsTime()) >= g.resetAfter {
		return 0
	}
	waited := time.Duration(0)
	if t := sp.GetNotBefore(); t != nil {
		waited = t.AsTime().Sub(i.Obj.GetMeta().GetCreatedAt().AsTime())
	}
	return min(max(firstDelay, 2*waited), mostDelay)
}
