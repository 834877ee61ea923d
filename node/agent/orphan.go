package agent

import (
	"cmp"
	"slices"
	"time"

	"dhow.dev/dhow/node/runtime"
	"dhow.dev/dhow/proto/spec"
)

// orphan is a run that a runtime holds and no instance needs: it is stopped
// and removed.
type orphan struct {
	runtime string
	id      runtime.ID
	// An instance of the uid must not start before the run is gone.
	blocks   bool
	stopped  bool
	inFlight bool
	tries    uint32
	at       time.Time
}

func (c *Core) orphan(name string, id runtime.ID, now time.Time, stopped bool) {
	if c.orphans[id] == nil {
		c.orphans[id] = &orphan{runtime: name, id: id, stopped: stopped, blocks: !stopped, at: now}
		c.tickOrphans(now)
	}
}

func (c *Core) orphaned(uid string) bool {
	for id, o := range c.orphans {
		if id.Instance == uid && o.blocks {
			return true
		}
	}
	return false
}

func (c *Core) tickOrphans(now time.Time) {
	var due []*orphan
	for _, o := range c.orphans {
		if !o.inFlight && !now.Before(o.at) {
			due = append(due, o)
		}
	}
	slices.SortFunc(due, func(a, b *orphan) int { return compareID(a.id, b.id) })
	for _, o := range due {
		o.inFlight, o.at = true, time.Time{}
		if o.stopped {
			c.actions = append(c.actions, Action{Verb: Remove, Runtime: o.runtime, ID: o.id})
		} else {
			c.actions = append(c.actions, Action{Verb: Stop, Runtime: o.runtime, ID: o.id, Grace: spec.DefaultGracePeriod})
		}
	}
}

// orphanDone tells whether the result was an orphan's.
func (c *Core) orphanDone(now time.Time, r Result) bool {
	o := c.orphans[r.ID]
	if o == nil || !o.inFlight || (r.Verb != Stop && r.Verb != Remove) {
		return false
	}
	o.inFlight = false
	switch {
	case r.Err != nil:
		o.tries++
		o.at = now.Add(backoff(retryFirst, retryMost, o.tries))
		return true
	case r.Verb == Stop:
		o.stopped, o.tries, o.at = true, 0, now
		c.tickOrphans(now)
		return true
	}
	delete(c.orphans, r.ID)
	if i := c.instances[r.ID.Instance]; i != nil {
		c.poke(i)
		return true
	}
	for id := range c.orphans {
		if id.Instance == r.ID.Instance {
			return true
		}
	}
	c.actions = append(c.actions, Action{Verb: Clean, ID: runtime.ID{Instance: r.ID.Instance}})
	return true
}

func compareID(a, b runtime.ID) int {
	return cmp.Or(cmp.Compare(a.Instance, b.Instance), cmp.Compare(a.Task, b.Task), cmp.Compare(a.Run, b.Run))
}
