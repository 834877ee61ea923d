// Package fair decides who computes next, and who has computed enough: a queue
// by virtual time, so that each gets its share by weight, and a bucket for
// quotas. It computes only: no clock, no goroutine, no lock.
package fair

import (
	"container/heap"
	"time"
)

// One is somebody who wants to compute. Its zero value with a Weight is ready.
type One struct {
	// Weight is its share among those that compute. At least 1.
	Weight uint32

	virtual time.Duration // what it has used, divided by its weight
	since   uint64        // the order in which it came, for equals
	place   int           // in the queue or among the running, from 1 on; 0: in neither
	running bool
}

const (
	// unit is the weight whose virtual time is real time.
	unit = 100
	// credit is how much earlier one who comes may be than those that are here:
	// short work goes before long work.
	credit = time.Millisecond
	// ahead is how far those that computed while nobody waited may be before
	// the others: what nobody else wanted is not held against them.
	ahead = 10 * time.Millisecond
)

// Queue holds those that wait, and knows those that compute. Its zero value is
// ready.
type Queue struct {
	waiting heaped
	running []*One
	came    uint64
	floor   time.Duration // where who comes begins; only grows
}

// Waiting is how many wait.
func (q *Queue) Waiting() int { return len(q.waiting) }

// Running are those that compute. The slice is the queue's.
func (q *Queue) Running() []*One { return q.running }

// Wait puts one into the queue.
func (q *Queue) Wait(o *One) {
	q.arrive(o)
	q.came++
	o.since = q.came
	heap.Push(&q.waiting, o)
}

// Run notes that one computes, which may not wait.
func (q *Queue) Run(o *One) {
	q.arrive(o)
	q.running = append(q.running, o)
	o.running, o.place = true, len(q.running)
}

// Next takes the one out of the queue whose turn it is, and notes that it
// computes. Nil when none waits.
func (q *Queue) Next() *One {
	if len(q.waiting) == 0 {
		return nil
	}
	o := heap.Pop(&q.waiting).(*One)
	q.running = append(q.running, o)
	o.running, o.place = true, len(q.running)
	return o
}

// Leave takes one out, whether it waits or computes. It tells whether it was
// in.
func (q *Queue) Leave(o *One) bool {
	switch {
	case o.place == 0:
		return false
	case o.running:
		last := q.running[len(q.running)-1]
		q.running[o.place-1], last.place = last, o.place
		q.running[len(q.running)-1] = nil
		q.running = q.running[:len(q.running)-1]
	default:
		heap.Remove(&q.waiting, o.place-1)
	}
	o.running, o.place = false, 0
	return true
}

// Charge notes that one has computed for a time. It is not in the queue then.
func (q *Queue) Charge(o *One, used time.Duration) {
	o.virtual += used * unit / time.Duration(max(o.Weight, 1))
}

// Before tells whether one that waits should compute rather than o.
func (q *Queue) Before(o *One) bool {
	return len(q.waiting) > 0 && q.waiting[0].virtual < o.virtual
}

// Early tells whether one that comes now has used so little that it would be
// the next, with most of its credit left.
func (q *Queue) Early(o *One) bool {
	q.arrive(o)
	return o.virtual <= q.floor-credit/2 && !q.Before(o)
}

// arrive places one that was away: not before those that are here, but for a
// credit, so that it gets nothing for the time it did not want.
func (q *Queue) arrive(o *One) {
	floor, any := q.least()
	if !any {
		floor = o.virtual
	}
	q.floor = max(q.floor, floor)
	if len(q.waiting) == 0 {
		for _, r := range q.running {
			r.virtual = min(r.virtual, q.floor+ahead)
		}
	}
	o.virtual = max(o.virtual, q.floor-credit)
}

// least is the least virtual time of those that are here.
func (q *Queue) least() (time.Duration, bool) {
	least, any := time.Duration(0), false
	if len(q.waiting) > 0 {
		least, any = q.waiting[0].virtual, true
	}
	for _, r := range q.running {
		if !any || r.virtual < least {
			least, any = r.virtual, true
		}
	}
	return least, any
}

// heaped is a heap by virtual time.
type heaped []*One

func (h heaped) Len() int { return len(h) }

func (h heaped) Less(a, b int) bool {
	if h[a].virtual != h[b].virtual {
		return h[a].virtual < h[b].virtual
	}
	return h[a].since < h[b].since
}

func (h heaped) Swap(a, b int) {
	h[a], h[b] = h[b], h[a]
	h[a].place, h[b].place = a+1, b+1
}

// Push implements heap.Interface.
func (h *heaped) Push(x any) {
	o := x.(*One)
	*h = append(*h, o)
	o.place = len(*h)
}

// Pop implements heap.Interface.
func (h *heaped) Pop() any {
	last := len(*h) - 1
	o := (*h)[last]
	(*h)[last] = nil
	*h = (*h)[:last]
	return o
}
