package await_test

import (
	"fmt"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	"dhow.dev/dhow/cmd/internal/await"
	dhowv1 "dhow.dev/dhow/proto/dhow/v1"
	"dhow.dev/dhow/proto/spec"
)

// scene is a rollout of 2 instances to generation and revision 2, applied at
// version 10.
type scene struct {
	r    *await.Rollout
	next uint64
}

func begin(job bool) *scene {
	w := workload(10, 2, nil)
	if job {
		w.Spec.Type = dhowv1.WorkloadType_WORKLOAD_TYPE_JOB
	}
	s := &scene{r: await.NewRollout("web"), next: 11}
	s.r.Target(w)
	return s
}

func workload(version, generation uint64, status *dhowv1.WorkloadStatus) *dhowv1.Workload {
	return &dhowv1.Workload{
		Meta:   &dhowv1.Meta{Name: "web", Uid: "u", Version: version, Generation: generation},
		Spec:   &dhowv1.WorkloadSpec{Replicas: proto.Uint32(2)},
		Status: status,
	}
}

func (s *scene) workload(w *dhowv1.Workload) *scene {
	s.r.Observe(&dhowv1.WatchEvent{Type: dhowv1.WatchEventType_WATCH_EVENT_TYPE_PUT, Object: spec.Wrap(w)})
	return s
}

// observed: the leader has looked at generation 2.
func (s *scene) observed() *scene {
	return s.workload(workload(11, 2, &dhowv1.WorkloadStatus{ObservedGeneration: 2, Revision: 2}))
}

func (s *scene) instance(index uint32, revision uint64, state dhowv1.InstanceState, change ...func(*dhowv1.Instance)) *scene {
	s.next++
	i := &dhowv1.Instance{
		Meta:   &dhowv1.Meta{Name: fmt.Sprintf("web-%d-r%d", index, revision), Uid: fmt.Sprintf("u-%d-%d", index, revision), Version: s.next},
		Spec:   &dhowv1.InstanceSpec{Workload: "web", WorkloadUid: "u", Index: index, Revision: revision, Node: "n1"},
		Status: &dhowv1.InstanceStatus{State: state, Ready: state == dhowv1.InstanceState_INSTANCE_STATE_RUNNING},
	}
	for _, f := range change {
		f(i)
	}
	s.r.Observe(&dhowv1.WatchEvent{Type: dhowv1.WatchEventType_WATCH_EVENT_TYPE_PUT, Object: spec.Wrap(i)})
	return s
}

const (
	pending   = dhowv1.InstanceState_INSTANCE_STATE_PENDING
	preparing = dhowv1.InstanceState_INSTANCE_STATE_PREPARING
	running   = dhowv1.InstanceState_INSTANCE_STATE_RUNNING
	succeeded = dhowv1.InstanceState_INSTANCE_STATE_SUCCEEDED
	failed    = dhowv1.InstanceState_INSTANCE_STATE_FAILED
	stopped   = dhowv1.InstanceState_INSTANCE_STATE_STOPPED
)

func stopping(i *dhowv1.Instance) { i.Spec.Desired = dhowv1.Desired_DESIRED_STOP }
func lost(i *dhowv1.Instance)     { i.Spec.LostAt = timestamppb.Now() }
func earlier(i *dhowv1.Instance)  { i.Meta.Version = 5 }
func crashed(i *dhowv1.Instance) {
	i.Status.Tasks = []*dhowv1.TaskStatus{{Name: "main", ExitCode: 3, FinishedAt: timestamppb.Now()}}
}

func homeless(i *dhowv1.Instance) { i.Spec.Node, i.Spec.PendingReason = "", "no room" }

func TestRollout(t *testing.T) {
	for name, c := range map[string]struct {
		scene *scene
		line  string
		done  bool
		err   string
	}{
		"nothing yet":      {begin(false), "web: waiting for the scheduler", false, ""},
		"before":           {begin(false).workload(workload(9, 1, nil)), "web: waiting for the scheduler", false, ""},
		"old instances":    {begin(false).instance(0, 1, running).instance(1, 1, running), "web: waiting for the scheduler", false, ""},
		"none":             {begin(false).observed(), "web: 0/2 running", false, ""},
		"one":              {begin(false).observed().instance(0, 2, running).instance(1, 2, preparing), "web: 1/2 running (1 preparing)", false, ""},
		"one old":          {begin(false).observed().instance(0, 2, running).instance(1, 1, running), "web: 1/2 running (1 old)", false, ""},
		"surplus":          {begin(false).observed().instance(0, 2, running).instance(1, 2, running).instance(2, 2, running), "web: 2/2 running (1 old)", false, ""},
		"all":              {begin(false).observed().instance(0, 2, running).instance(1, 2, running), "web: 2/2 running", true, ""},
		"all, old stop":    {begin(false).observed().instance(0, 2, running).instance(1, 2, running).instance(1, 1, running, stopping), "web: 2/2 running", true, ""},
		"all, old ended":   {begin(false).observed().instance(0, 2, running).instance(1, 2, running).instance(1, 1, stopped), "web: 2/2 running", true, ""},
		"a lost one":       {begin(false).observed().instance(0, 2, running).instance(1, 2, running, lost), "web: 1/2 running", false, ""},
		"homeless":         {begin(false).observed().instance(0, 2, running).instance(1, 2, pending, homeless), "web: 1/2 running (1 pending): no room", false, ""},
		"failed":           {begin(false).observed().instance(0, 2, failed, crashed), "", false, "web failed: instance web-0-r2: task main ended with exit code 3 (on n1)"},
		"failed, lost":     {begin(false).observed().instance(0, 2, failed, lost), "web: 0/2 running", false, ""},
		"failed, stopping": {begin(false).observed().instance(0, 2, failed, stopping), "web: 0/2 running", false, ""},
		"failed, old":      {begin(false).observed().instance(0, 1, failed), "web: 0/2 running", false, ""},
		"failed, earlier":  {begin(false).observed().instance(0, 2, failed, earlier), "web: 0/2 running", false, ""},
		"changed again":    {begin(false).workload(workload(12, 3, nil)), "", false, "changed by someone else"},
		"made anew": {begin(false).workload(func() *dhowv1.Workload {
			w := workload(12, 1, nil)
			w.Meta.Uid = "other"
			return w
		}()), "", false, "made anew by someone else"},
		"another's instance": {begin(false).observed().instance(0, 2, running, func(i *dhowv1.Instance) { i.Spec.WorkloadUid = "old" }), "web: 0/2 running", false, ""},
		"job runs":           {begin(true).observed().instance(0, 2, succeeded).instance(1, 2, running), "web: 1/2 succeeded (1 running)", false, ""},
		"job retries":        {begin(true).observed().instance(0, 2, failed).instance(1, 2, succeeded), "web: 1/2 succeeded", false, ""},
		"job done":           {begin(true).observed().instance(0, 2, succeeded).instance(1, 2, succeeded), "web: 2/2 succeeded", true, ""},
		"job complete":       {begin(true).workload(workload(11, 2, &dhowv1.WorkloadStatus{ObservedGeneration: 2, Revision: 2, Phase: dhowv1.WorkloadPhase_WORKLOAD_PHASE_COMPLETE})), "web: 0/2 succeeded", true, ""},
		"job failed": {begin(true).workload(workload(11, 2, &dhowv1.WorkloadStatus{ObservedGeneration: 2, Revision: 2, Phase: dhowv1.WorkloadPhase_WORKLOAD_PHASE_FAILED, Message: "too many failures"})).
			instance(0, 2, failed, crashed), "", false, "exit code 3"},
		"job failed, gone": {begin(true).workload(workload(11, 2, &dhowv1.WorkloadStatus{ObservedGeneration: 2, Phase: dhowv1.WorkloadPhase_WORKLOAD_PHASE_FAILED, Message: "too many failures"})), "", false, "web failed: too many failures"},
	} {
		p := c.scene.r.Progress()
		switch {
		case c.err != "":
			if p.Err == nil || !strings.Contains(p.Err.Error(), c.err) {
				t.Errorf("%s: got error %v", name, p.Err)
			}
		case p.Err != nil:
			t.Errorf("%s: %v", name, p.Err)
		case p.Done != c.done || p.Line != c.line:
			t.Errorf("%s: got %v, %q", name, p.Done, p.Line)
		}
	}
}

// TestRolloutReset: what a watch that began anew does not tell is forgotten.
func TestRolloutReset(t *testing.T) {
	s := begin(false).observed().instance(0, 2, running).instance(1, 2, running)
	s.r.Reset()
	s.observed().instance(0, 2, running)
	if p := s.r.Progress(); p.Done || p.Line != "web: 1/2 running" {
		t.Errorf("got %+v", p)
	}
}

func TestDrain(t *testing.T) {
	d := await.NewDrain("n1")
	event := func(typ dhowv1.WatchEventType, uid, node string, state dhowv1.InstanceState) {
		d.Observe(&dhowv1.WatchEvent{Type: typ, Object: spec.Wrap(&dhowv1.Instance{
			Meta: &dhowv1.Meta{Uid: uid}, Spec: &dhowv1.InstanceSpec{Node: node}, Status: &dhowv1.InstanceStatus{State: state},
		})})
	}
	const put, del = dhowv1.WatchEventType_WATCH_EVENT_TYPE_PUT, dhowv1.WatchEventType_WATCH_EVENT_TYPE_DELETE
	event(put, "a", "n1", running)
	event(put, "b", "n1", running)
	event(put, "c", "n2", running)
	if p := d.Progress(); p.Done || p.Line != "n1: 2 instances left" {
		t.Errorf("got %+v", p)
	}
	event(put, "a", "n1", stopped)
	if p := d.Progress(); p.Done || p.Line != "n1: 1 instance left" {
		t.Errorf("got %+v", p)
	}
	event(del, "b", "n1", running)
	if p := d.Progress(); !p.Done {
		t.Errorf("got %+v", p)
	}
}
