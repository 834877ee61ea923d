package wasmrt

import (
	"math"
	"time"
)

// Kinds of events, and sizes of what poll_oneoff reads and writes.
const (
	eventClock   = 0
	eventFdRead  = 1
	eventFdWrite = 2

	subscriptionSize = 48
	eventSize        = 32

	clockRealtime  = 0
	clockMonotonic = 1
	clockThread    = 3
	clockAbsolute  = 1 // a flag

	// maxSubscriptions is more than a guest of our limits can use.
	maxSubscriptions = 1 << 16
	// keptSubscriptions is how long a list is kept for the next poll.
	keptSubscriptions = 1 << 10
)

// subscription is one thing that the guest waits for.
type subscription struct {
	user  uint64
	event byte
	error errno
	ready bool
	fd    uint32
	at    time.Duration // of a clock, on the guests' monotonic clock
}

// pollOneoff waits for the first of the guest's subscriptions. It ends the
// guest on the spot when it is stopped meanwhile.
func pollOneoff(c wasiCall) errno {
	in, out, n := c.u32(0), c.u32(1), c.u32(2)
	if n == 0 || n > maxSubscriptions {
		return errnoInval
	}
	list, e := c.viewAt(in, n*subscriptionSize)
	if e != success {
		return e
	}
	events, e := c.viewAt(out, n*eventSize)
	if e != success {
		return e
	}
	now := c.instance.monotonic()
	wall := time.Duration(c.instance.wall().UnixNano())
	subs, e := readSubscriptions(c.files.subs[:0], list, now, wall)
	if e != success {
		return e
	}
	if cap(subs) <= keptSubscriptions {
		c.files.subs = subs
	}
	c.await(subs, now)
	return c.put32(3, writeEvents(events, subs))
}

// readSubscriptions appends what the guest's list says. Relative times count
// from now, absolute ones of the wall clock are turned into the monotonic one's.
func readSubscriptions(subs []subscription, list []byte, now, wall time.Duration) ([]subscription, errno) {
	for ; len(list) >= subscriptionSize; list = list[subscriptionSize:] {
		s := subscription{user: le.Uint64(list), event: list[8], fd: le.Uint32(list[16:])}
		switch s.event {
		case eventFdRead, eventFdWrite:
		case eventClock:
			id, flags := s.fd, le.Uint16(list[40:])
			if id > clockThread || flags > clockAbsolute {
				return nil, errnoInval
			}
			s.at = duration(le.Uint64(list[24:]))
			switch {
			case flags == 0:
				s.at = later(now, s.at)
			case id == clockRealtime:
				s.at = later(now-wall, s.at)
			}
		default:
			return nil, errnoInval
		}
		subs = append(subs, s)
	}
	return subs, success
}

// duration and later do not overflow: times too far away are at the end of time.
func duration(ns uint64) time.Duration {
	return time.Duration(min(ns, math.MaxInt64)) //nolint:gosec // bounded
}

func later(t, by time.Duration) time.Duration {
	if by > 0 && t > math.MaxInt64-by {
		return math.MaxInt64
	}
	return t + by
}

// await returns when something is ready, and has marked what is.
func (c wasiCall) await(subs []subscription, now time.Duration) {
	c.goOn() // a guest may do nothing but poll
	ready, first, clock := c.look(subs, now)
	if ready {
		return
	}
	const never = math.MaxInt64
	if !clock {
		first = never
	}
	doze := later(now, dozeAfter)
	timer := time.NewTimer(min(first, doze) - now)
	defer timer.Stop()
	c.instance.block()
	for {
		select {
		case <-c.ctx.Done():
			c.instance.memory.wake()
			c.instance.unblock()
			c.goOn()
			return
		case <-timer.C:
			if doze < first {
				now = max(doze, c.instance.monotonic())
				doze = never
				c.instance.doze()
				if clock {
					timer.Reset(first - now)
				}
				continue
			}
			now = max(first, c.instance.monotonic())
		case <-c.files.waker:
			now = c.instance.monotonic()
		}
		if ready, _, _ = c.look(subs, now); ready {
			c.instance.memory.wake()
			c.instance.unblock()
			c.goOn()
			return
		}
	}
}

// look marks what is ready, and tells whether anything is, and else when the
// first clock is.
func (c wasiCall) look(subs []subscription, now time.Duration) (ready bool, first time.Duration, clock bool) {
	for n := range subs {
		s := &subs[n]
		if s.event == eventClock {
			s.ready = s.at <= now
			if !clock || s.at < first {
				clock, first = true, s.at
			}
		} else if d, e := c.files.get(s.fd); e != success {
			s.ready, s.error = true, e
		} else {
			s.ready = d.ready(s.event)
		}
		ready = ready || s.ready
	}
	return ready, first, clock
}

// writeEvents reports what is ready, and returns how many these are.
func writeEvents(events []byte, subs []subscription) uint32 {
	var n uint32
	for _, s := range subs {
		if !s.ready {
			continue
		}
		e := events[n*eventSize : (n+1)*eventSize]
		clear(e)
		le.PutUint64(e, s.user)
		le.PutUint16(e[8:], uint16(s.error))
		e[10] = s.event
		if s.event != eventClock && s.error == success {
			le.PutUint64(e[16:], 1) // at least
		}
		n++
	}
	return n
}
