package agent

import (
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	"dhow.dev/dhow/node/runtime"
	dhowv1 "dhow.dev/dhow/proto/dhow/v1"
)

func TestARestartedAgentContinues(t *testing.T) {
	w := newWorld(t)
	w.connect()
	w.must(full(1, service(mainTask(), wasmTask("one", dhowv1.TaskRole_TASK_ROLE_INIT, "exit=0")), placed("a")))
	w.boot()
	w.connect()
	w.must(full(1, service(mainTask()), w.withStatus(placed("a"))))
	w.want("a", "RUNNING")
	if started(t, w, "a") != 1 || w.rt.Starts("a", "one") != 1 {
		t.Errorf("main was started %d times, init %d times", started(t, w, "a"), w.rt.Starts("a", "one"))
	}
	// It still notices the end.
	w.must(delta(2, stopped(placed("a"))))
	w.want("a", "STOPPED")
}

func TestANodeBootsWithoutAnyServer(t *testing.T) {
	w := newWorld(t)
	w.connect()
	w.must(full(1, service(mainTask(), wasmTask("one", dhowv1.TaskRole_TASK_ROLE_INIT, "exit=0")), placed("a"), placed("b")))
	w.must(delta(2, stopped(placed("b"))))
	w.rt.Crash()
	w.boot()
	if s := w.core.Status("a"); state(s) != "RUNNING" || !s.GetReady() {
		t.Errorf("without a server a is %s", state(s))
	}
	if started(t, w, "a") != 2 || started(t, w, "b") != 1 {
		t.Errorf("a was started %d times, b %d times", started(t, w, "a"), started(t, w, "b"))
	}
	w.connect()
	w.must(full(2, service(mainTask()), w.withStatus(placed("a")), w.withStatus(stopped(placed("b")))))
	if s := w.want("a", "RUNNING"); !s.GetReady() || s.GetTasks()[1].GetRestarts() != 1 {
		t.Errorf("status is %v", s)
	}
	w.want("b", "STOPPED")
}

func TestTheAgentsRestartsDoNotCount(t *testing.T) {
	w := newWorld(t)
	w.connect()
	w.must(full(1, job(mainTask()), placed("a")))
	for range 10 {
		w.rt.Crash()
		w.boot()
		w.advance(time.Second)
	}
	w.connect()
	w.must(full(1, nil, w.withStatus(placed("a"))))
	w.want("a", "RUNNING")
}

func TestWhatMayRunOnceIsNotRunTwice(t *testing.T) {
	w := newWorld(t)
	w.connect()
	r := restart(job(mainTask()), &dhowv1.RestartPolicy{Mode: dhowv1.RestartMode_RESTART_MODE_NEVER})
	w.hold = true
	w.must(full(1, r, placed("a")))
	if started(t, w, "a") != 0 {
		t.Fatal("it was started before the ledger knew of it")
	}
	w.hold = false
	w.boot() // nothing was durable, so it never was
	w.connect()
	w.must(full(1, r, placed("a")))
	w.want("a", "RUNNING")
	w.rt.Crash()
	w.boot()
	w.connect()
	w.must(full(1, r, w.withStatus(placed("a"))))
	if s := w.want("a", "FAILED"); s.GetReason() != "AgentStopped" || started(t, w, "a") != 1 {
		t.Errorf("reason is %s after %d starts", s.GetReason(), started(t, w, "a"))
	}
}

func TestAReturningNodeStopsWhatWasReplacedBeforeItReports(t *testing.T) {
	w := newWorld(t)
	w.connect()
	w.must(full(1, service(mainTask()), placed("a"), placed("b")))
	w.core.Disconnected(w.now)
	w.rt.End(runtime.ID{Instance: "a", Task: "main"}, runtime.Exit{Code: 1, Reason: "Exited"})
	w.run()
	w.advance(time.Minute) // restarted in place meanwhile: news that was not told
	w.reports = nil
	w.connect()
	if len(w.reports) != 0 {
		t.Fatalf("it reported %v before it knew what is still its own", w.reports)
	}
	lost := w.withStatus(placed("a"))
	lost.Spec.LostAt = timestamppb.New(w.now)
	lost.Meta.Version++
	w.verbs = nil
	if err := w.core.Assign(w.now, full(9, nil, lost, w.withStatus(placed("b")))); err != nil {
		t.Fatal(err)
	}
	r := w.core.Ready(w.now)
	if len(r.Actions) != 1 || r.Actions[0].Verb != Stop || r.Actions[0].ID.Instance != "a" {
		t.Errorf("the first actions are %+v", r.Actions)
	}
	for _, rep := range r.Reports {
		for _, one := range rep.Request.GetReports() {
			if one.GetRef().GetUid() == "a" && one.GetStatus().GetState() != dhowv1.InstanceState_INSTANCE_STATE_STOPPING {
				t.Errorf("a is reported as %v", one.GetStatus().GetState())
			}
		}
		w.take(rep)
	}
	w.do(r.Actions[0])
	w.core.Stored(w.now, r.Mark)
	w.run()
	w.want("a", "STOPPED")
	w.want("b", "RUNNING")
}

func TestGarbageIsRemoved(t *testing.T) {
	w := newWorld(t)
	for _, id := range []runtime.ID{{Instance: "ghost", Task: "main"}, {Instance: "ghost", Task: "side", Run: 3}} {
		task := &runtime.Task{ID: id, Spec: mainTask()}
		if err := w.rt.Prepare(t.Context(), task); err != nil {
			t.Fatal(err)
		}
		if _, err := w.rt.Start(t.Context(), task); err != nil {
			t.Fatal(err)
		}
	}
	w.boot()
	if list, _ := w.rt.List(t.Context()); len(list) != 0 {
		t.Errorf("left are %v", list)
	}
	if w.cleaned["ghost"] != 1 {
		t.Errorf("cleaned %d times", w.cleaned["ghost"])
	}
}

func TestAnInstanceWaitsForWhatIsLeftOfIt(t *testing.T) {
	w := newWorld(t)
	w.connect()
	w.must(full(1, service(mainTask()), placed("a")))
	w.ledger = nil
	w.core = NewCore(w.core.config)
	list, err := w.rt.List(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	w.waits = nil
	w.core.Restore(w.now, nil, []Found{{Runtime: "wasm", Status: list[0]}})
	if err := w.core.Assign(w.now, full(1, service(mainTask()), placed("a"))); err != nil {
		t.Fatal(err)
	}
	r := w.core.Ready(w.now)
	if len(r.Actions) != 1 || r.Actions[0].Verb != Stop {
		t.Fatalf("actions are %+v, want the old run's stop alone", r.Actions)
	}
	w.do(r.Actions[0])
	w.core.Stored(w.now, r.Mark)
	w.run()
	if started(t, w, "a") != 2 || state(w.core.Status("a")) != "RUNNING" {
		t.Errorf("it is %v after %d starts", w.core.Status("a"), started(t, w, "a"))
	}
}

func TestALostLedgerTakesUpTheServersNumbers(t *testing.T) {
	w := newWorld(t)
	w.connect()
	w.must(full(1, service(mainTask()), placed("a")))
	before := w.want("a", "RUNNING").GetSequence()
	w.ledger = nil
	w.boot() // what ran is garbage to it
	w.connect()
	w.must(full(1, service(mainTask()), w.withStatus(placed("a"))))
	s := w.want("a", "RUNNING")
	if s.GetSequence() <= before || !s.GetReady() || started(t, w, "a") != 2 {
		t.Errorf("status is %v after %d starts", s, started(t, w, "a"))
	}
}

func TestWhatTheServerKnowsAsEndedIsNotRunAgain(t *testing.T) {
	w := newWorld(t)
	w.connect()
	w.must(full(1, job(mainTask()), placed("a")))
	old := slices.Clone(w.ledger)
	w.rt.End(runtime.ID{Instance: "a", Task: "main"}, runtime.Exit{Reason: "Exited"})
	w.run()
	w.want("a", "SUCCEEDED")
	w.ledger = old // an older disk was put back
	w.boot()
	w.connect()
	w.must(full(1, job(mainTask()), w.withStatus(placed("a"))))
	if s := w.core.Status("a"); state(s) != "SUCCEEDED" {
		t.Errorf("it is %s now", state(s))
	}
	if list, _ := w.rt.List(t.Context()); len(list) != 0 {
		t.Errorf("running are %v", list)
	}
}

func TestRemovedInstancesLeaveNothing(t *testing.T) {
	w := newWorld(t)
	w.connect()
	w.must(full(1, service(mainTask()), placed("a"), placed("b")))
	gone := delta(2)
	gone.Removed = []*dhowv1.Ref{{Kind: dhowv1.Kind_KIND_INSTANCE, Namespace: "default", Name: "web-a"}}
	w.must(gone)
	w.core.Disconnected(w.now)
	w.connect()
	w.must(full(3, nil))
	if w.core.Len() != 0 || w.cleaned["a"] != 1 || w.cleaned["b"] != 1 {
		t.Errorf("%d instances are left; cleaned %v", w.core.Len(), w.cleaned)
	}
	w.boot()
	if w.core.Len() != 0 {
		t.Error("the ledger remembers what was removed")
	}
}

func TestARemovalInterruptedByACrashIsFinished(t *testing.T) {
	w := newWorld(t)
	w.connect()
	w.must(full(1, service(mainTask()), placed("a")))
	gone := delta(2)
	gone.Removed = []*dhowv1.Ref{{Uid: "a"}}
	if err := w.core.Assign(w.now, gone); err != nil {
		t.Fatal(err)
	}
	r := w.core.Ready(w.now) // recorded, not yet stopped
	for _, rec := range r.Records {
		w.ledger = append(w.ledger, proto.CloneOf(rec))
	}
	w.boot()
	if list, _ := w.rt.List(t.Context()); len(list) != 0 || w.core.Len() != 0 {
		t.Errorf("left are %v", list)
	}
}

func TestFewLedgerWrites(t *testing.T) {
	w := newWorld(t)
	w.connect()
	w.must(full(1, service(mainTask()), placed("a")))
	before := len(w.ledger)
	for n := range uint64(50) { // echoes of its own reports and others' news
		in := w.withStatus(placed("a"))
		in.Meta.Version = 2 + n
		w.must(delta(2+n, in))
		w.advance(time.Minute)
	}
	if got := len(w.ledger) - before; got != 0 {
		t.Errorf("%d records were written for nothing new", got)
	}
	if len(w.reports) != 1 {
		t.Errorf("%d reports were sent for nothing new: %s", len(w.reports), strings.Join(slices.Concat(w.reports...), ", "))
	}
}
