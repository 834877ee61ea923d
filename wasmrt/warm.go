package wasmrt

import (
	"sync"
	"sync/atomic"
)

// warmGuests is how many idle guests keep the stacks that their calls ran on,
// which are 11 KiB each and take a microsecond to make.
const warmGuests = 256

// warm are the idle guests that were called last, or nearly: a guest that was
// called since the hand last came to it has its place for another turn.
type warm struct {
	mu   sync.Mutex
	all  [warmGuests]*Instance
	hand int
}

// place is a guest's at a warm.
type place struct {
	kept   atomic.Pointer[functions] // between calls
	held   atomic.Bool               // it has a place, which is at
	recent atomic.Bool               // used since the hand was there
	at     int                       // under warm.mu
}

// keep leaves a guest's functions to it until its next call, or until others
// take its place. The caller still keeps others from calling the guest.
func (w *warm) keep(i *Instance) {
	if i.functions == nil {
		return
	}
	i.kept.Store(i.functions)
	i.functions = nil
	i.recent.Store(true)
	if i.held.Load() { // looked at after what others would take was stored
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	for {
		n := w.hand
		w.hand = (w.hand + 1) % warmGuests
		old := w.all[n]
		if old != nil && old.recent.Swap(false) {
			continue
		}
		if old != nil {
			old.held.Store(false) // before: see above
			old.kept.Store(nil)
		}
		w.all[n], i.at = i, n
		i.held.Store(true)
		return
	}
}

// leave ends it for a guest that ends.
func (w *warm) leave(i *Instance) {
	i.kept.Store(nil)
	if !i.held.Load() {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.all[i.at] == i {
		w.all[i.at] = nil
		i.held.Store(false)
	}
}
