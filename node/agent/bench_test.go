package agent

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"

	"dhow.dev/dhow/node/runtime"
	"dhow.dev/dhow/node/runtime/fake"
	dhowv1 "dhow.dev/dhow/proto/dhow/v1"
	"dhow.dev/dhow/proto/spec"
)

// fataler is a *testing.T or a *rapid.T.
type fataler interface {
	Helper()
	Fatalf(format string, args ...any)
	Errorf(format string, args ...any)
}

// world drives a core with a fake runtime, a ledger and a server, by hand and
// without goroutines.
type world struct {
	t      fataler
	core   *Core
	rt     *fake.Runtime
	now    time.Time
	waits  []runtime.ID
	ledger []*dhowv1.LedgerRecord // durable
	verbs  []string               // "start main.0"
	// The server's side.
	status  map[string]*dhowv1.InstanceStatus
	reports [][]string // per call: "uid RUNNING 3"
	events  []*dhowv1.Event
	refuse  []*dhowv1.Ref
	// Switches.
	reportErr error
	held      []uint64 // marks not yet stored, while hold
	hold      bool
	waiting   []*dhowv1.LedgerRecord // records of the held marks
	cleaned   map[string]int
}

func newWorld(t fataler) *world {
	w := &world{
		t: t, rt: fake.New("wasm", nil), now: time.Unix(1_800_000_000, 0), status: map[string]*dhowv1.InstanceStatus{},
		cleaned: map[string]int{},
	}
	w.boot()
	return w
}

// boot makes a core from what is durable, as a restarted agent does.
func (w *world) boot() {
	w.core = NewCore(CoreConfig{Node: "n1", Address: "127.0.0.1", Runtimes: []string{"wasm"}})
	w.waits, w.held, w.waiting = nil, nil, nil
	list, err := w.rt.List(context.Background())
	if err != nil {
		w.t.Fatalf("List: %v", err)
	}
	var found []Found
	for _, s := range list {
		found = append(found, Found{Runtime: "wasm", Status: s})
	}
	w.core.Restore(w.now, w.ledger, found)
	w.run()
}

func (w *world) connect() { w.core.Connected(w.now); w.run() }

func (w *world) assign(a *dhowv1.Assignments) error {
	err := w.core.Assign(w.now, a)
	w.run()
	return err
}

func (w *world) must(a *dhowv1.Assignments) {
	w.t.Helper()
	if err := w.assign(a); err != nil {
		w.t.Fatalf("Assign: %v", err)
	}
}

// advance lets time pass, step by step as Wake says.
func (w *world) advance(d time.Duration) {
	for end := w.now.Add(d); ; {
		wake := w.core.Wake()
		if wake.IsZero() || wake.After(end) {
			w.now = end
			w.run()
			return
		}
		if wake.After(w.now) {
			w.now = wake
		}
		w.core.Tick(w.now)
		w.run()
	}
}

// run does all there is to do now.
func (w *world) run() {
	for range 100_000 {
		r := w.core.Ready(w.now)
		if r.Empty() && !w.exits() {
			return
		}
		for _, a := range r.Actions {
			w.do(a)
		}
		if len(r.Records) > 0 {
			for _, rec := range r.Records {
				w.ledger = append(w.ledger, proto.CloneOf(rec))
			}
			if w.hold {
				w.waiting = append(w.waiting, w.ledger[len(w.ledger)-len(r.Records):]...)
				w.ledger = w.ledger[:len(w.ledger)-len(r.Records)]
				w.held = append(w.held, r.Mark)
			} else {
				w.core.Stored(w.now, r.Mark)
			}
		}
		for _, rep := range r.Reports {
			w.take(rep)
		}
	}
	w.t.Fatalf("the core never comes to rest")
}

func (w *world) exits() bool {
	for k, id := range w.waits {
		if e, ok := w.rt.Ended(id); ok {
			w.waits = append(w.waits[:k:k], w.waits[k+1:]...)
			w.core.Done(w.now, Result{Verb: Wait, ID: id, Exit: e})
			return true
		}
	}
	return false
}

func (w *world) do(a Action) {
	ctx := context.Background()
	w.verbs = append(w.verbs, fmt.Sprintf("%v %s.%d", a.Verb, a.ID.Task, a.ID.Run))
	r := Result{Verb: a.Verb, ID: a.ID}
	switch a.Verb {
	case Prepare:
		r.Err = w.rt.Prepare(ctx, a.Task)
	case Start:
		w.single(a.ID)
		r.Started, r.Err = w.rt.Start(ctx, a.Task)
	case Wait:
		w.waits = append(w.waits, a.ID)
		return
	case Stop:
		r.Err = w.rt.Stop(ctx, a.ID, 0)
	case Remove:
		r.Err = w.rt.Remove(ctx, a.ID)
	case Clean:
		w.cleaned[a.ID.Instance]++
		return
	case Cancel:
		return
	}
	w.core.Done(w.now, r)
}

// single checks that no other run of the task is running.
func (w *world) single(id runtime.ID) {
	list, _ := w.rt.List(context.Background())
	for _, s := range list {
		if s.Running && s.ID.Instance == id.Instance && s.ID.Task == id.Task && s.ID.Run != id.Run {
			w.t.Errorf("run %d of %s/%s starts while run %d runs", id.Run, id.Instance, id.Task, s.ID.Run)
		}
	}
}

// take is the server's ReportStatus, with its rules.
func (w *world) take(rep Report) {
	if w.reportErr != nil {
		w.core.Reported(w.now, rep.ID, nil, w.reportErr)
		return
	}
	var lines []string
	for _, r := range rep.Request.GetReports() {
		uid, s := r.GetRef().GetUid(), r.GetStatus()
		old := w.status[uid]
		if s.GetSequence() <= old.GetSequence() && !proto.Equal(s, old) {
			w.t.Errorf("%s: report %d comes after %d", uid, s.GetSequence(), old.GetSequence())
		}
		if !spec.Forward(old.GetState(), s.GetState()) {
			w.t.Errorf("%s: state goes from %v to %v", uid, old.GetState(), s.GetState())
		}
		w.status[uid] = proto.CloneOf(s)
		lines = append(lines, fmt.Sprintf("%s %s %d", uid, state(s), s.GetSequence()))
	}
	w.events = append(w.events, rep.Request.GetEvents()...)
	if len(lines) > 0 {
		w.reports = append(w.reports, lines)
	}
	w.core.Reported(w.now, rep.ID, &dhowv1.ReportStatusResponse{Refused: w.refuse}, nil)
}

func (w *world) reasons() []string {
	var out []string
	for _, e := range w.events {
		out = append(out, e.GetReason())
	}
	return out
}

func state(s *dhowv1.InstanceStatus) string {
	return s.GetState().String()[len("INSTANCE_STATE_"):]
}

func (w *world) want(uid, st string) *dhowv1.InstanceStatus {
	w.t.Helper()
	s := w.status[uid]
	if state(s) != st {
		w.t.Fatalf("the server knows %s as %s (%s: %s), want %s", uid, state(s), s.GetReason(), s.GetMessage(), st)
	}
	return s
}

// What tests assign.

func wasmTask(name string, role dhowv1.TaskRole, args ...string) *dhowv1.Task {
	return &dhowv1.Task{Name: name, Role: role, Args: args, Source: &dhowv1.Task_Wasm{Wasm: &dhowv1.WasmSource{}}}
}

func mainTask(args ...string) *dhowv1.Task {
	return wasmTask("main", dhowv1.TaskRole_TASK_ROLE_MAIN, args...)
}

func service(tasks ...*dhowv1.Task) *dhowv1.Revision {
	return &dhowv1.Revision{
		Meta: &dhowv1.Meta{Namespace: "default", Name: "web.1"}, Workload: "web", WorkloadUid: "w", Number: 1,
		Type: dhowv1.WorkloadType_WORKLOAD_TYPE_SERVICE, Template: &dhowv1.Template{Tasks: tasks},
	}
}

func job(tasks ...*dhowv1.Task) *dhowv1.Revision {
	r := service(tasks...)
	r.Type = dhowv1.WorkloadType_WORKLOAD_TYPE_JOB
	return r
}

func restart(r *dhowv1.Revision, p *dhowv1.RestartPolicy) *dhowv1.Revision {
	r.Template.Restart = p
	return r
}

func attempts(n uint32) *dhowv1.RestartPolicy {
	return &dhowv1.RestartPolicy{Attempts: &n, Backoff: durationpb.New(time.Second)}
}

func placed(uid string) *dhowv1.Instance {
	return &dhowv1.Instance{
		Meta: &dhowv1.Meta{Uid: uid, Name: "web-" + uid, Namespace: "default", Version: 1},
		Spec: &dhowv1.InstanceSpec{
			Workload: "web", WorkloadUid: "w", Revision: 1, Node: "n1", Desired: dhowv1.Desired_DESIRED_RUN,
		},
	}
}

func stopped(in *dhowv1.Instance) *dhowv1.Instance {
	in = proto.CloneOf(in)
	in.Meta.Version++
	in.Spec.Desired, in.Spec.StopReason = dhowv1.Desired_DESIRED_STOP, "scaled down"
	return in
}

func full(generation uint64, r *dhowv1.Revision, in ...*dhowv1.Instance) *dhowv1.Assignments {
	a := &dhowv1.Assignments{Generation: generation, Full: true, Instances: in}
	if r != nil {
		a.Revisions = []*dhowv1.Revision{r}
	}
	return a
}

func delta(generation uint64, in ...*dhowv1.Instance) *dhowv1.Assignments {
	return &dhowv1.Assignments{Generation: generation, Instances: in}
}

// withStatus is the instance as the server has it.
func (w *world) withStatus(in *dhowv1.Instance) *dhowv1.Instance {
	in = proto.CloneOf(in)
	in.Status = w.status[in.GetMeta().GetUid()]
	return in
}

var errDown = errors.New("no server")

func started(t *testing.T, w *world, uid string) int {
	t.Helper()
	return w.rt.Starts(uid, "main")
}
