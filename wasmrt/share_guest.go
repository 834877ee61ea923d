package wasmrt

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/tetratelabs/wazero/api"
	"github.com/tetratelabs/wazero/sys"

	"dhow.dev/dhow/wasmrt/internal/fair"
)

const (
	// sliceTime is how long a guest computes before it asks for more fuel.
	sliceTime = 100 * time.Microsecond
	// Fuel of a slice: the first, the least and the most.
	firstSlice = 50_000
	leastSlice = 1000
	mostSlice  = 20_000_000
	// sliceOver is how long a slice may last because of host functions.
	sliceOver = 10 * sliceTime
	// muchThrottled is how long a guest has to wait in all because of its CPU
	// limit until its owner is told: most wait a little at their start.
	muchThrottled = time.Second
)

// compute is a guest's time on the CPU. Only the goroutine of its call changes
// it, but for the atomics.
type compute struct {
	seat  *seat
	quota fair.Bucket
	rate  uint32 // that the quota has now
	fuel  api.MutableGlobal
	depth api.MutableGlobal
	// refused is whether a table could not grow; nil if none can.
	refused api.Global

	limit   int64         // fuel; 0: none
	granted int64         // fuel, since the guest's beginning
	slice   int64         // the size of the last slice
	spent   time.Duration // computed in this slice before it last went on
	noted   int64         // fuel used as of the last refill or call
	// refilling: what the guest's global says of its fuel does not count.
	refilling bool

	used      atomic.Int64  // fuel, for others to read
	busy      atomic.Int64  // nanoseconds on the CPU before since
	since     atomic.Int64  // when it last went on, on the engine's clock; 0: it waits
	throttled atomic.Int64  // nanoseconds
	paused    atomic.Bool   // see Instance.Pause
	cpu       atomic.Uint32 // the limit that is wanted
	poke      chan struct{} // paused or cpu have changed; room for one
}

// enter returns when the guest may compute: true. False when it is to end
// first, and it has no place then.
func (i *Instance) enter(c *callContext) bool {
	now := i.engine.monotonic()
	if i.interruptedAt(c, now) {
		return false
	}
	now, ok := i.allowed(c, now)
	if ok {
		now, ok = i.engine.share.acquire(i.seat, now, c.Done)
	}
	if ok {
		i.since.Store(int64(now))
	}
	return ok
}

// leave gives the guest's place back, if it has one.
func (i *Instance) leave() {
	since := time.Duration(i.since.Load())
	if since == 0 {
		return
	}
	now := i.engine.monotonic()
	i.engine.share.release(i.seat, i.account(now, now-since))
	i.since.Store(0)
}

// account adds time on the CPU until now.
func (i *Instance) account(now, used time.Duration) time.Duration {
	i.spent += used
	i.quota.Take(now, used)
	i.busy.Add(int64(used))
	i.since.Store(int64(now))
	return used
}

// block and unblock are called by host functions around waiting. A panic
// between them is fine.
func (i *Instance) block() { i.leave() }

// unblock ends the guest when that is to end.
func (i *Instance) unblock() {
	c := i.current
	if i.since.Load() == 0 && !i.enter(c) {
		i.interrupt(c)
	}
}

// allowed waits while the guest is paused or has used up its CPU limit, and
// returns when that was no more. Ok is false when it is to end first.
func (i *Instance) allowed(c *callContext, now time.Duration) (at time.Duration, ok bool) {
	for {
		if rate := i.cpu.Load(); rate != i.rate {
			i.rate = rate
			i.quota.Set(rate, now)
		}
		wait := i.quota.Wait(now)
		switch {
		case i.paused.Load():
			select {
			case <-i.poke:
			case <-c.Done():
				return 0, false
			}
		case wait > 0:
			if !i.throttle(c, now, wait) {
				return 0, false
			}
		default:
			return now, true
		}
		now = i.engine.monotonic()
	}
}

func (i *Instance) throttle(c *callContext, now, wait time.Duration) bool {
	timer := time.NewTimer(min(wait, muchThrottled))
	defer timer.Stop()
	defer func() {
		if i.throttled.Add(int64(i.engine.monotonic()-now)) > int64(muchThrottled) {
			i.notify(NoticeCPUThrottled, "it wants more than its CPU limit")
		}
	}()
	select {
	case <-timer.C:
	case <-i.poke:
	case <-c.Done():
		return false
	}
	return true
}

// refill is called by the guest when its slice of fuel is used up: here it is
// stopped, has to wait, or gets the next one.
func (i *Instance) refill(ctx context.Context, remaining int64) int64 {
	c := callOf(ctx)
	i.refilling = true
	i.note(remaining)
	i.noticeTables()
	now := i.engine.monotonic()
	if i.interruptedAt(c, now) {
		i.interrupt(c)
	}
	used := i.account(now, now-time.Duration(i.since.Load()))
	next := i.next()
	if i.paused.Load() || i.cpu.Load() != i.rate || i.quota.Wait(now) > 0 {
		i.since.Store(0)
		i.engine.share.release(i.seat, used)
		if !i.enter(c) {
			i.interrupt(c)
		}
	} else {
		now, ok := i.engine.share.pass(i.seat, now, used, c.Done)
		if !ok {
			i.since.Store(0)
			i.interrupt(c)
		}
		i.since.Store(int64(now))
	}
	i.refilling = false
	return remaining + next
}

// returned is called when a host function is about to return to the guest. If
// such functions have used up the time of the slice, it takes the fuel that is left of
// it, so that the guest asks for more at once.
func (i *Instance) returned() {
	if i.fuel == nil || i.engine.monotonic()-time.Duration(i.since.Load()) < sliceOver {
		return
	}
	if left := int64(i.fuel.Get()); left > 0 { //nolint:gosec // an i64
		i.granted -= left
		i.fuel.Set(0)
	}
}

// lingered is called where the guest has the host work for it without
// returning to its own code. If that has used up the time of the slice, others
// have their turn here: the guest's fuel is not to be touched.
func (i *Instance) lingered() {
	since, now := time.Duration(i.since.Load()), i.engine.monotonic()
	if since == 0 || now-since < 2*sliceTime {
		return
	}
	c := i.current
	if i.interruptedAt(c, now) {
		i.interrupt(c)
	}
	now, ok := i.engine.share.pass(i.seat, now, i.account(now, now-since), c.Done)
	if !ok {
		i.since.Store(0)
		i.interrupt(c)
	}
	i.since.Store(int64(now))
}

// note keeps what the guest has used.
func (i *Instance) note(remaining int64) {
	i.noted = i.granted - remaining
	i.used.Store(i.noted)
}

// next is the fuel of the next slice: what suffices for sliceTime, as far as
// can be told from the last one. The last of all is cut, so that the limit is
// exact.
func (i *Instance) next() int64 {
	if i.slice == 0 {
		i.slice = firstSlice
	} else {
		spent := min(max(i.spent, sliceTime/8), sliceTime*8)
		i.slice = min(max(i.slice*int64(sliceTime)/int64(spent), leastSlice), mostSlice)
	}
	i.spent = 0
	next := i.slice
	if i.limit > 0 {
		next = min(next, i.limit-i.granted)
	}
	if next == 0 {
		i.die(Exit{Code: OutOfFuelCode, Reason: OutOfFuelReason, Message: "it has used its fuel"}, nil)
	}
	i.granted += next
	return next
}

// overflow ends a guest whose calls are too deep.
func (i *Instance) overflow() {
	i.die(Exit{Code: StackCode, Reason: StackReason, Message: "its calls are too deep"}, nil)
}

func (i *Instance) noticeTables() {
	if i.refused != nil && i.refused.Get() != 0 {
		i.notify(NoticeTableLimit, fmt.Sprintf("it asked for more than its limit of %d elements of tables", i.limits.Tables))
	}
}

// interrupted tells whether the guest is to end.
func (i *Instance) interrupted(c *callContext) bool {
	return i.interruptedAt(c, i.engine.monotonic())
}

func (i *Instance) interruptedAt(c *callContext, now time.Duration) bool {
	return i.stopping.Load() || c.over(now) != nil
}

// interrupt ends the guest from inside a host function.
func (i *Instance) interrupt(c *callContext) { i.die(i.interruption(c), nil) }

// interruption says why the guest is to end.
func (i *Instance) interruption(c *callContext) Exit {
	if !i.stopping.Load() && errors.Is(c.Err(), context.DeadlineExceeded) {
		return Exit{Code: TimedOutCode, Reason: TimedOutReason, Message: "its time was over"}
	}
	return Exit{Code: StoppedCode, Reason: StoppedReason, Message: "it was stopped"}
}

// settle notes what the guest has used when a call has ended, as its globals
// say. A trap may leave there what was before the last slice.
func (i *Instance) settle() {
	i.noticeTables()
	if i.fuel != nil && !i.refilling {
		used := i.granted - int64(i.fuel.Get()) //nolint:gosec // an i64
		i.note(i.granted - min(max(used, i.noted), i.granted+mostSlice))
	}
}

// die ends the guest from inside a host function. It does not return.
func (i *Instance) die(e Exit, err error) {
	if i.fate == nil {
		i.fate = &ExitError{Exit: e, Err: err}
	}
	panic(sys.NewExitError(e.Code))
}
