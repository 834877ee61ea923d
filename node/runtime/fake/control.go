package fake

import (
	"time"

	"dhow.dev/dhow/node/runtime"
)

// SetClock makes the fake tell this clock's time, before its first use.
func (r *Runtime) SetClock(now func() time.Time) { r.now = now }

// End makes a run end now, as if by itself. An unknown or ended one is left.
func (r *Runtime) End(id runtime.ID, e runtime.Exit) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if u := r.runs[id]; u != nil && u.started {
		u.end(e, r.now)
	}
}

// Ended is Wait that does not block: whether the run has ended, and how.
func (r *Runtime) Ended(id runtime.ID) (runtime.Exit, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	u := r.runs[id]
	if u == nil || !u.ended() {
		return runtime.Exit{}, false
	}
	return u.exit, true
}

// Crash forgets all, as an in-process runtime does when its process ends.
func (r *Runtime) Crash() {
	r.mu.Lock()
	defer r.mu.Unlock()
	for id, u := range r.runs {
		if u.timer != nil {
			u.timer.Stop()
		}
		delete(r.runs, id)
	}
}

// Starts tells how often a task was really started, over all its runs.
func (r *Runtime) Starts(instance, task string) int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.starts[instance+"/"+task]
}
