package wasm

import (
	"sync"

	"dhow.dev/dhow/node/runtime"
	"dhow.dev/dhow/wasmrt"
)

// fleet are the guests of one run, of which a function may have several. It
// adds up what they use, and gives each of those that compute an equal part
// of the run's CPU limit.
type fleet struct {
	cpu, weight uint32 // of the run; cpu 0: no limit

	mu     sync.Mutex
	live   map[*wasmrt.Instance]struct{}
	active map[*wasmrt.Instance]struct{} // in a call
	gone   wasmrt.Usage                  // of those that ended
	peak   uint64
}

func newFleet(l wasmrt.Limits) *fleet {
	return &fleet{cpu: l.CPU, weight: l.Weight, live: map[*wasmrt.Instance]struct{}{}, active: map[*wasmrt.Instance]struct{}{}}
}

// add counts a new guest in. Those that have ended since are counted out.
func (f *fleet) add(i *wasmrt.Instance) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.live[i] = struct{}{}
	f.usageLocked()
}

// begin and end are called around a guest's call.
func (f *fleet) begin(i *wasmrt.Instance) {
	if f.cpu == 0 {
		return
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.active[i] = struct{}{}
	f.shareLocked()
}

func (f *fleet) end(i *wasmrt.Instance) {
	if f.cpu == 0 {
		return
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.active, i)
	f.shareLocked()
}

func (f *fleet) shareLocked() {
	if len(f.active) == 0 {
		return
	}
	part := max(1, f.cpu/uint32(len(f.active))) //nolint:gosec // at most a pool's size
	for i := range f.active {
		i.SetLimits(part, f.weight)
	}
}

// usage is what all guests used, as a run's.
func (f *fleet) usage() runtime.Stats {
	f.mu.Lock()
	defer f.mu.Unlock()
	u := f.usageLocked()
	return runtime.Stats{CPU: u.CPU, Memory: u.Memory, PeakMemory: f.peak, Fuel: u.Fuel, Throttled: u.Throttled}
}

func (f *fleet) usageLocked() wasmrt.Usage {
	sum := f.gone
	var peak uint64
	for i := range f.live {
		u := i.Usage()
		if ended(i) {
			u = i.Usage() // it may have used some more until then
			delete(f.live, i)
			u.Memory = 0
			f.gone = plus(f.gone, u)
		}
		peak += u.PeakMemory
		sum = plus(sum, u)
	}
	f.peak = max(f.peak, peak)
	return sum
}

func plus(a, b wasmrt.Usage) wasmrt.Usage {
	return wasmrt.Usage{
		CPU: a.CPU + b.CPU, Fuel: a.Fuel + b.Fuel, Memory: a.Memory + b.Memory, Throttled: a.Throttled + b.Throttled,
	}
}

func ended(i *wasmrt.Instance) bool {
	select {
	case <-i.Done():
		return true
	default:
		return false
	}
}
