package agent

import (
	"errors"
	"fmt"
	"time"

	"dhow.dev/dhow/node/runtime"
	dhowv1 "dhow.dev/dhow/proto/dhow/v1"
)

// Done takes the outcome of an action. Outcomes of what is no longer known
// are ignored.
func (c *Core) Done(now time.Time, r Result) {
	if c.orphanDone(now, r) {
		return
	}
	i := c.instances[r.ID.Instance]
	if i == nil {
		return
	}
	t := i.task(r.ID.Task)
	if t == nil || t.run != r.ID.Run {
		return
	}
	switch r.Verb {
	case Prepare:
		c.donePrepare(i, t, now, r)
	case Start:
		c.doneStart(i, t, now, r)
	case Wait:
		c.doneWait(i, t, now, r)
	case Stop:
		t.stopping = false
		t.asked = r.Err == nil // its Wait has the rest
		t.retry(now, r.Err)
	case Remove:
		c.doneRemove(i, t, now, r)
	case Cancel, Clean: // have no outcome
	}
	c.poke(i)
}

// retry sets when a verb that failed is tried again.
func (t *task) retry(now time.Time, err error) {
	if err == nil {
		t.tries, t.at = 0, time.Time{}
		return
	}
	t.tries++
	t.at = now.Add(backoff(retryFirst, retryMost, t.tries))
}

func (c *Core) donePrepare(i *instance, t *task, now time.Time, r Result) {
	if t.phase != preparing {
		return
	}
	switch {
	case r.Err == nil:
		t.phase = prepared
		t.retry(now, nil)
		i.note = ""
	case i.ending():
		t.phase = ended
	case permanent(r.Err):
		t.phase = ended
		i.fail(reasonOf(r.Err, "PrepareFailed"), fmt.Sprintf("%s: %v", t.describe(), r.Err))
	default:
		// What is missing may come back: the server that has the artifact,
		// space on the disk. It does not count as an attempt.
		t.phase = waiting
		t.retry(now, r.Err)
		i.reason = reasonOf(r.Err, "PrepareFailed")
		i.message = fmt.Sprintf("%s: %v", t.describe(), r.Err)
		c.backOff(i, now, fmt.Sprintf("%s cannot be prepared: %v", t.describe(), r.Err))
	}
}

func (c *Core) doneStart(i *instance, t *task, now time.Time, r Result) {
	if t.phase != starting {
		return
	}
	if r.Err != nil {
		t.exit = runtime.Exit{Code: -1, Reason: reasonOf(r.Err, "StartFailed"), Message: r.Err.Error(), At: now}
		t.exited = true
		t.started = now
		switch {
		case i.ending():
			t.phase = ended
		case permanent(r.Err):
			t.phase = ended
			i.fail(t.exit.Reason, fmt.Sprintf("%s: %v", t.describe(), r.Err))
		default:
			c.ended(i, t, now, true)
		}
		return
	}
	t.phase, t.up = running, true
	t.started = now
	t.ports = r.Started.Ports
	c.act(Wait, i, t)
}

func (c *Core) doneWait(i *instance, t *task, now time.Time, r Result) {
	if t.phase != running {
		return
	}
	t.exit, t.exited = r.Exit, true
	if r.Err != nil {
		t.exit = runtime.Exit{Code: -1, Reason: "Lost", Message: r.Err.Error()}
	}
	if t.exit.At.IsZero() {
		t.exit.At = now
	}
	if i.ending() {
		t.phase = ended
		return
	}
	c.ended(i, t, now, false)
}

// ended decides what follows the end of a run.
func (c *Core) ended(i *instance, t *task, now time.Time, unstarted bool) {
	ok := t.exit.Code == 0 && !unstarted
	what := fmt.Sprintf("%s %s", t.describe(), exitText(t.exit, unstarted))
	if !i.policy.again(t.role(), ok) {
		t.phase = ended
		switch {
		case !ok:
			i.fail(t.exit.Reason, what)
		case t.role() == dhowv1.TaskRole_TASK_ROLE_MAIN:
			i.verdict, i.reason, i.message = dhowv1.InstanceState_INSTANCE_STATE_SUCCEEDED, "Completed", what
		}
		return
	}
	if now.Sub(t.started) >= i.policy.resetAfter {
		t.attempts = 0
	}
	if t.attempts >= i.policy.attempts {
		t.phase = ended
		i.fail(t.exit.Reason, fmt.Sprintf("%s; restarted %d times", what, t.attempts))
		return
	}
	t.attempts++
	wait := i.policy.wait(t.attempts)
	t.at = now.Add(wait)
	t.phase = removing
	c.act(Remove, i, t)
	i.reason = "Restarting"
	i.message = fmt.Sprintf("%s; restart %d of %d", what, t.attempts, i.policy.attempts)
	kind := dhowv1.EventType_EVENT_TYPE_WARNING
	if ok {
		kind = dhowv1.EventType_EVENT_TYPE_NORMAL
	}
	reason := "Restarting"
	if unstarted {
		reason = "BackOff"
	}
	c.event(i, now, kind, reason, fmt.Sprintf("%s in %v", i.message, wait))
}

func (c *Core) doneRemove(i *instance, t *task, now time.Time, r Result) {
	if t.phase == removing {
		// What could not be removed is in the way of nothing but its memory;
		// it is an orphan from now on.
		if r.Err != nil {
			c.orphan(t.runtime, t.id(i), now, true)
		}
		t.next()
		c.save(i)
		return
	}
	t.clearing = false
	t.retry(now, r.Err)
	t.held = r.Err != nil
}

// next makes the task wait for its next run.
func (t *task) next() {
	t.phase = waiting
	t.run++
	t.held, t.marked = false, false
	t.ports = nil
}

func permanent(err error) bool {
	e, ok := errors.AsType[*runtime.Error](err)
	return ok && e.Permanent
}

func reasonOf(err error, other string) string {
	if e, ok := errors.AsType[*runtime.Error](err); ok && e.Reason != "" {
		return e.Reason
	}
	return other
}

func exitText(e runtime.Exit, unstarted bool) string {
	if unstarted {
		return "did not start: " + e.Message
	}
	s := fmt.Sprintf("ended with exit code %d", e.Code)
	if e.Reason != "" && e.Reason != "Exited" {
		s += " (" + e.Reason + ")"
	}
	if e.Message != "" {
		s += ": " + e.Message
	}
	return s
}
