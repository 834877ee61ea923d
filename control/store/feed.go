package store

import (
	"context"
	"sync"
	"sync/atomic"

	dhowv1 "dhow.dev/dhow/proto/dhow/v1"
	"dhow.dev/dhow/proto/spec"
)

// event is one change in the feed. An object whose indexed parts changed is
// taken by a selector for the old or for the new parts.
type event struct {
	revision uint64
	size     int
	old      *dhowv1.Object
	ev       *dhowv1.WatchEvent
}

func newEvent(index uint64, old, now *dhowv1.Object, size int) event {
	e := event{revision: index, size: size, old: old}
	if now != nil {
		e.ev = &dhowv1.WatchEvent{Type: dhowv1.WatchEventType_WATCH_EVENT_TYPE_PUT, Object: now}
	} else {
		e.ev = &dhowv1.WatchEvent{Type: dhowv1.WatchEventType_WATCH_EVENT_TYPE_DELETE, Object: old}
	}
	return e
}

// feed is one ring of events that all watchers read at their own pace.
type feed struct {
	maxEvents, maxBytes int
	applied             atomic.Uint64

	mu sync.Mutex
	// Events are numbered from 0 for ever; ring holds those from first on.
	ring        []event
	head, count int
	first       uint64
	bytes       int
	// base is the revision that all older events are at or below.
	base uint64
	// epoch counts replacements of the whole state.
	epoch  uint64
	closed bool
	// waiting are those who wait for events of some kinds, one bit for each.
	waiting map[uint32]chan struct{}
	// Since all were last woken, whatever they wait for.
	quietEvents, quietBytes int
}

// Bits of feed.waiting.
const (
	anyRevision uint32 = 1 // of no kind: that the revision has moved
	anyKind     uint32 = ^anyRevision
)

func kindBit(k dhowv1.Kind) uint32 { return 1 << (uint32(k) & 31) }

func newFeed(events, bytes int, revision uint64) *feed {
	f := &feed{maxEvents: events, maxBytes: bytes, base: revision, waiting: map[uint32]chan struct{}{}, ring: make([]event, 64)}
	f.applied.Store(revision)
	return f
}

func (f *feed) revision() uint64 { return f.applied.Load() }

func (f *feed) at(n uint64) *event { return &f.ring[(f.head+int(n-f.first))%len(f.ring)] }

// publish adds the events of one entry and moves the revision.
func (f *feed) publish(revision uint64, events []event) {
	f.mu.Lock()
	defer f.mu.Unlock()
	kinds := anyRevision
	for i := range events {
		f.push(events[i])
		kinds |= kindBit(spec.KindOf(events[i].ev.GetObject()))
		f.quietBytes += events[i].size
	}
	f.quietEvents += len(events)
	f.applied.Store(revision)
	// Watchers sleep through what none of their selectors takes, but must not
	// sleep until it is gone.
	if f.quietEvents >= min(skipAtMost, f.maxEvents/4) || f.quietBytes >= f.maxBytes/4 {
		kinds = anyKind | anyRevision
	}
	f.wake(kinds)
}

func (f *feed) push(e event) {
	if f.count == len(f.ring) && f.count < f.maxEvents {
		grown := make([]event, min(2*len(f.ring), f.maxEvents))
		for i := range f.count {
			grown[i] = f.ring[(f.head+i)%len(f.ring)]
		}
		f.ring, f.head = grown, 0
	}
	for f.count > 0 && (f.count >= min(len(f.ring), f.maxEvents) || f.bytes+e.size > f.maxBytes) {
		f.drop()
	}
	f.ring[(f.head+f.count)%len(f.ring)] = e
	f.count++
	f.bytes += e.size
}

func (f *feed) drop() {
	o := &f.ring[f.head]
	f.base = o.revision
	f.bytes -= o.size
	*o = event{}
	f.head = (f.head + 1) % len(f.ring)
	f.count--
	f.first++
}

// reset forgets all: the state was replaced by another server's.
func (f *feed) reset(revision uint64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for f.count > 0 {
		f.drop()
	}
	f.base = revision
	f.epoch++
	f.applied.Store(revision)
	f.wake(anyKind | anyRevision)
}

func (f *feed) close() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.closed = true
	f.wake(anyKind | anyRevision)
}

// wake wakes those who wait for any of the kinds.
func (f *feed) wake(kinds uint32) {
	for k, c := range f.waiting {
		if k&kinds != 0 {
			close(c)
			delete(f.waiting, k)
		}
	}
	if kinds == anyKind|anyRevision {
		f.quietEvents, f.quietBytes = 0, 0
	}
}

// changed is closed when there are events of the kinds.
func (f *feed) changed(kinds uint32) <-chan struct{} {
	c, ok := f.waiting[kinds]
	if !ok {
		c = make(chan struct{})
		f.waiting[kinds] = c
	}
	return c
}

// wait waits until the revision is applied.
func (f *feed) wait(ctx context.Context, revision uint64) error {
	for f.applied.Load() < revision {
		f.mu.Lock()
		changed, closed := f.changed(anyRevision), f.closed
		f.mu.Unlock()
		if f.applied.Load() >= revision {
			return nil
		}
		if closed {
			return errClosed()
		}
		select {
		case <-ctx.Done():
			return spec.Errorf(spec.CodeTimeout, "this server is at revision %d, not yet at %d: %w", f.applied.Load(), revision, ctx.Err())
		case <-changed:
		}
	}
	return nil
}

func errClosed() error { return spec.Errorf(spec.CodeUnavailable, "the server is stopping") }
