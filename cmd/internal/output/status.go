package output

import (
	"fmt"
	"strings"
	"time"

	"dhow.dev/dhow/cmd/internal/manifest"
	dhowv1 "dhow.dev/dhow/proto/dhow/v1"
	"dhow.dev/dhow/proto/spec"
)

// WorkloadReady is how many of the wanted instances are ready; of a job, how
// many have succeeded.
func WorkloadReady(w *dhowv1.Workload) Cell {
	s := w.GetStatus()
	have, want := s.GetReady(), s.GetDesired()
	if w.GetSpec().GetType() == dhowv1.WorkloadType_WORKLOAD_TYPE_JOB {
		have = s.GetSucceeded()
		want = max(want, w.GetSpec().GetReplicas())
	}
	return Cell{Text: fmt.Sprintf("%d/%d", have, want)}
}

// WorkloadStatus is the workload's phase.
func WorkloadStatus(w *dhowv1.Workload) Cell {
	p := w.GetStatus().GetPhase()
	text := capital(manifest.Word(p))
	switch p {
	case dhowv1.WorkloadPhase_WORKLOAD_PHASE_READY, dhowv1.WorkloadPhase_WORKLOAD_PHASE_COMPLETE:
		return Cell{text, Good}
	case dhowv1.WorkloadPhase_WORKLOAD_PHASE_DEGRADED:
		return Cell{text, Warn}
	case dhowv1.WorkloadPhase_WORKLOAD_PHASE_FAILED:
		return Cell{text, Bad}
	default:
	}
	if text == "" {
		text = "New"
	}
	return Cell{text, Warn}
}

// InstanceStatus is one word, with the reason behind a colon where there is
// one that matters.
func InstanceStatus(i *dhowv1.Instance) Cell {
	s := i.GetStatus()
	text := capital(manifest.Word(s.GetState()))
	if text == "" {
		text = "Pending"
	}
	if i.GetSpec().GetLostAt() != nil && !spec.Terminal(s.GetState()) {
		return Cell{"Lost", Bad}
	}
	switch s.GetState() {
	case dhowv1.InstanceState_INSTANCE_STATE_FAILED:
		if s.GetReason() != "" {
			text += ":" + s.GetReason()
		}
		return Cell{text, Bad}
	case dhowv1.InstanceState_INSTANCE_STATE_SUCCEEDED:
		return Cell{text, Good}
	case dhowv1.InstanceState_INSTANCE_STATE_STOPPED, dhowv1.InstanceState_INSTANCE_STATE_STOPPING:
		return Cell{text, Dim}
	case dhowv1.InstanceState_INSTANCE_STATE_RUNNING:
		if i.GetSpec().GetDesired() == dhowv1.Desired_DESIRED_STOP {
			return Cell{"Stopping", Dim}
		}
		if !s.GetReady() {
			if r := s.GetReason(); r != "" && r != "Started" && r != "Running" {
				text += ":" + r
			}
			return Cell{text, Warn}
		}
		return Cell{text, Good}
	default:
	}
	return Cell{text, Warn}
}

// InstanceMessage says for people why an instance is as it is.
func InstanceMessage(i *dhowv1.Instance) string {
	if i.GetSpec().GetNode() == "" {
		return i.GetSpec().GetPendingReason()
	}
	msg := i.GetStatus().GetMessage()
	if r := i.GetSpec().GetStopReason(); r != "" && msg == "" {
		return r
	}
	return msg
}

// TasksReady is how many of the instance's tasks run.
func TasksReady(i *dhowv1.Instance) Cell {
	running, all := 0, 0
	for _, t := range i.GetStatus().GetTasks() {
		all++
		if t.GetRunning() {
			running++
		}
	}
	if all == 0 {
		return Cell{}
	}
	return Cell{Text: fmt.Sprintf("%d/%d", running, all)}
}

// Restarts counts those in place over all tasks.
func Restarts(i *dhowv1.Instance, now time.Time) Cell {
	var n uint32
	ago := ""
	for _, t := range i.GetStatus().GetTasks() {
		n += t.GetRestarts()
		if t.GetRestarts() > 0 && t.GetStartedAt() != nil {
			ago = " (" + Age(now, t.GetStartedAt()) + " ago)"
		}
	}
	if n == 0 {
		return Cell{Text: "0"}
	}
	return Cell{fmt.Sprint(n) + ago, Warn}
}

// Addresses lists where the instance's ports are.
func Addresses(i *dhowv1.Instance) string {
	var out []string
	for _, p := range i.GetStatus().GetPorts() {
		out = append(out, p.GetName()+"="+p.GetAddress())
	}
	return strings.Join(out, ",")
}

// NodeStatus is the node's state and what the user has set.
func NodeStatus(n *dhowv1.Node) Cell {
	state := n.GetLiveness().GetState()
	text, hue := capital(manifest.Word(state)), Warn
	switch state {
	case dhowv1.NodeState_NODE_STATE_READY:
		hue = Good
	case dhowv1.NodeState_NODE_STATE_LOST:
		hue = Bad
	default:
	}
	if text == "" {
		text = "Joined"
	}
	switch {
	case n.GetSpec().GetDraining():
		text, hue = text+",Draining", max(hue, Warn)
	case n.GetSpec().GetCordoned():
		text, hue = text+",Cordoned", max(hue, Warn)
	}
	return Cell{text, hue}
}

// EventType is Normal or Warning.
func EventType(e *dhowv1.Event) Cell {
	text := capital(manifest.Word(e.GetType()))
	if e.GetType() == dhowv1.EventType_EVENT_TYPE_WARNING {
		return Cell{text, Warn}
	}
	return Cell{Text: text}
}

// Sources names what a template's tasks run.
func Sources(t *dhowv1.Template) string {
	var out []string
	for _, task := range t.GetTasks() {
		out = append(out, Source(task))
	}
	return strings.Join(out, ",")
}

// Source names what one task runs.
func Source(t *dhowv1.Task) string {
	if w := t.GetWasm(); w != nil {
		digest := ShortDigest(w.GetArtifact())
		if w.GetFile() == "" {
			return digest
		}
		return w.GetFile() + "@" + digest
	}
	return t.GetImage().GetRef()
}

// ShortDigest is enough of a digest for people.
func ShortDigest(d string) string {
	const digits = 12
	if n := len(spec.DigestPrefix) + digits; len(d) > n {
		return d[:n]
	}
	return d
}

func tokenStatus(t *dhowv1.Token, now time.Time) Cell {
	if e := t.GetExpiresAt(); e != nil && !e.AsTime().After(now) {
		return Cell{"Expired", Bad}
	}
	return Cell{"Valid", Good}
}

func expires(t *dhowv1.Token, now time.Time) string {
	e := t.GetExpiresAt()
	if e == nil {
		return "never"
	}
	if left := e.AsTime().Sub(now); left > 0 {
		return "in " + Short(left)
	}
	return Age(now, e) + " ago"
}

func capital(s string) string {
	if s == "" {
		return ""
	}
	return strings.ToUpper(s[:1]) + s[1:]
}
