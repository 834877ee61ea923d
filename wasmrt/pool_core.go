package wasmrt

import (
	"container/list"
	"context"
	"sync"
	"time"
)

// keeper lends things to a bounded number of users at a time, makes them when
// there is none, and keeps some between uses. The newest goes out first, so
// that what is too much grows old.
type keeper[T any] struct {
	make  func(context.Context) (T, error)
	alive func(T) bool // false: it failed, and is of no use
	free  func(T)      // of failed ones too
	limit keeperLimits

	mu      sync.Mutex
	closed  bool
	idle    []kept[T] // oldest first
	sweeper *time.Timer
	waiting *list.List // of *waiter
	busy    int        // users now; those whose turn has come included
	ended   sync.WaitGroup
	stats   PoolStats
}

type keeperLimits struct {
	users, queue, idle, uses int
	age                      time.Duration
}

type kept[T any] struct {
	it    T
	uses  int
	since time.Time
}

type waiter struct {
	told chan struct{} // closed when it is their turn, or the end
	turn bool          // it is their turn, and they count as busy
}

// use lends something to f. Whatever f did, what it leaves behind is kept only
// if it returned and the thing is alive.
func (k *keeper[T]) use(ctx context.Context, f func(T) error) error {
	if err := k.enter(ctx); err != nil {
		return err
	}
	defer k.leave()
	one, err := k.take(ctx)
	if err != nil {
		return err
	}
	returned := false
	defer func() { k.giveBack(one, returned) }()
	err = f(one.it)
	returned = true
	return err
}

// enter waits for the user's turn.
func (k *keeper[T]) enter(ctx context.Context) error {
	k.mu.Lock()
	switch {
	case k.closed:
		k.mu.Unlock()
		return errPoolClosed()
	case k.busy < k.limit.users:
		k.busy++
		k.ended.Add(1)
		k.mu.Unlock()
		return nil
	case k.waiting.Len() >= k.limit.queue:
		k.stats.Refused++
		k.mu.Unlock()
		return failf(ReasonBusy, "all %d instances are in use and %d callers wait; try again, or raise the limits", k.limit.users, k.limit.queue)
	}
	w := &waiter{told: make(chan struct{})}
	place := k.waiting.PushBack(w)
	k.mu.Unlock()

	select {
	case <-w.told:
	case <-ctx.Done():
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	switch {
	case w.turn: // also when ctx ended at the same time: the turn is ours to pass on
		return nil
	case k.closed:
		return errPoolClosed()
	}
	k.waiting.Remove(place)
	return context.Cause(ctx)
}

// leave gives the turn to who waits longest.
func (k *keeper[T]) leave() {
	k.mu.Lock()
	defer k.mu.Unlock()
	if first := k.waiting.Front(); first != nil {
		w := k.waiting.Remove(first).(*waiter)
		w.turn = true
		close(w.told)
		return
	}
	k.busy--
	k.ended.Done()
}

// take returns the newest idle one that is alive, or a new one.
func (k *keeper[T]) take(ctx context.Context) (kept[T], error) {
	for {
		k.mu.Lock()
		n := len(k.idle) - 1
		if n < 0 {
			k.mu.Unlock()
			break
		}
		one := k.idle[n]
		k.idle[n] = kept[T]{}
		k.idle = k.idle[:n]
		if k.alive(one.it) {
			k.stats.Reused++
			k.mu.Unlock()
			return one, nil
		}
		k.stats.Replaced++
		k.mu.Unlock()
		k.free(one.it)
	}
	it, err := k.make(ctx)
	k.mu.Lock()
	defer k.mu.Unlock()
	if err != nil {
		k.stats.Failed++
		return kept[T]{}, err
	}
	k.stats.Made++
	return kept[T]{it: it}, nil
}

func (k *keeper[T]) giveBack(one kept[T], returned bool) {
	one.uses++
	k.mu.Lock()
	usable := returned && k.alive(one.it)
	worn := k.limit.uses > 0 && one.uses >= k.limit.uses
	if usable && !worn && !k.closed && len(k.idle) < k.limit.idle {
		one.since = time.Now() //nolint:forbidigo // compared with this clock only
		k.idle = append(k.idle, one)
		k.sweepLaterLocked()
		k.mu.Unlock()
		return
	}
	if !usable {
		k.stats.Replaced++
	}
	k.mu.Unlock()
	k.free(one.it)
}

// sweepLaterLocked sees to it that the oldest idle one goes in time.
func (k *keeper[T]) sweepLaterLocked() {
	if k.sweeper != nil || len(k.idle) == 0 || k.closed {
		return
	}
	k.sweeper = time.AfterFunc(time.Until(k.idle[0].since.Add(k.limit.age)), k.sweep)
}

func (k *keeper[T]) sweep() {
	k.mu.Lock()
	k.sweeper = nil
	var old []kept[T]
	for len(k.idle) > 0 && time.Since(k.idle[0].since) >= k.limit.age { //nolint:forbidigo // see since
		old = append(old, k.idle[0])
		k.idle = append(k.idle[:0:0], k.idle[1:]...)
	}
	k.sweepLaterLocked()
	k.mu.Unlock()
	for _, one := range old {
		k.free(one.it)
	}
}

// close refuses new users, those who wait included, waits for the users, and
// frees what is idle.
func (k *keeper[T]) close() {
	k.mu.Lock()
	k.closed = true
	if k.sweeper != nil {
		k.sweeper.Stop()
		k.sweeper = nil
	}
	idle := k.idle
	k.idle = nil
	for k.waiting.Len() > 0 {
		close(k.waiting.Remove(k.waiting.Front()).(*waiter).told)
	}
	k.mu.Unlock()
	for _, one := range idle {
		k.free(one.it)
	}
	k.ended.Wait()
}

func (k *keeper[T]) snapshot() PoolStats {
	k.mu.Lock()
	defer k.mu.Unlock()
	s := k.stats
	s.Busy, s.Idle, s.Waiting = k.busy, len(k.idle), k.waiting.Len()
	return s
}

func errPoolClosed() error { return failf(ReasonClosed, "the pool is closed") }
