package plan

import (
	"time"

	"dhow.dev/dhow/control/plan/heap"
)

// How long and how many events are kept.
const (
	eventAge   = time.Hour
	eventCount = 10_000
	// Old events go in groups, so that they do not wake the loop one by one.
	eventSlack = time.Minute
	// So many at most go in one plan.
	eventBatch = 500
)

// events knows which events there are, the oldest first.
type events struct {
	there map[key]time.Time
	queue heap.Heap[aged] // some are gone already
}

type aged struct {
	key key
	at  time.Time
}

func newEvents() events { return events{there: map[key]time.Time{}} }

// Before orders the older one first.
func (a aged) Before(b aged) bool {
	switch {
	case !a.at.Equal(b.at):
		return a.at.Before(b.at)
	case a.key.namespace != b.key.namespace:
		return a.key.namespace < b.key.namespace
	}
	return a.key.name < b.key.name
}

func (e *events) put(k key, at time.Time) {
	if old, ok := e.there[k]; ok && old.Equal(at) {
		return
	}
	e.there[k] = at
	e.queue.Push(aged{k, at})
}

func (e *events) remove(k key) { delete(e.there, k) }

// oldest is the oldest event that is still there.
func (e *events) oldest() (aged, bool) {
	for len(e.queue) > 0 {
		if at, ok := e.there[e.queue[0].key]; ok && at.Equal(e.queue[0].at) {
			return e.queue[0], true
		}
		e.queue.Pop()
	}
	return aged{}, false
}

// expired takes an event that is to go.
func (e *events) expired(now time.Time) (key, bool) {
	o, ok := e.oldest()
	if !ok || len(e.there) <= eventCount && now.Sub(o.at) < eventAge {
		return key{}, false
	}
	return o.key, true
}

// wake is when the next ones are to go.
func (e *events) wake() time.Time {
	if o, ok := e.oldest(); ok {
		return o.at.Add(eventAge + eventSlack)
	}
	return time.Time{}
}
