package sim

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"time"

	"dhow.dev/dhow/control/plan/heap"
	"dhow.dev/dhow/control/plan/invariant"
	dhowv1 "dhow.dev/dhow/proto/dhow/v1"
	"dhow.dev/dhow/proto/spec"
)

// world is everything there is in one run.
type world struct {
	seed  uint64
	rng   *rand.Rand
	now   time.Time
	queue heap.Heap[event]
	seq   uint64
	steps int
	trace []string
	calm  bool // no more faults

	servers []*server
	nodes   []*node
	net     map[[2]string]bool // links that are cut
	user    *user

	// What has been committed, by index; the same for every server.
	committed map[uint64]string
	// Hashes of states, by index.
	hashes  map[uint64]string
	checker *invariant.Checker
	checked uint64 // the index the checker has seen
	stats   stats
	born    map[string][]time.Time // when instances were made, by index
}

// stats tell whether a run did anything worth checking.
type stats struct {
	leaders, crashes, kills, partitions, plans, births, replaced, reports, acked, lost, late int
}

type event struct {
	at  time.Time
	seq uint64
	do  func()
}

// Before orders by time, then by when it was thought of.
func (e event) Before(o event) bool {
	if e.at.Equal(o.at) {
		return e.seq < o.seq
	}
	return e.at.Before(o.at)
}

// failure stops a run.
type failure struct{ text string }

func (w *world) fail(format string, args ...any) {
	panic(failure{fmt.Sprintf(format, args...)})
}

func (w *world) must(err error) {
	if err != nil {
		w.fail("%v", err)
	}
}

func (w *world) logf(format string, args ...any) {
	const most = 3000
	if len(w.trace) > 2*most {
		w.trace = append(w.trace[:0], w.trace[len(w.trace)-most:]...)
	}
	w.trace = append(w.trace, fmt.Sprintf("%10.3fs  ", w.now.Sub(epoch).Seconds())+fmt.Sprintf(format, args...))
}

// after has something happen later.
func (w *world) after(d time.Duration, do func()) {
	w.seq++
	w.queue.Push(event{w.now.Add(d), w.seq, do})
}

// between draws a duration.
func (w *world) between(lo, hi time.Duration) time.Duration {
	return lo + time.Duration(w.rng.Int64N(int64(hi-lo)+1))
}

// one draws whether one of n happens.
func (w *world) one(n int) bool { return w.rng.IntN(n) == 0 }

// run lets events happen until the time has come.
func (w *world) run(until time.Time) {
	for len(w.queue) > 0 && !w.queue[0].at.After(until) {
		e := w.queue.Pop()
		w.now = e.at
		w.steps++
		e.do()
	}
	w.now = until
}

// The network: datagrams between servers and calls; what goes over a cut link
// is gone.

func link(a, b string) [2]string {
	if a > b {
		a, b = b, a
	}
	return [2]string{a, b}
}

func (w *world) linked(a, b string) bool { return a == b || !w.net[link(a, b)] }

// send delivers a message once, never, or twice.
func (w *world) send(from, to string, deliver func()) {
	if from != to && !w.calm {
		if w.one(50) {
			return
		}
		if w.one(50) {
			w.after(w.between(time.Millisecond, 400*time.Millisecond), func() { w.arrive(from, to, deliver) })
		}
	}
	d := w.between(200*time.Microsecond, 3*time.Millisecond)
	if !w.calm && w.one(20) {
		d = w.between(time.Millisecond, 250*time.Millisecond)
	}
	w.after(d, func() { w.arrive(from, to, deliver) })
}

func (w *world) arrive(from, to string, deliver func()) {
	if w.linked(from, to) {
		deliver()
	}
}

// partition cuts machines into two groups; heal joins all.
func (w *world) partition() {
	all := w.machines()
	cut := map[string]bool{}
	for _, m := range all {
		if w.one(3) {
			cut[m] = true
		}
	}
	for i, a := range all {
		for _, b := range all[i+1:] {
			if cut[a] != cut[b] {
				w.net[link(a, b)] = true
			}
		}
	}
	if len(cut) > 0 && len(cut) < len(all) {
		w.stats.partitions++
	}
	var names []string
	for _, m := range all {
		if cut[m] {
			names = append(names, m)
		}
	}
	w.logf("network: %s cut off", strings.Join(names, " "))
}

func (w *world) machines() []string {
	var all []string
	for _, s := range w.servers {
		all = append(all, s.name)
	}
	for _, n := range w.nodes {
		all = append(all, n.name)
	}
	return all
}

func (w *world) healNetwork() {
	if len(w.net) > 0 {
		w.logf("network: healed")
	}
	clear(w.net)
}

// observe has the checker see what a state change did, once for all servers.
func (w *world) observe(index uint64, events []*dhowv1.WatchEvent) {
	if index <= w.checked {
		return
	}
	w.checked = index
	for _, ev := range events {
		if i := ev.GetObject().GetInstance(); i != nil && spec.Terminal(i.GetStatus().GetState()) && ev.GetType() == dhowv1.WatchEventType_WATCH_EVENT_TYPE_PUT {
			w.logf("  state: %s is %v: %s %s", i.GetMeta().GetName(), i.GetStatus().GetState(), i.GetStatus().GetReason(), i.GetStatus().GetMessage())
		}
		if err := w.checker.Observe(ev); err != nil {
			w.fail("at index %d: %v", index, err)
		}
	}
}
