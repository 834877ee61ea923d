// Package await decides, from a watch's events, whether what a user asked for
// has come true: a workload's rollout, a node's drain, a deletion. It is pure:
// events in, state out.
package await

import (
	"fmt"
	"strings"

	"dhow.dev/dhow/cmd/internal/output"
	dhowv1 "dhow.dev/dhow/proto/dhow/v1"
	"dhow.dev/dhow/proto/spec"
)

// Rollout follows one workload until its instances are as its spec says. It
// can be fed before the target is known, so that a watch may be opened before
// the workload is applied.
type Rollout struct {
	name      string
	target    *dhowv1.Workload // as the cluster stored it; nil at first
	seen      *dhowv1.Workload
	instances map[string]*dhowv1.Instance
}

// NewRollout begins to follow a workload.
func NewRollout(name string) *Rollout {
	return &Rollout{name: name, instances: map[string]*dhowv1.Instance{}}
}

// Target sets what is waited for: the workload as Apply returned it.
func (r *Rollout) Target(w *dhowv1.Workload) { r.target = w }

// Reset forgets what was seen: the watch begins anew.
func (r *Rollout) Reset() {
	r.seen = nil
	clear(r.instances)
}

// Observe takes one event.
func (r *Rollout) Observe(e *dhowv1.WatchEvent) {
	gone := e.GetType() == dhowv1.WatchEventType_WATCH_EVENT_TYPE_DELETE
	switch k := e.GetObject().GetKind().(type) {
	case *dhowv1.Object_Workload:
		if r.seen = k.Workload; gone {
			r.seen = nil
		}
	case *dhowv1.Object_Instance:
		if gone {
			delete(r.instances, k.Instance.GetMeta().GetUid())
		} else {
			r.instances[k.Instance.GetMeta().GetUid()] = k.Instance
		}
	}
}

// Progress is how far a rollout is.
type Progress struct {
	Done bool
	// Why the rollout has failed; nil while it has not.
	Err error
	// In a line: web: 2/3 running (1 preparing).
	Line string
	// What to say when the time is up: why it is not done.
	Blocker string
}

// counts are over the instances of the newest revision.
type counts struct {
	want, ready, succeeded     int
	pending, preparing, waking int
	notReady, surplus, old     int
}

// Progress judges what was seen.
func (r *Rollout) Progress() Progress {
	if r.target == nil {
		return Progress{Line: r.name + ": waiting"}
	}
	if r.seen != nil && r.seen.GetMeta().GetUid() != r.target.GetMeta().GetUid() {
		if r.seen.GetMeta().GetVersion() > r.target.GetMeta().GetVersion() {
			return r.failed(spec.Errorf(spec.CodeConflict, "%s was deleted and made anew by someone else", r.name))
		}
		return Progress{Line: r.name + ": waiting"} // what was there before
	}
	st := r.seen.GetStatus()
	if r.seen.GetMeta().GetGeneration() > r.target.GetMeta().GetGeneration() {
		return r.failed(spec.Errorf(spec.CodeConflict, "%s was changed by someone else meanwhile", r.name))
	}
	if r.seen == nil || st.GetObservedGeneration() < r.target.GetMeta().GetGeneration() {
		return Progress{Line: r.name + ": waiting for the scheduler", Blocker: "the leader has not looked at it yet"}
	}
	if st.GetPhase() == dhowv1.WorkloadPhase_WORKLOAD_PHASE_FAILED {
		return r.failed(r.jobError())
	}
	return r.judge()
}

func (r *Rollout) failed(err error) Progress {
	return Progress{Err: err, Line: r.name + ": failed"}
}

// judge counts the instances.
func (r *Rollout) judge() Progress {
	job := r.target.GetSpec().GetType() == dhowv1.WorkloadType_WORKLOAD_TYPE_JOB
	c := counts{want: int(r.target.GetSpec().GetReplicas())}
	var blocker *dhowv1.Instance
	done := map[uint32]bool{}
	for _, i := range r.instances {
		if i.GetSpec().GetWorkloadUid() != r.target.GetMeta().GetUid() {
			continue
		}
		r.count(&c, i, done)
		if !job && r.lost(i) {
			return r.failed(instanceError(r.name, i))
		}
		if troubled(i) && (blocker == nil || i.GetMeta().GetName() < blocker.GetMeta().GetName()) {
			blocker = i
		}
	}
	c.succeeded = len(done)
	p := Progress{Line: r.line(c, job)}
	if blocker != nil {
		p.Blocker = describe(blocker)
		if blocker.GetSpec().GetNode() == "" {
			p.Line += ": " + p.Blocker
		}
	}
	if job {
		p.Done = c.succeeded >= c.want || r.seen.GetStatus().GetPhase() == dhowv1.WorkloadPhase_WORKLOAD_PHASE_COMPLETE
	} else {
		p.Done = c.ready >= c.want && c.surplus+c.old == 0
	}
	return p
}

func (r *Rollout) count(c *counts, i *dhowv1.Instance, done map[uint32]bool) {
	state := i.GetStatus().GetState()
	current := i.GetSpec().GetRevision() == r.seen.GetStatus().GetRevision()
	if current && state == dhowv1.InstanceState_INSTANCE_STATE_SUCCEEDED {
		done[i.GetSpec().GetIndex()] = true
	}
	if spec.Terminal(state) || i.GetSpec().GetLostAt() != nil || i.GetSpec().GetDesired() == dhowv1.Desired_DESIRED_STOP {
		return
	}
	switch {
	case !current:
		c.old++
	case int(i.GetSpec().GetIndex()) >= c.want:
		c.surplus++
	case i.GetStatus().GetReady():
		c.ready++
	default:
		switch state {
		case dhowv1.InstanceState_INSTANCE_STATE_PREPARING:
			c.preparing++
		case dhowv1.InstanceState_INSTANCE_STATE_STARTING:
			c.waking++
		case dhowv1.InstanceState_INSTANCE_STATE_RUNNING:
			c.notReady++
		default:
			c.pending++
		}
	}
}

// lost tells whether the instance has failed since the target was applied, by
// its own fault: the restarts in place have been used up then, or cannot help.
func (r *Rollout) lost(i *dhowv1.Instance) bool {
	return i.GetStatus().GetState() == dhowv1.InstanceState_INSTANCE_STATE_FAILED &&
		i.GetSpec().GetLostAt() == nil &&
		i.GetSpec().GetDesired() != dhowv1.Desired_DESIRED_STOP &&
		i.GetSpec().GetRevision() == r.seen.GetStatus().GetRevision() &&
		i.GetMeta().GetVersion() > r.target.GetMeta().GetVersion()
}

// troubled instances hold a rollout up, and can say why.
func troubled(i *dhowv1.Instance) bool {
	s := i.GetStatus()
	if spec.Terminal(s.GetState()) || i.GetSpec().GetDesired() == dhowv1.Desired_DESIRED_STOP || s.GetReady() {
		return false
	}
	return i.GetSpec().GetPendingReason() != "" && i.GetSpec().GetNode() == "" || s.GetMessage() != ""
}

func (r *Rollout) line(c counts, job bool) string {
	have, word := c.ready, "running"
	if job {
		have, word = c.succeeded, "succeeded"
	}
	var parts []string
	part := func(n int, what string) {
		if n > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", n, what))
		}
	}
	if job {
		part(c.ready, "running")
	}
	part(c.preparing, "preparing")
	part(c.waking, "starting")
	part(c.notReady, "not ready")
	part(c.pending, "pending")
	part(c.old+c.surplus, "old")
	line := fmt.Sprintf("%s: %d/%d %s", r.name, have, c.want, word)
	if len(parts) > 0 {
		line += " (" + strings.Join(parts, ", ") + ")"
	}
	return line
}

// jobError is why a job failed: the last of its failed instances tells best.
func (r *Rollout) jobError() error {
	var last *dhowv1.Instance
	for _, i := range r.instances {
		if i.GetSpec().GetWorkloadUid() == r.target.GetMeta().GetUid() &&
			i.GetStatus().GetState() == dhowv1.InstanceState_INSTANCE_STATE_FAILED &&
			(last == nil || i.GetMeta().GetVersion() > last.GetMeta().GetVersion()) {
			last = i
		}
	}
	if last != nil {
		return instanceError(r.name, last)
	}
	return &Failed{Workload: r.name, Reason: r.seen.GetStatus().GetMessage()}
}

// Failed is the error of a rollout that failed.
type Failed struct {
	Workload string
	Instance string // that tells why; may be empty
	Reason   string
}

// Error says what failed and why.
func (f *Failed) Error() string {
	s := f.Workload + " failed"
	if f.Instance != "" {
		s += ": instance " + f.Instance
	}
	if f.Reason != "" {
		s += ": " + f.Reason
	}
	return s
}

func instanceError(workload string, i *dhowv1.Instance) error {
	return &Failed{Workload: workload, Instance: i.GetMeta().GetName(), Reason: describe(i)}
}

// describe says why an instance is as it is: its own message, or what became
// of its tasks.
func describe(i *dhowv1.Instance) string {
	var parts []string
	add := func(s string) {
		if s = output.Clean(s); s != "" && (len(parts) == 0 || !strings.Contains(strings.Join(parts, ": "), s)) {
			parts = append(parts, s)
		}
	}
	if i.GetSpec().GetNode() == "" {
		add(i.GetSpec().GetPendingReason())
		return strings.Join(parts, ": ")
	}
	add(i.GetStatus().GetReason())
	add(i.GetStatus().GetMessage())
	for _, t := range i.GetStatus().GetTasks() {
		if !t.GetRunning() && t.GetFinishedAt() != nil && (t.GetExitCode() != 0 || t.GetMessage() != "") {
			add(t.GetMessage())
			if t.GetMessage() == "" {
				add(fmt.Sprintf("task %s ended with exit code %d", t.GetName(), t.GetExitCode()))
			}
		}
	}
	if n := i.GetSpec().GetNode(); n != "" {
		parts = append(parts, "(on "+n+")")
	}
	return strings.Replace(strings.Join(parts, ": "), ": (on ", " (on ", 1)
}
