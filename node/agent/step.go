package agent

import (
	"fmt"
	"slices"
	"time"

	"dhow.dev/dhow/node/runtime"
	dhowv1 "dhow.dev/dhow/proto/dhow/v1"
)

const (
	// Retries of verbs that fail for reasons that may pass.
	retryFirst = 250 * time.Millisecond
	retryMost  = 30 * time.Second
)

// step moves the instance as far as it can without an answer.
func (c *Core) step(i *instance, now time.Time) {
	if c.orphaned(i.uid) {
		return // an earlier life of it is being removed
	}
	if i.ending() {
		c.stepEnd(i, now)
	} else {
		c.stepRun(i, now)
	}
	if c.instances[i.uid] == i {
		c.publish(i, now)
	}
}

func (c *Core) stepRun(i *instance, now time.Time) {
	for _, t := range i.tasks {
		if t.phase == waiting && i.due(t.at, now) {
			t.phase = idle
		}
		if t.phase == idle {
			t.phase, t.held = preparing, true
			c.act(Prepare, i, t)
		}
	}
	if !i.prepared {
		i.prepared = !slices.ContainsFunc(i.tasks, func(t *task) bool { return t.phase < prepared || t.phase == waiting })
		if !i.prepared {
			return
		}
	}
	for _, t := range i.tasks {
		switch t.role() {
		case dhowv1.TaskRole_TASK_ROLE_INIT:
			c.tryStart(i, t)
			if t.phase != ended {
				return // one after the other
			}
		case dhowv1.TaskRole_TASK_ROLE_SIDECAR:
			c.tryStart(i, t)
		default:
			for _, s := range i.tasks[:len(i.tasks)-1] {
				if s.role() == dhowv1.TaskRole_TASK_ROLE_SIDECAR && !s.up {
					return // main finds its sidecars running
				}
			}
			c.tryStart(i, t)
		}
	}
}

// due tells whether the time has come; if not, the instance is stepped then.
func (i *instance) due(at, now time.Time) bool {
	if at.IsZero() || !now.Before(at) {
		return true
	}
	i.wake = earlier(i.wake, at)
	return false
}

func (c *Core) tryStart(i *instance, t *task) {
	if t.phase != prepared {
		return
	}
	if i.policy.mode == dhowv1.RestartMode_RESTART_MODE_NEVER {
		// It must not run a second time, so the ledger learns of it first.
		if !t.marked {
			t.marked = true
			c.save(i)
		}
		if i.mark > c.stored {
			return
		}
	}
	t.phase = starting
	c.act(Start, i, t)
}

// stepEnd stops what runs, main first, then records the end, then removes
// what is left.
func (c *Core) stepEnd(i *instance, now time.Time) {
	if i.cleaned {
		if i.removed {
			c.forget(i)
		}
		return
	}
	if !i.finished {
		if c.stopTasks(i, now) {
			return
		}
		c.finish(i, now)
	}
	// A crash before the end is recorded must find the run's exit again.
	if i.mark > c.stored {
		return
	}
	busy := false
	for _, t := range i.tasks {
		if !t.held {
			continue
		}
		busy = true
		if !t.clearing && i.due(t.at, now) {
			t.clearing = true
			c.act(Remove, i, t)
		}
	}
	if busy {
		return
	}
	i.cleaned = true
	c.actions = append(c.actions, Action{Verb: Clean, ID: runtime.ID{Instance: i.uid}})
	if i.removed {
		c.forget(i)
	}
}

// stopTasks tells whether something is still there to be stopped.
func (c *Core) stopTasks(i *instance, now time.Time) bool {
	busy := false
	for _, t := range i.tasks {
		switch t.phase {
		case preparing, starting:
			busy = true
			if !t.cancelled {
				t.cancelled = true
				c.act(Cancel, i, t)
			}
		case removing:
			busy = true
		case idle, prepared, running, waiting, ended: // running ones come below
		}
	}
	for _, t := range slices.Backward(i.tasks) {
		if t.phase == running && !t.stopping && !t.asked && i.due(t.at, now) {
			t.stopping = true
			c.act(Stop, i, t)
		}
		if t.phase == running || t.stopping {
			busy = true
			if t == i.main() {
				break // sidecars serve main to its end
			}
		}
	}
	return busy
}

// finish decides the terminal state.
func (c *Core) finish(i *instance, now time.Time) {
	i.finished = true
	if i.verdict == 0 {
		i.verdict, i.reason = dhowv1.InstanceState_INSTANCE_STATE_STOPPED, "Stopped"
		i.message = i.obj.GetSpec().GetStopReason()
	}
	for _, t := range i.tasks {
		t.phase, t.at, t.tries = ended, time.Time{}, 0
	}
	c.publish(i, now)
	switch {
	case i.removed: // recorded when it was removed
	case i.verdict == dhowv1.InstanceState_INSTANCE_STATE_FAILED:
		c.event(i, now, dhowv1.EventType_EVENT_TYPE_WARNING, "Failed", fmt.Sprintf("%s: %s", i.reason, i.message))
		c.save(i)
	case i.verdict == dhowv1.InstanceState_INSTANCE_STATE_SUCCEEDED:
		c.event(i, now, dhowv1.EventType_EVENT_TYPE_NORMAL, "Succeeded", i.message)
		c.save(i)
	default:
		c.save(i)
	}
}

// fail makes the instance end as failed.
func (i *instance) fail(reason, message string) {
	if i.verdict == 0 {
		i.verdict, i.reason, i.message = dhowv1.InstanceState_INSTANCE_STATE_FAILED, reason, message
	}
}
