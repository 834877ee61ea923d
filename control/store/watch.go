package store

import (
	"context"
	"sync"

	dhowv1 "dhow.dev/dhow/proto/dhow/v1"
	"dhow.dev/dhow/proto/spec"
)

// skipAtMost is how many events a watcher that takes none of them passes
// before it tells its caller how far it is, so that the caller can resume.
const skipAtMost = 4096

// Watcher follows the change feed.
type Watcher struct {
	f    *feed
	sels []*dhowv1.Selector
	// from: events up to this revision are not wanted.
	from  uint64
	next  uint64
	epoch uint64
	kinds uint32
	// skipped events since the caller was last told of a revision.
	skipped int
	stop    sync.Once
	done    chan struct{}
}

// Watch follows changes after the revision that any of the selectors takes;
// no selector takes all. CodeTooOld when they are no longer kept. An object
// that a change moves out of a selector is still told of, as it now is.
func (s *Store) Watch(from uint64, sels ...*dhowv1.Selector) (*Watcher, error) {
	f := s.feed
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.closed {
		return nil, errClosed()
	}
	if from < f.base {
		return nil, errTooOld(from, f.base)
	}
	// The events are in order of revision: skip to the first that is wanted.
	lo, hi := f.first, f.first+uint64(f.count)
	for lo < hi {
		if mid := lo + (hi-lo)/2; f.at(mid).revision <= from {
			lo = mid + 1
		} else {
			hi = mid
		}
	}
	return &Watcher{f: f, sels: sels, from: from, next: lo, epoch: f.epoch, kinds: kindsOf(sels), done: make(chan struct{})}, nil
}

// kindsOf are the kinds that any of the selectors may take.
func kindsOf(sels []*dhowv1.Selector) uint32 {
	if len(sels) == 0 {
		return anyKind
	}
	var kinds uint32
	for _, s := range sels {
		if s.GetKind() == dhowv1.Kind_KIND_UNSPECIFIED {
			return anyKind
		}
		kinds |= kindBit(s.GetKind())
	}
	return kinds
}

func errTooOld(from, base uint64) error {
	return spec.Errorf(spec.CodeTooOld, "changes after revision %d are no longer kept (the oldest are after %d): list again", from, base)
}

// Next waits for something newer and returns all there is. All changes up to
// revision have then been returned; there may be none, when many went by that
// no selector takes. CodeTooOld when the watcher was too slow.
func (w *Watcher) Next(ctx context.Context) (events []*dhowv1.WatchEvent, revision uint64, err error) {
	for {
		events, revision, changed, err := w.poll()
		if err != nil || revision != 0 {
			return events, revision, err
		}
		select {
		case <-ctx.Done():
			return nil, 0, ctx.Err()
		case <-w.done:
			return nil, 0, spec.Errorf(spec.CodeUnavailable, "the watch was closed")
		case <-changed:
		}
	}
}

// poll takes what is there; revision is 0 when it is not worth telling.
func (w *Watcher) poll() (events []*dhowv1.WatchEvent, revision uint64, changed <-chan struct{}, err error) {
	f := w.f
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.closed {
		return nil, 0, nil, errClosed()
	}
	if w.next < f.first || w.epoch != f.epoch {
		return nil, 0, nil, errTooOld(w.from, f.base)
	}
	last := f.first + uint64(f.count)
	for ; w.next < last; w.next++ {
		e := f.at(w.next)
		if e.revision > w.from && w.takes(e) {
			events = append(events, e.ev)
		} else {
			w.skipped++
		}
	}
	if len(events) > 0 || w.skipped >= skipAtMost {
		w.skipped = 0
		w.from = max(w.from, f.applied.Load())
		return events, w.from, nil, nil
	}
	return nil, 0, f.changed(w.kinds), nil
}

// Close ends the watch; Next returns an error.
func (w *Watcher) Close() { w.stop.Do(func() { close(w.done) }) }

func (w *Watcher) takes(e *event) bool {
	if len(w.sels) == 0 {
		return true
	}
	for _, s := range w.sels {
		if matches(s, e.ev.GetObject()) || e.old != nil && matches(s, e.old) {
			return true
		}
	}
	return false
}

// matches tells whether the selector takes the object.
func matches(s *dhowv1.Selector, o *dhowv1.Object) bool {
	if s.GetKind() != dhowv1.Kind_KIND_UNSPECIFIED && s.GetKind() != spec.KindOf(o) {
		return false
	}
	m := spec.MetaOf(o)
	switch {
	case s.GetNamespace() != "" && s.GetNamespace() != m.GetNamespace(),
		s.GetName() != "" && s.GetName() != m.GetName(),
		s.GetWorkload() != "" && s.GetWorkload() != workloadOf(o),
		s.GetNode() != "" && s.GetNode() != nodeOf(o):
		return false
	}
	for k, v := range s.GetLabels() {
		if l, ok := m.GetLabels()[k]; !ok || l != v {
			return false
		}
	}
	return true
}
