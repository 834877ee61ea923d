package wasmrt

import (
	"container/list"
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// thing is what a test's keeper lends.
type thing struct {
	number int
	dead   bool
}

// keeperOf makes things that are numbered from 1.
func keeperOf(limits keeperLimits) (k *keeper[*thing], freed *[]int) {
	var mu sync.Mutex
	made := 0
	freed = &[]int{}
	if limits.age == 0 {
		limits.age = time.Minute
	}
	return &keeper[*thing]{
		make: func(context.Context) (*thing, error) {
			mu.Lock()
			defer mu.Unlock()
			made++
			return &thing{number: made}, nil
		},
		alive: func(t *thing) bool { return !t.dead },
		free: func(t *thing) {
			mu.Lock()
			defer mu.Unlock()
			*freed = append(*freed, t.number)
		},
		limit: limits, waiting: list.New(),
	}, freed
}

func nothingToDo(*thing) error { return nil }

// use lends one and says which.
func use(t *testing.T, k *keeper[*thing], f func(*thing) error) int {
	t.Helper()
	n := 0
	if err := k.use(t.Context(), func(it *thing) error { n = it.number; return f(it) }); err != nil {
		t.Error(err)
	}
	return n
}

// TestPoolLendsInTurn: no more users than allowed, the others in the order in
// which they came, and those that are too many are refused.
func TestPoolLendsInTurn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k, _ := keeperOf(keeperLimits{users: 1, queue: 3, idle: 1})
		next := make(chan struct{})
		var order []int
		for n := range 4 {
			go func() {
				use(t, k, func(*thing) error { order = append(order, n); <-next; return nil })
			}()
			synctest.Wait()
		}
		if s := k.snapshot(); s.Busy != 1 || s.Waiting != 3 {
			t.Errorf("%+v", s)
		}
		err := k.use(t.Context(), nothingToDo)
		if e, ok := errors.AsType[*Error](err); !ok || e.Reason != ReasonBusy || e.Permanent() {
			t.Errorf("one more than the queue takes: %v", err)
		}
		for range 4 {
			next <- struct{}{}
			synctest.Wait()
		}
		if len(order) != 4 || order[0] != 0 || order[1] != 1 || order[2] != 2 || order[3] != 3 {
			t.Errorf("they came in the order %v", order)
		}
		k.close()
	})
}

// TestPoolWaitsNoLongerThanItsCaller, who leaves no gap in the queue.
func TestPoolWaitsNoLongerThanItsCaller(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k, _ := keeperOf(keeperLimits{users: 1, queue: 2, idle: 1})
		next := make(chan struct{})
		go use(t, k, func(*thing) error { <-next; return nil })
		synctest.Wait()
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := k.use(ctx, nothingToDo); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("a caller without time: %v", err)
		}
		later := false
		go use(t, k, func(*thing) error { later = true; return nil })
		synctest.Wait()
		if s := k.snapshot(); s.Waiting != 1 {
			t.Errorf("%d wait", s.Waiting)
		}
		next <- struct{}{}
		synctest.Wait()
		if s := k.snapshot(); !later || s.Busy != 0 || s.Waiting != 0 {
			t.Errorf("the next one was not served: %+v", s)
		}
		k.close()
	})
}

// TestPoolKeeps the newest in use, lets the others grow old, and makes no more
// than needed.
func TestPoolKeeps(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k, freed := keeperOf(keeperLimits{users: 3, idle: 2, age: time.Minute})
		next := make(chan struct{})
		for range 3 {
			go use(t, k, func(*thing) error { <-next; return nil })
		}
		synctest.Wait()
		close(next)
		synctest.Wait()
		if s := k.snapshot(); s.Idle != 2 || s.Made != 3 || len(*freed) != 1 {
			t.Errorf("%+v, freed %v", s, *freed)
		}
		last := use(t, k, nothingToDo)
		time.Sleep(40 * time.Second)
		if n := use(t, k, nothingToDo); n != last {
			t.Errorf("it was lent %d, after %d", n, last)
		}
		time.Sleep(30 * time.Second)
		synctest.Wait()
		if s := k.snapshot(); s.Idle != 1 {
			t.Errorf("after a minute %d are idle", s.Idle)
		}
		time.Sleep(31 * time.Second)
		synctest.Wait()
		if s := k.snapshot(); s.Idle != 0 || len(*freed) != 3 {
			t.Errorf("at last %d are idle, freed %v", s.Idle, *freed)
		}
		k.close()
	})
}

// TestPoolReplaces what failed, in use or idle, what a panic left, and what was
// used up.
func TestPoolReplaces(t *testing.T) {
	k, freed := keeperOf(keeperLimits{users: 1, idle: 1, uses: 2})
	if n := use(t, k, func(it *thing) error { it.dead = true; return nil }); n != 1 {
		t.Errorf("first %d", n)
	}
	func() {
		defer func() { _ = recover() }()
		_ = k.use(t.Context(), func(*thing) error { panic("failed") })
	}()
	var kept *thing
	if n := use(t, k, func(it *thing) error { kept = it; return nil }); n != 3 {
		t.Errorf("after a failed one and a panic: %d", n)
	}
	kept.dead = true
	if n := use(t, k, nothingToDo); n != 4 {
		t.Errorf("after one that died idle: %d", n)
	}
	failed := errors.New("the user's")
	if err := k.use(t.Context(), func(it *thing) error {
		if it.number != 4 {
			t.Errorf("an error is no failure: %d", it.number)
		}
		return failed
	}); !errors.Is(err, failed) {
		t.Error(err)
	}
	if n := use(t, k, nothingToDo); n != 5 {
		t.Errorf("after two uses: %d", n)
	}
	if s := k.snapshot(); s.Replaced != 3 || s.Made != 5 || len(*freed) != 4 {
		t.Errorf("%+v, freed %v", s, *freed)
	}
	k.close()
	if len(*freed) != 5 {
		t.Errorf("closed, it freed %v", *freed)
	}
}

// TestPoolCannotMake: the error is the caller's, and the next one may try.
func TestPoolCannotMake(t *testing.T) {
	k, _ := keeperOf(keeperLimits{users: 1, idle: 1})
	works, failed := k.make, errors.New("no memory")
	k.make = func(context.Context) (*thing, error) { return nil, failed }
	if err := k.use(t.Context(), nothingToDo); !errors.Is(err, failed) {
		t.Error(err)
	}
	k.make = works
	use(t, k, nothingToDo)
	if s := k.snapshot(); s.Failed != 1 || s.Made != 1 || s.Busy != 0 {
		t.Errorf("%+v", s)
	}
}

// TestPoolCloses: those who wait are told, those who have one finish, all is
// freed, and nobody comes in any more.
func TestPoolCloses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k, freed := keeperOf(keeperLimits{users: 1, queue: 5, idle: 1})
		use(t, k, nothingToDo)
		next := make(chan struct{})
		go use(t, k, func(*thing) error { <-next; return nil })
		synctest.Wait()
		refused := make(chan error, 2)
		for range 2 {
			go func() { refused <- k.use(t.Context(), nothingToDo) }()
		}
		synctest.Wait()
		closed := make(chan struct{})
		go func() { k.close(); close(closed) }()
		synctest.Wait()
		for range 2 {
			if e, ok := errors.AsType[*Error](<-refused); !ok || e.Reason != ReasonClosed {
				t.Errorf("who waits gets %v", e)
			}
		}
		select {
		case <-closed:
			t.Error("it did not wait for its user")
		default:
		}
		next <- struct{}{}
		<-closed
		if len(*freed) != 1 {
			t.Errorf("it freed %v", *freed)
		}
		if e, ok := errors.AsType[*Error](k.use(t.Context(), nothingToDo)); !ok || e.Reason != ReasonClosed {
			t.Errorf("who comes later gets %v", e)
		}
	})
}
