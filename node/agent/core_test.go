package agent

import (
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"

	"dhow.dev/dhow/node/runtime"
	dhowv1 "dhow.dev/dhow/proto/dhow/v1"
	"dhow.dev/dhow/proto/spec"
)

func TestAStartIsReportedOnceAndAtOnce(t *testing.T) {
	w := newWorld(t)
	w.connect()
	task := mainTask()
	task.Ports = []*dhowv1.Port{{Name: "http", Port: 80, HostPort: 8080}}
	w.must(full(1, service(task), placed("a")))
	s := w.want("a", "RUNNING")
	if !s.GetReady() || s.GetStartedAt() == nil || len(s.GetPorts()) != 1 || s.GetPorts()[0].GetAddress() != "127.0.0.1:8080" {
		t.Errorf("status is %v", s)
	}
	if len(w.reports) != 1 {
		t.Errorf("reports are %v, want one", w.reports)
	}
	w.advance(time.Second)
	if !slices.Contains(w.reasons(), "Started") {
		t.Errorf("events are %v", w.reasons())
	}
	if w.core.Wake() != (time.Time{}) || !w.core.Idle() {
		t.Errorf("an idle core wants to wake at %v", w.core.Wake())
	}
}

func TestALongPreparationIsReported(t *testing.T) {
	w := newWorld(t)
	w.connect()
	if err := w.core.Assign(w.now, full(1, service(mainTask()), placed("a"))); err != nil {
		t.Fatal(err)
	}
	r := w.core.Ready(w.now)
	if len(r.Reports) != 0 || len(r.Actions) != 1 || r.Actions[0].Verb != Prepare {
		t.Fatalf("ready is %+v", r)
	}
	w.now = w.core.Wake()
	r = w.core.Ready(w.now)
	if len(r.Reports) != 1 {
		t.Fatalf("after %v nothing was reported", w.core.config.Lazy)
	}
	w.take(r.Reports[0])
	w.want("a", "PREPARING")
}

func TestTasksStartInOrder(t *testing.T) {
	w := newWorld(t)
	w.connect()
	r := service(
		mainTask(), wasmTask("proxy", dhowv1.TaskRole_TASK_ROLE_SIDECAR),
		wasmTask("one", dhowv1.TaskRole_TASK_ROLE_INIT, "exit=0"), wasmTask("two", dhowv1.TaskRole_TASK_ROLE_INIT, "exit=0"),
	)
	w.must(full(1, r, placed("a")))
	w.want("a", "RUNNING")
	var starts []string
	for _, v := range w.verbs {
		if s, ok := strings.CutPrefix(v, "start "); ok {
			starts = append(starts, s)
		}
	}
	if want := []string{"one.0", "two.0", "proxy.0", "main.0"}; !slices.Equal(starts, want) {
		t.Errorf("started %v, want %v", starts, want)
	}
	w.verbs = nil
	w.must(delta(2, stopped(placed("a"))))
	s := w.want("a", "STOPPED")
	if s.GetMessage() != "scaled down" || s.GetReady() {
		t.Errorf("status is %v", s)
	}
	if want := []string{"stop main.0", "stop proxy.0"}; !slices.Equal(w.verbs[:2], want) {
		t.Errorf("stopped by %v, want %v first", w.verbs, want)
	}
	if w.cleaned["a"] != 1 {
		t.Errorf("cleaned %d times", w.cleaned["a"])
	}
}

func TestSidecarsServeMainToItsEnd(t *testing.T) {
	w := newWorld(t)
	w.connect()
	r := service(mainTask(), wasmTask("proxy", dhowv1.TaskRole_TASK_ROLE_SIDECAR))
	w.must(full(1, r, placed("a")))
	if err := w.core.Assign(w.now, delta(2, stopped(placed("a")))); err != nil {
		t.Fatal(err)
	}
	actions := w.core.Ready(w.now).Actions
	if len(actions) != 1 || actions[0].Verb != Stop || actions[0].ID.Task != "main" {
		t.Fatalf("actions are %+v, want main's stop alone", actions)
	}
	w.do(actions[0])
	w.run()
	if list, _ := w.rt.List(t.Context()); slices.ContainsFunc(list, func(s runtime.Status) bool { return s.Running }) {
		t.Errorf("left are %v", list)
	}
}

func TestRestartsInPlaceBackOffThenFail(t *testing.T) {
	w := newWorld(t)
	w.connect()
	began := w.now
	w.must(full(1, restart(service(mainTask("exit=3")), attempts(3)), placed("a")))
	var at []time.Duration
	for n := 1; !spec.Terminal(w.status["a"].GetState()); {
		if w.rt.Starts("a", "main") > n-1 {
			at = append(at, w.now.Sub(began))
			n++
		}
		w.now = w.core.Wake()
		w.core.Tick(w.now)
		w.run()
	}
	if want := []time.Duration{0, time.Second, 3 * time.Second}; !slices.Equal(at, want) {
		t.Errorf("started at %v, want %v and a last one at 7s", at, want)
	}
	if got := w.now.Sub(began); got != 7*time.Second || started(t, w, "a") != 4 {
		t.Errorf("failed after %v and %d starts, want 7s and 4", got, started(t, w, "a"))
	}
	s := w.want("a", "FAILED")
	if s.GetReason() != "Exited" || !strings.Contains(s.GetMessage(), `task "main" ended with exit code 3; restarted 3 times`) {
		t.Errorf("reason is %s: %s", s.GetReason(), s.GetMessage())
	}
	if ts := s.GetTasks()[0]; ts.GetRestarts() != 3 || ts.GetExitCode() != 3 {
		t.Errorf("task is %v", ts)
	}
	w.advance(time.Second)
	if want := []string{"Restarting", "Restarting", "Restarting", "Failed"}; !slices.Equal(slices.DeleteFunc(w.reasons(), func(s string) bool { return s == "Started" }), want) {
		t.Errorf("events are %v, want %v", w.reasons(), want)
	}
}

func TestRestartsCountAnewAfterALongRun(t *testing.T) {
	w := newWorld(t)
	w.connect()
	w.must(full(1, restart(service(mainTask()), attempts(1)), placed("a")))
	for n := range uint32(5) {
		w.advance(spec.DefaultResetAfter)
		w.rt.End(runtime.ID{Instance: "a", Task: "main", Run: n}, runtime.Exit{Code: 1, Reason: "Exited"})
		w.run()
		w.advance(2 * time.Second)
		w.want("a", "RUNNING")
	}
	w.rt.End(runtime.ID{Instance: "a", Task: "main", Run: 5}, runtime.Exit{Code: 1, Reason: "Exited"})
	w.run()
	w.want("a", "FAILED")
}

func TestAJobEndsWithItsMain(t *testing.T) {
	w := newWorld(t)
	w.connect()
	w.must(full(1, job(mainTask(), wasmTask("proxy", dhowv1.TaskRole_TASK_ROLE_SIDECAR)), placed("a"), placed("b")))
	w.rt.End(runtime.ID{Instance: "a", Task: "main"}, runtime.Exit{Code: 0, Reason: "Exited"})
	w.rt.End(runtime.ID{Instance: "b", Task: "main"}, runtime.Exit{Code: 1, Reason: "Exited"})
	w.run()
	w.want("a", "SUCCEEDED")
	w.want("b", "FAILED")
	if list, _ := w.rt.List(t.Context()); len(list) != 0 {
		t.Errorf("left are %v", list)
	}
}

func TestOlderAndForeignAssignmentsChangeNothing(t *testing.T) {
	w := newWorld(t)
	w.connect()
	w.must(full(5, service(mainTask()), placed("a")))
	foreign := placed("x")
	foreign.Spec.Node = "n2"
	for name, c := range map[string]struct {
		a    *dhowv1.Assignments
		code spec.Code
		text string
	}{
		"older full":   {full(4, nil), spec.CodeConflict, "older than 5"},
		"older delta":  {delta(4, stopped(placed("a"))), spec.CodeConflict, "older than 5"},
		"another node": {delta(6, foreign), spec.CodeInvalid, `on node "n2"`},
		"no uid":       {delta(6, &dhowv1.Instance{Spec: &dhowv1.InstanceSpec{Node: "n1"}}), spec.CodeInvalid, "uid"},
	} {
		before, n := len(w.ledger), len(w.verbs)
		err := w.assign(c.a)
		if spec.CodeOf(err) != c.code || !strings.Contains(err.Error(), c.text) {
			t.Errorf("%s: %v", name, err)
		}
		if len(w.ledger) != before || len(w.verbs) != n || w.core.Generation() != 5 {
			t.Errorf("%s: it changed something", name)
		}
	}
	w.want("a", "RUNNING")
}

func TestAFullSetInPartsIsTakenWhole(t *testing.T) {
	w := newWorld(t)
	w.connect()
	w.must(full(1, service(mainTask()), placed("old")))
	first := full(2, nil, placed("a"))
	first.More = true
	w.must(first)
	if started(t, w, "a") != 0 {
		t.Error("a part of a full set was acted on")
	}
	w.must(full(2, nil, placed("b")))
	w.want("a", "RUNNING")
	w.want("b", "RUNNING")
	if w.core.Status("old") != nil {
		t.Error("what the full set lacks is still there")
	}
	first = full(3, nil, placed("c"))
	first.More = true
	w.must(first)
	w.core.Disconnected(w.now)
	w.connect()
	w.must(full(3, nil, placed("a"), placed("b")))
	if started(t, w, "c") != 0 {
		t.Error("half a set of an ended session was used")
	}
}

func TestAnEndIsReportedOnlyOnceTheLedgerHasIt(t *testing.T) {
	w := newWorld(t)
	w.connect()
	w.must(full(1, service(mainTask()), placed("a")))
	w.hold = true
	w.must(delta(2, stopped(placed("a"))))
	w.advance(time.Minute)
	if s := w.status["a"]; spec.Terminal(s.GetState()) {
		t.Fatalf("%v was reported before it was durable", s.GetState())
	}
	w.core.Stored(w.now, w.held[len(w.held)-1])
	w.run()
	w.want("a", "STOPPED")
}

func TestReportsAreSentAgainUntilTaken(t *testing.T) {
	w := newWorld(t)
	w.connect()
	w.reportErr = errDown
	w.must(full(1, service(mainTask()), placed("a"), placed("b")))
	w.advance(time.Minute)
	if len(w.reports) != 0 {
		t.Fatal("nothing was to arrive")
	}
	w.reportErr = nil
	w.advance(resendMost)
	w.want("a", "RUNNING")
	w.want("b", "RUNNING")
	if !slices.Contains(w.reasons(), "Started") {
		t.Errorf("events were lost: %v", w.reasons())
	}
}

func TestRefusedInstancesAreStoppedAndForgotten(t *testing.T) {
	w := newWorld(t)
	w.connect()
	w.refuse = []*dhowv1.Ref{{Namespace: "default", Name: "web-a", Uid: "a"}}
	w.must(full(1, service(mainTask()), placed("a"), placed("b")))
	if w.core.Status("a") != nil || w.core.Status("b") == nil {
		t.Error("not exactly the refused instance was forgotten")
	}
	if list, _ := w.rt.List(t.Context()); len(list) != 1 || list[0].ID.Instance != "b" {
		t.Errorf("running are %v", list)
	}
}

func TestPermanentErrorsFailAtOnceOthersAreRetried(t *testing.T) {
	w := newWorld(t)
	w.connect()
	broken := service(mainTask("prepare-error=no such export", "permanent"))
	w.must(full(1, broken, placed("a")))
	s := w.want("a", "FAILED")
	if s.GetReason() != "BadModule" || !strings.Contains(s.GetMessage(), "no such export") {
		t.Errorf("reason is %s: %s", s.GetReason(), s.GetMessage())
	}

	w = newWorld(t)
	w.connect()
	w.must(full(1, restart(service(mainTask("prepare-error=no server")), attempts(1)), placed("a")))
	w.advance(10 * time.Minute)
	s = w.want("a", "PREPARING")
	if s.GetReason() != "BadModule" || !strings.Contains(s.GetMessage(), "no server") || s.GetTasks()[0].GetRestartAt() == nil {
		t.Errorf("status is %v", s)
	}
	if n := len(w.reasons()); n != 1 || w.reasons()[0] != "BackOff" {
		t.Errorf("events are %v, want one BackOff", w.reasons())
	}
	w.must(delta(2, stopped(placed("a"))))
	w.want("a", "STOPPED")

	w = newWorld(t)
	w.connect()
	w.must(full(1, restart(service(mainTask("start-error=port in use")), attempts(2)), placed("a")))
	w.advance(time.Minute)
	if s = w.want("a", "FAILED"); s.GetReason() != "StartFailed" || !strings.Contains(s.GetMessage(), "port in use") {
		t.Errorf("status is %v", s)
	}
}

func TestWhatCannotRunHereFailsWithItsReason(t *testing.T) {
	image := &dhowv1.Task{Name: "main", Source: &dhowv1.Task_Image{Image: &dhowv1.ImageSource{Runtime: "io.containerd.runc.v2"}}}
	for name, c := range map[string]struct {
		r    *dhowv1.Revision
		want string
	}{
		"runtime":  {service(image), "NoRuntime"},
		"no main":  {service(), "BadTemplate"},
		"two main": {service(mainTask(), wasmTask("b", dhowv1.TaskRole_TASK_ROLE_MAIN)), "BadTemplate"},
		"twice":    {service(mainTask(), wasmTask("main", dhowv1.TaskRole_TASK_ROLE_INIT)), "BadTemplate"},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.connect()
			w.must(full(1, c.r, placed("a")))
			if s := w.want("a", "FAILED"); s.GetReason() != c.want {
				t.Errorf("reason is %s, want %s", s.GetReason(), c.want)
			}
		})
	}
}

func TestBackoffNeverOverflows(t *testing.T) {
	for n := range uint32(200) {
		if got := backoff(time.Second, time.Minute, n); got < 0 || got > time.Minute {
			t.Fatalf("wait %d is %v", n, got)
		}
	}
	if got := backoff(1<<62, 1<<62, 2); got != 1<<62 {
		t.Errorf("got %v", got)
	}
	p := policyOf(&dhowv1.RestartPolicy{Backoff: durationpb.New(-time.Second)}, 0)
	if p.wait(3) != 0 {
		t.Errorf("a negative back-off waits %v", p.wait(3))
	}
}

func TestStopDuringPrepareCancelsIt(t *testing.T) {
	w := newWorld(t)
	w.connect()
	if err := w.core.Assign(w.now, full(1, service(mainTask()), placed("a"))); err != nil {
		t.Fatal(err)
	}
	prepare := w.core.Ready(w.now).Actions[0]
	if err := w.core.Assign(w.now, delta(2, stopped(placed("a")))); err != nil {
		t.Fatal(err)
	}
	r := w.core.Ready(w.now)
	if len(r.Actions) != 1 || r.Actions[0].Verb != Cancel || r.Actions[0].ID != prepare.ID {
		t.Fatalf("actions are %+v, want a cancel", r.Actions)
	}
	w.core.Stored(w.now, r.Mark)
	w.core.Done(w.now, Result{Verb: Prepare, ID: prepare.ID, Err: errDown})
	w.run()
	w.want("a", "STOPPED")
	if started(t, w, "a") != 0 {
		t.Error("it was started")
	}
}

func TestManyRevisionsDoNotPileUp(t *testing.T) {
	w := newWorld(t)
	w.connect()
	w.must(full(1, nil))
	for n := range uint64(3 * maxUnused) {
		r, in := proto.CloneOf(service(mainTask())), placed("a")
		r.Number, in.Spec.Revision, in.Meta.Uid = n, n, "u"
		a := delta(2+n, in)
		a.Revisions = []*dhowv1.Revision{r}
		w.must(a)
		gone := delta(2 + n)
		gone.Removed = []*dhowv1.Ref{{Uid: "u"}}
		w.must(gone)
	}
	if n := len(w.core.revisions); n > maxUnused {
		t.Errorf("%d revisions are kept", n)
	}
	// One that was dropped and not sent again: the session has to be renewed.
	in := placed("b")
	in.Spec.Revision = 0
	if err := w.assign(delta(1e6, in)); err == nil || !strings.Contains(err.Error(), "no longer kept") {
		t.Errorf("error is %v", err)
	}
	w.core.Disconnected(w.now)
	w.connect()
	r := proto.CloneOf(service(mainTask()))
	r.Number = 0
	w.must(full(1e6, r, in))
	w.want("b", "RUNNING")
}
