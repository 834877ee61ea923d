package agent

import (
	"maps"
	"slices"
	"time"

	dhowv1 "dhow.dev/dhow/proto/dhow/v1"
	"dhow.dev/dhow/proto/spec"
)

const (
	maxReports = 1000 // in a call
	maxFlight  = 4    // calls at a time
	maxEvents  = 1000 // kept while nobody takes them; then the oldest go
	perCall    = 200  // events
	eventDelay = 250 * time.Millisecond
	resend     = 100 * time.Millisecond
	resendMost = 5 * time.Second
)

// reporter decides what is sent when: news at once, what changes meanwhile
// with the next call, what was not accepted again.
type reporter struct {
	connected, synced bool
	dirty             []*instance
	events            []*dhowv1.Event
	eventsDue         time.Time
	flight            map[uint64]*batch
	next              uint64
	tries             uint32
	retryAt           time.Time
	count             uint64 // events made
}

// reportState is an instance's part of it.
type reportState struct {
	listed   bool // in dirty
	due      time.Time
	inFlight bool
}

type batch struct {
	instances []*instance
	events    []*dhowv1.Event
}

func newReporter() reporter { return reporter{flight: map[uint64]*batch{}} }

// Connected says that a session was opened. Nothing is reported before its
// first complete assignments.
func (c *Core) Connected(time.Time) {
	c.connected, c.synced, c.partial = true, false, nil
	c.tries, c.retryAt = 0, time.Time{}
}

// Disconnected says that the session ended.
func (c *Core) Disconnected(time.Time) { c.connected, c.synced, c.partial = false, false, nil }

func (r *reporter) markDirty(i *instance, due time.Time) {
	if !i.report.listed {
		i.report.listed, i.report.due = true, due
		r.dirty = append(r.dirty, i)
	} else if due.Before(i.report.due) {
		i.report.due = due
	}
}

func (r *reporter) addEvent(e *dhowv1.Event, now time.Time) {
	if len(r.events) == 0 {
		r.eventsDue = now.Add(eventDelay)
	}
	r.events = append(r.events, e)
	if extra := len(r.events) - maxEvents; extra > 0 {
		r.events = slices.Delete(r.events, 0, extra)
	}
}

func (c *Core) takeReports(now time.Time) []Report {
	r := &c.reporter
	var out []Report
	for r.connected && r.synced && !now.Before(r.retryAt) && len(r.flight) < maxFlight {
		b := c.collect(now)
		if b == nil {
			break
		}
		r.next++
		r.flight[r.next] = b
		req := &dhowv1.ReportStatusRequest{Events: b.events}
		for _, i := range b.instances {
			req.Reports = append(req.Reports, &dhowv1.Report{
				Ref: &dhowv1.Ref{
					Kind: dhowv1.Kind_KIND_INSTANCE, Namespace: i.obj.GetMeta().GetNamespace(),
					Name: i.obj.GetMeta().GetName(), Uid: i.uid,
				},
				Status: i.status,
			})
		}
		out = append(out, Report{ID: r.next, Request: req})
	}
	return out
}

// collect takes what is due into one call; nil when nothing is.
func (c *Core) collect(now time.Time) *batch {
	r := &c.reporter
	b := &batch{}
	left := r.dirty[:0]
	for _, i := range r.dirty {
		switch {
		case i.removed:
			i.report.listed = false
		case len(b.instances) == maxReports || c.held(i) || now.Before(i.report.due):
			left = append(left, i)
		default:
			i.report.listed, i.report.inFlight = false, true
			b.instances = append(b.instances, i)
		}
	}
	clear(r.dirty[len(left):])
	r.dirty = left
	if len(r.events) > 0 && !now.Before(r.eventsDue) {
		n := min(len(r.events), perCall)
		b.events = slices.Clone(r.events[:n])
		r.events = slices.Delete(r.events, 0, n)
	}
	if len(b.instances) == 0 && len(b.events) == 0 {
		return nil
	}
	return b
}

// held tells that the instance's status has to wait for an answer or for the
// ledger: an end that is reported is never forgotten.
func (c *Core) held(i *instance) bool {
	return i.report.inFlight || (spec.Terminal(i.status.GetState()) && i.mark > c.stored)
}

// Reported takes the outcome of a Report.
func (c *Core) Reported(now time.Time, id uint64, res *dhowv1.ReportStatusResponse, err error) {
	r := &c.reporter
	b := r.flight[id]
	if b == nil {
		return
	}
	delete(r.flight, id)
	for _, i := range b.instances {
		i.report.inFlight = false
		if err != nil {
			r.markDirty(i, now)
		}
	}
	if err != nil {
		r.events = append(b.events, r.events...)
		r.events = r.events[max(0, len(r.events)-maxEvents):]
		r.tries++
		r.retryAt = now.Add(backoff(resend, resendMost, r.tries))
		return
	}
	r.tries, r.retryAt = 0, time.Time{}
	for _, ref := range res.GetRefused() {
		if i := c.find(ref); i != nil {
			c.remove(i)
		}
	}
}

func (c *Core) reportWake() time.Time {
	r := &c.reporter
	if !r.connected || !r.synced || len(r.flight) >= maxFlight {
		return time.Time{}
	}
	var w time.Time
	for _, i := range r.dirty {
		if !c.held(i) {
			w = earlier(w, i.report.due)
		}
	}
	if len(r.events) > 0 {
		w = earlier(w, r.eventsDue)
	}
	if w.IsZero() || w.After(r.retryAt) {
		return w
	}
	return r.retryAt
}

// sortedKeys gives a map's keys in order, for determinism.
func sortedKeys[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }
