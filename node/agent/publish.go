package agent

import (
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	dhowv1 "dhow.dev/dhow/proto/dhow/v1"
	"dhow.dev/dhow/proto/spec"
)

// publish makes the instance's status what it is now, and has it reported
// when that is news.
func (c *Core) publish(i *instance, now time.Time) {
	if i.removed {
		return // nobody is there to be told
	}
	old := i.status
	s := &dhowv1.InstanceStatus{
		State: max(old.GetState(), i.state()), Sequence: old.GetSequence(),
		StartedAt: old.GetStartedAt(), FinishedAt: old.GetFinishedAt(),
	}
	if spec.Terminal(old.GetState()) {
		return
	}
	s.Ready = s.State == dhowv1.InstanceState_INSTANCE_STATE_RUNNING && i.ready()
	if s.Ready && !old.GetReady() {
		if s.StartedAt == nil {
			s.StartedAt = timestamppb.New(now)
			c.event(i, now, dhowv1.EventType_EVENT_TYPE_NORMAL, "Started", "")
		}
		i.reason, i.message = "Started", ""
	}
	s.Reason, s.Message = i.reason, i.message
	if s.State == dhowv1.InstanceState_INSTANCE_STATE_STOPPING && i.verdict == 0 {
		s.Reason, s.Message = "Stopping", i.obj.GetSpec().GetStopReason()
	}
	if spec.Terminal(s.State) && s.FinishedAt == nil {
		s.FinishedAt = timestamppb.New(now)
	}
	for _, t := range i.tasks {
		s.Tasks = append(s.Tasks, t.status())
		if t.phase == running {
			s.Ports = append(s.Ports, t.ports...)
		}
	}
	if proto.Equal(old, s) {
		return
	}
	s.Sequence++
	i.status = s
	lazy := s.State < dhowv1.InstanceState_INSTANCE_STATE_RUNNING && s.Reason == "" ||
		s.State == dhowv1.InstanceState_INSTANCE_STATE_STOPPING
	if lazy {
		c.markDirty(i, now.Add(c.config.Lazy))
	} else {
		c.markDirty(i, now)
	}
}

// state is what the tasks' phases make of the instance.
func (i *instance) state() dhowv1.InstanceState {
	switch {
	case i.finished:
		return i.verdict
	case i.ending():
		return dhowv1.InstanceState_INSTANCE_STATE_STOPPING
	}
	up, begun := true, false
	for _, t := range i.tasks {
		if t.role() != dhowv1.TaskRole_TASK_ROLE_INIT {
			up = up && t.up
		}
		begun = begun || t.up || t.exited || t.phase == starting
	}
	switch {
	case up:
		return dhowv1.InstanceState_INSTANCE_STATE_RUNNING
	case begun:
		return dhowv1.InstanceState_INSTANCE_STATE_STARTING
	}
	return dhowv1.InstanceState_INSTANCE_STATE_PREPARING
}

// ready tells whether all that is to run does.
func (i *instance) ready() bool {
	for _, t := range i.tasks {
		if t.phase != running && (t.phase != ended || t == i.main()) {
			return false
		}
	}
	return !i.ending()
}

func (t *task) status() *dhowv1.TaskStatus {
	s := &dhowv1.TaskStatus{Name: t.spec.GetName(), Running: t.phase == running, Restarts: t.run}
	if !t.started.IsZero() {
		s.StartedAt = timestamppb.New(t.started)
	}
	if t.exited {
		s.ExitCode, s.Reason, s.Message = t.exit.Code, t.exit.Reason, t.exit.Message
		s.FinishedAt = timestamppb.New(t.exit.At)
	}
	if t.phase == waiting && !t.at.IsZero() {
		s.RestartAt = timestamppb.New(t.at)
	}
	return s
}
