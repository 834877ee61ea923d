package wasmrt

import (
	goruntime "runtime"
	"sync"
	"time"

	"dhow.dev/dhow/wasmrt/internal/fair"
)

// lendAfter is how long a guest keeps its place on the CPU without asking for
// more fuel, while others wait: it sits in a host function.
const lendAfter = 10 * time.Millisecond

// share gives places on the CPU to guests: as many compute at a time as there
// are places, and who has had the least in proportion to its weight is next.
//
// Who comes with short work does not wait: it has its first slice at once,
// beside the others. It is on a processor already, and whoever holds a place may
// be waiting for one: if it waited too, both would.
type share struct {
	now func() time.Duration

	mu       sync.Mutex
	free     int
	extra    int // that may still compute beside those with places
	queue    fair.Queue
	holders  map[*fair.One]*seat
	watching bool
}

// seat is a guest at a share.
type seat struct {
	fair.One               // under share.mu
	turn     chan struct{} // its place has come; room for one
	lent     bool          // it has no place: it went to others; under share.mu
	extra    bool          // it never had one; under share.mu
	since    time.Duration // when it last came to the share; under share.mu
}

func newShare(places int, now func() time.Duration) *share {
	return &share{free: places, extra: places, now: now, holders: map[*fair.One]*seat{}}
}

func newSeat(weight uint32) *seat {
	return &seat{One: fair.One{Weight: weight}, turn: make(chan struct{}, 1)}
}

// acquire returns when the guest has a place, and when that was: at once, now,
// or later. Ok is false when done came first; it is asked for only if there is
// need to wait.
func (s *share) acquire(g *seat, now time.Duration, done func() <-chan struct{}) (at time.Duration, ok bool) {
	s.mu.Lock()
	g.since = now
	switch {
	case s.free > 0:
		s.free--
	case s.extra > 0 && s.queue.Early(&g.One):
		s.extra--
		g.lent, g.extra = true, true
	default:
		s.waitLocked(g)
		s.mu.Unlock()
		return s.await(g, done)
	}
	s.queue.Run(&g.One)
	s.holders[&g.One] = g
	s.mu.Unlock()
	return now, true
}

// settleLocked ends that a guest computes without a place.
func (s *share) settleLocked(g *seat) {
	if g.extra {
		s.extra++
	}
	g.lent, g.extra = false, false
}

// waitLocked puts the guest into the queue.
func (s *share) waitLocked(g *seat) {
	s.queue.Wait(&g.One)
	s.holders[&g.One] = g
	if !s.watching {
		s.watching = true
		time.AfterFunc(lendAfter, s.watch)
	}
}

func (s *share) await(g *seat, done func() <-chan struct{}) (at time.Duration, ok bool) {
	select {
	case <-g.turn:
		// It came in the middle of another guest's work, which was next on this
		// processor: all others in the process go first.
		goruntime.Gosched()
		return s.now(), true
	case <-done():
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	select {
	case <-g.turn: // both came
		return s.now(), true
	default:
		s.queue.Leave(&g.One)
		delete(s.holders, &g.One)
		return 0, false
	}
}

// pass is called now by a guest that has computed for a time and would go on. It
// returns when that is so, as acquire does, after everyone else in the process
// had a turn. When it is not ok the guest has no place.
func (s *share) pass(g *seat, now, used time.Duration, done func() <-chan struct{}) (at time.Duration, ok bool) {
	s.mu.Lock()
	s.queue.Charge(&g.One, used)
	g.since = now
	switch {
	case g.lent && s.free > 0:
		s.settleLocked(g)
		s.free--
	case g.lent:
		s.settleLocked(g)
		s.queue.Leave(&g.One)
		s.waitLocked(g)
		s.mu.Unlock()
		return s.await(g, done)
	case s.queue.Before(&g.One):
		s.queue.Leave(&g.One)
		s.waitLocked(g)
		s.giveLocked()
		s.mu.Unlock()
		return s.await(g, done)
	}
	s.mu.Unlock()
	goruntime.Gosched()
	return now, true
}

// release gives the guest's place back.
func (s *share) release(g *seat, used time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.queue.Charge(&g.One, used)
	s.queue.Leave(&g.One)
	delete(s.holders, &g.One)
	if !g.lent {
		s.giveLocked()
	}
	s.settleLocked(g)
}

// giveLocked gives a place to the next one, if any waits.
func (s *share) giveLocked() {
	next := s.queue.Next()
	if next == nil {
		s.free++
		return
	}
	g := s.holders[next]
	g.since = s.now()
	g.turn <- struct{}{}
}

// watch lends the places of guests that sit in host functions, as long as
// others wait.
func (s *share) watch() {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.now()
	for n := 0; n < len(s.queue.Running()); n++ {
		g := s.holders[s.queue.Running()[n]]
		switch {
		case s.queue.Waiting() == 0 || now-g.since < lendAfter:
		case g.extra:
			g.extra = false
			s.extra++
		case !g.lent:
			g.lent = true
			s.giveLocked()
		}
	}
	if s.watching = s.queue.Waiting() > 0; s.watching {
		time.AfterFunc(lendAfter, s.watch)
	}
}

// setWeight changes the guest's weight.
func (s *share) setWeight(g *seat, weight uint32) {
	s.mu.Lock()
	defer s.mu.Unlock()
	g.Weight = weight
}
