package wasmrt

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"dhow.dev/dhow/wasmrt/internal/fair"
)

// clocked is a share on the clock of the bubble that the test runs in.
func clocked(places int) *share {
	began := time.Now()
	return newShare(places, func() time.Duration { return time.Since(began) })
}

func never() <-chan struct{} { return nil }

// spin computes in slices until its time is over, and returns how long it
// computed.
func spin(s *share, g *seat, slice time.Duration, until time.Duration) time.Duration {
	now, _ := s.acquire(g, s.now(), never)
	var used time.Duration
	for {
		time.Sleep(slice) // the bubble's way to compute
		end := s.now()
		used += end - now
		if end >= until {
			s.release(g, end-now)
			return used
		}
		now, _ = s.pass(g, end, end-now, never)
	}
}

// TestShareIsFair: each gets the part that its weight says, and the places are
// never idle.
func TestShareIsFair(t *testing.T) {
	for _, c := range []struct {
		places  int
		weights []uint32
		want    []float64 // of one place
	}{
		{1, []uint32{100}, []float64{1}},
		{1, []uint32{100, 100}, []float64{0.5, 0.5}},
		{1, []uint32{100, 300}, []float64{0.25, 0.75}},
		{2, []uint32{100, 100, 100, 100}, []float64{0.5, 0.5, 0.5, 0.5}},
		{2, []uint32{100, 100, 100}, []float64{2. / 3, 2. / 3, 2. / 3}},
		{4, []uint32{1, 1000}, []float64{1, 1}},
	} {
		t.Run(fmt.Sprint(c.places, c.weights), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				const long = time.Second
				s := clocked(c.places)
				used := make([]time.Duration, len(c.weights))
				var all sync.WaitGroup
				for n, w := range c.weights {
					all.Go(func() { used[n] = spin(s, newSeat(w), 100*time.Microsecond, long) })
				}
				all.Wait()
				for n, want := range c.want {
					if got := used[n].Seconds() / long.Seconds(); got < want-0.02 || got > want+0.02 {
						t.Errorf("weight %d got %.3f of a place, want %.3f", c.weights[n], got, want)
					}
				}
				whole(t, s, c.places)
			})
		})
	}
}

// whole checks that a share is as it was at its beginning.
func whole(t *testing.T, s *share, places int) {
	t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.free != places || s.extra != places || len(s.holders) != 0 || s.queue.Waiting() != 0 || len(s.queue.Running()) != 0 {
		t.Errorf("%d and %d of %d places are free; %d holders, %d wait, %d run", s.free, s.extra, places, len(s.holders), s.queue.Waiting(), len(s.queue.Running()))
	}
}

// TestShareLends: the place of one that does not come back to the share is
// another's after lendAfter, and there are no more places than before when it does.
func TestShareLends(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := clocked(1)
		sits, next := newSeat(100), newSeat(100)
		if at, ok := s.acquire(sits, 0, never); at != 0 || !ok {
			t.Errorf("a free place: %v, %v", at, ok)
		}
		at, ok := s.acquire(next, 0, never)
		if !ok || at != lendAfter {
			t.Errorf("lent after %v", at)
		}
		var wait sync.WaitGroup
		var back time.Duration
		wait.Go(func() { back, _ = s.pass(sits, s.now(), s.now(), never) })
		synctest.Wait()
		time.Sleep(5 * time.Millisecond)
		s.release(next, 5*time.Millisecond)
		wait.Wait()
		if want := lendAfter + 5*time.Millisecond; back != want {
			t.Errorf("it was back at %v, want %v", back, want)
		}
		s.release(sits, 0)
		whole(t, s, 1)

		// One whose place is lent and that ends gives nothing back.
		_, _ = s.acquire(sits, s.now(), never)
		_, _ = s.acquire(next, s.now(), never)
		s.release(sits, 0)
		s.release(next, 0)
		whole(t, s, 1)
		time.Sleep(lendAfter)
		synctest.Wait()
		if s.watching {
			t.Error("it watches, and nobody waits")
		}
	})
}

// TestShareShortWork: who comes with short work computes at once beside one that
// has the only place, for one slice; more than that waits as all do.
func TestShareShortWork(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := clocked(1)
		long, short, more := newSeat(100), newSeat(100), newSeat(100)
		_, _ = s.acquire(long, 0, never)
		_, _ = s.pass(long, s.now(), time.Second, never) // it has used that much
		begin := s.now()
		if at, ok := s.acquire(short, begin, never); at != begin || !ok {
			t.Errorf("short work begins at %v, %v", at, ok)
		}
		s.release(short, 50*time.Microsecond)
		if at, ok := s.acquire(short, begin, never); at != begin || !ok {
			t.Errorf("more short work begins at %v, %v", at, ok)
		}
		var wait sync.WaitGroup
		var came, went time.Duration
		wait.Go(func() { came, _ = s.acquire(more, begin, never) }) // one at a time
		synctest.Wait()
		wait.Go(func() { went, _ = s.pass(short, begin, 100*time.Microsecond, never) })
		synctest.Wait()
		time.Sleep(time.Millisecond)
		s.release(long, time.Millisecond)
		synctest.Wait()
		s.release(more, 0)
		wait.Wait()
		if want := begin + time.Millisecond; came != want || went < want {
			t.Errorf("they went on at %v and %v, want %v", came, went, want)
		}
		s.release(short, 0)
		whole(t, s, 1)

		// One that sits in a host function keeps no other from its short work.
		_, _ = s.acquire(long, s.now(), never)
		_, _ = s.pass(long, s.now(), time.Second, never)
		_, _ = s.acquire(short, s.now(), never)
		last := newSeat(100)
		for _, g := range []*seat{more, last} {
			wait.Go(func() {
				_, _ = s.acquire(g, s.now(), never)
				s.release(g, 0)
			})
		}
		synctest.Wait()
		s.mu.Lock()
		if s.extra != 0 {
			t.Error("more than one computes beside the others")
		}
		s.mu.Unlock()
		time.Sleep(lendAfter)
		wait.Wait()
		s.release(short, 0)
		s.release(long, 0)
		whole(t, s, 1)
	})
}

// TestShareGivesUp: one that is to end does not wait, and takes no place with
// it.
func TestShareGivesUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := clocked(1)
		holds := newSeat(100)
		_, _ = s.acquire(holds, 0, never)
		ctx, cancel := context.WithCancel(t.Context())
		var all sync.WaitGroup
		for range 10 {
			all.Go(func() {
				if _, ok := s.acquire(newSeat(100), s.now(), ctx.Done); ok {
					t.Error("it got the place")
				}
			})
		}
		synctest.Wait()
		cancel()
		all.Wait()
		s.release(holds, 0)
		whole(t, s, 1)
	})
}

// TestShareUnderStress: many come, compute, give up and go; in the end all
// places are there.
func TestShareUnderStress(t *testing.T) {
	const places = 3
	began := time.Now()
	s := newShare(places, func() time.Duration { return time.Since(began) })
	var all sync.WaitGroup
	for n := range 16 {
		all.Go(func() {
			g := newSeat(uint32(1 + n*100))
			for k := range 300 {
				ctx, cancel := context.WithCancel(t.Context())
				if k%3 == 0 {
					go cancel()
				}
				now, ok := s.acquire(g, s.now(), ctx.Done)
				for range n {
					if ok {
						end := s.now()
						now, ok = s.pass(g, end, end-now, ctx.Done)
					}
				}
				if ok {
					s.release(g, s.now()-now)
				}
				s.setWeight(g, uint32(1+k))
				cancel()
			}
		})
	}
	all.Wait()
	whole(t, s, places)
}

// TestQuotaIsKept: with a limit of a tenth of a core a guest that always wants
// the CPU gets a tenth, whatever the others do.
func TestQuotaIsKept(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := clocked(2)
		var all sync.WaitGroup
		for range 4 {
			all.Go(func() { spin(s, newSeat(100), 100*time.Microsecond, 10*time.Second) })
		}
		g := newSeat(100)
		var quota fair.Bucket
		quota.Set(100, 0)
		var used time.Duration
		for s.now() < 10*time.Second {
			time.Sleep(quota.Wait(s.now()))
			now, _ := s.acquire(g, s.now(), never)
			time.Sleep(100 * time.Microsecond)
			took := s.now() - now
			used += took
			quota.Take(s.now(), took)
			s.release(g, took)
		}
		all.Wait()
		if got := used.Seconds() / 10; got < 0.095 || got > 0.105 {
			t.Errorf("it got %.4f cores", got)
		}
		whole(t, s, 2)
	})
}

// TestMemoryTakesTurns: a guest that grows its memory for longer than a slice
// gives others their turn meanwhile, pays for it, and can be ended there.
func TestMemoryTakesTurns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := &Engine{start: time.Now(), ownClock: true}
		e.share = newShare(1, e.monotonic)
		i := newInstance(&code{engine: e}, Config{Limits: Limits{Weight: 100}})
		m := &memory{limit: 1 << 20, turn: i.lingered}
		defer m.release()
		c := i.newCall(t.Context())
		if !i.enter(c) {
			t.Fatal("no place")
		}
		var all sync.WaitGroup
		var came time.Duration
		all.Go(func() {
			other := newSeat(100)
			came, _ = e.share.acquire(other, e.monotonic(), never)
			e.share.release(other, 0)
		})
		synctest.Wait()
		time.Sleep(sliceTime)
		m.Reallocate(pageSize)
		synctest.Wait()
		if came != 0 {
			t.Error("it had no slice of its own")
		}
		time.Sleep(sliceTime)
		m.Reallocate(2 * pageSize)
		all.Wait()
		if came != 2*sliceTime+1 {
			t.Errorf("another came at %v, want after %v", came, 2*sliceTime)
		}
		if i.Busy() != 2*sliceTime {
			t.Errorf("it paid for %v", i.Busy())
		}
		i.stopping.Store(true)
		time.Sleep(2 * sliceTime)
		defer func() {
			if recover() == nil || i.fate == nil || i.fate.Exit.Reason != StoppedReason {
				t.Errorf("stopped, it ends with %+v", i.fate)
			}
			i.leave()
			whole(t, e.share, 1)
			c.end()
			i.stop()
		}()
		m.Reallocate(3 * pageSize)
	})
}
