package runtimetest

import (
	"context"
	"errors"
	"testing"
	"time"

	"dhow.dev/dhow/node/runtime"
)

func (s *suite) wait(t *testing.T, id runtime.ID) runtime.Exit {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	e, err := s.r.Wait(ctx, id)
	if err != nil {
		t.Fatalf("Wait(%v): %v", id, err)
	}
	return e
}

func (s *suite) stop(t *testing.T, id runtime.ID, grace time.Duration) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if err := s.r.Stop(ctx, id, grace); err != nil {
		t.Fatalf("Stop(%v): %v", id, err)
	}
}

// status finds the run in List.
func (s *suite) status(t *testing.T, id runtime.ID) (runtime.Status, bool) {
	t.Helper()
	all, err := s.r.List(t.Context())
	if err != nil {
		t.Fatalf("List: %v", err)
	}
	for _, st := range all {
		if st.ID == id {
			return st, true
		}
	}
	return runtime.Status{}, false
}

func (s *suite) running(t *testing.T, id runtime.ID) bool {
	t.Helper()
	st, ok := s.status(t, id)
	return ok && st.Running
}

func testPrepareTwice(t *testing.T, s *suite) {
	task, _ := s.task(t, RunForever, "a", 0)
	for range 2 {
		if err := s.r.Prepare(t.Context(), task); err != nil {
			t.Fatalf("Prepare: %v", err)
		}
	}
	if s.running(t, task.ID) {
		t.Error("a prepared task is listed as running")
	}
	s.start(t, task) // prepares a third time
	if err := s.r.Prepare(t.Context(), task); err != nil {
		t.Errorf("Prepare of a running task: %v", err)
	}
	if !s.running(t, task.ID) {
		t.Error("the task does not run")
	}
}

func testStartTwice(t *testing.T, s *suite) {
	task, _ := s.task(t, RunForever, "a", 0)
	first := s.start(t, task)
	second, err := s.r.Start(t.Context(), task)
	if err != nil {
		t.Fatalf("second Start: %v", err)
	}
	if len(first.Ports) != len(second.Ports) {
		t.Errorf("the second Start answered %v, the first %v", second, first)
	}
	short, out := s.run(t, Print, "b")
	s.wait(t, short.ID)
	before := out.out.String()
	if _, err := s.r.Start(t.Context(), short); err != nil {
		t.Errorf("Start of an ended run: %v", err)
	}
	if got := s.wait(t, short.ID); got.Code != 0 {
		t.Errorf("exit code %d after a second Start", got.Code)
	}
	if out.out.String() != before {
		t.Error("an ended run ran a second time")
	}
}

func testStopTwice(t *testing.T, s *suite) {
	task, _ := s.run(t, RunForever, "a")
	s.stop(t, task.ID, patience)
	s.stop(t, task.ID, patience)
	if s.running(t, task.ID) {
		t.Error("it still runs")
	}
}

func testRemoveTwice(t *testing.T, s *suite) {
	task, _ := s.run(t, RunForever, "a")
	s.stop(t, task.ID, patience)
	for range 2 {
		if err := s.r.Remove(t.Context(), task.ID); err != nil {
			t.Fatalf("Remove: %v", err)
		}
	}
	if _, ok := s.status(t, task.ID); ok {
		t.Error("it is still listed")
	}
	prepared, _ := s.task(t, RunForever, "b", 0)
	if err := s.r.Prepare(t.Context(), prepared); err != nil {
		t.Fatalf("Prepare: %v", err)
	}
	if err := s.r.Remove(t.Context(), prepared.ID); err != nil {
		t.Errorf("Remove of a prepared task: %v", err)
	}
}

func testExitCodes(t *testing.T, s *suite) {
	for p, code := range map[Program]int32{ExitZero: 0, ExitThree: 3} {
		task, _ := s.run(t, p, map[Program]string{ExitZero: "zero", ExitThree: "three"}[p])
		e := s.wait(t, task.ID)
		if e.Code != code || e.Reason != "Exited" || e.At.IsZero() {
			t.Errorf("exit is %+v, want code %d, reason Exited and a time", e, code)
		}
		st, ok := s.status(t, task.ID)
		if !ok || st.Running || st.Exit.Code != code {
			t.Errorf("List has %+v, %v", st, ok)
		}
		if st.Namespace != task.Namespace || st.Workload != task.Workload || st.Name != task.Name {
			t.Errorf("List has %+v, not whose run it is", st)
		}
	}
}

func testWaitShared(t *testing.T, s *suite) {
	task, _ := s.run(t, RunForever, "a")
	codes := make(chan runtime.Exit, 3)
	for range cap(codes) {
		go func() {
			e, _ := s.r.Wait(t.Context(), task.ID)
			codes <- e
		}()
	}
	s.stop(t, task.ID, patience)
	for range cap(codes) {
		if e := <-codes; e.Reason == "" {
			t.Errorf("one of several waits answered %+v", e)
		}
	}
	s.wait(t, task.ID) // at once, and again
	s.wait(t, task.ID)
}

func testStopAsks(t *testing.T, s *suite) {
	task, _ := s.run(t, RunForever, "a")
	s.stop(t, task.ID, patience) // a kill would come too late for the test
	if e := s.wait(t, task.ID); e.Reason == "Killed" {
		t.Errorf("it was killed, not asked: %+v", e)
	}
}

func testStopKills(t *testing.T, s *suite) {
	task, _ := s.run(t, Stubborn, "a")
	s.stop(t, task.ID, 10*time.Millisecond)
	if e := s.wait(t, task.ID); e.Reason != "Killed" || e.Code == 0 {
		t.Errorf("exit is %+v, want Killed with a code that is not 0", e)
	}
	if s.running(t, task.ID) {
		t.Error("Stop returned and it still runs")
	}
}

func testOutput(t *testing.T, s *suite) {
	task, out := s.run(t, Print, "a")
	s.wait(t, task.ID)
	if got := out.out.String(); got != wholeOutput() {
		t.Errorf("after Wait there are %d bytes of standard output, want %d", len(got), len(wholeOutput()))
	}
	if got := out.err.String(); got != "last words" {
		t.Errorf("standard error is %q", got)
	}
}

func testBroken(t *testing.T, s *suite) {
	task, _ := s.task(t, Broken, "a", 0)
	err := s.r.Prepare(t.Context(), task)
	e, ok := errors.AsType[*runtime.Error](err)
	if !ok || !e.Permanent || e.Reason == "" || e.Error() == "" {
		t.Fatalf("Prepare answered %#v, want a permanent *runtime.Error with a reason", err)
	}
	if err := s.r.Remove(t.Context(), task.ID); err != nil {
		t.Errorf("Remove after a failed Prepare: %v", err)
	}
}

func testCancelledWait(t *testing.T, s *suite) {
	task, _ := s.run(t, RunForever, "a")
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	go func() {
		_, err := s.r.Wait(ctx, task.ID)
		done <- err
	}()
	cancel()
	if err := <-done; !errors.Is(err, context.Canceled) {
		t.Errorf("Wait answered %v", err)
	}
	if !s.running(t, task.ID) {
		t.Error("the run ended with the wait")
	}
}

func testCancelledStart(t *testing.T, s *suite) {
	ctx, cancel := context.WithCancel(t.Context())
	task, _ := s.task(t, RunForever, "a", 0)
	if err := s.r.Prepare(ctx, task); err != nil {
		t.Fatalf("Prepare: %v", err)
	}
	if _, err := s.r.Start(ctx, task); err != nil {
		t.Fatalf("Start: %v", err)
	}
	cancel() // the verb is over: what it started goes on
	if !s.running(t, task.ID) {
		t.Error("the run ended with the context of Start")
	}
	other, _ := s.task(t, RunForever, "b", 0)
	if err := s.r.Prepare(t.Context(), other); err != nil {
		t.Fatalf("Prepare: %v", err)
	}
	if _, err := s.r.Start(ctx, other); err == nil {
		s.stop(t, other.ID, patience)
	} else if s.running(t, other.ID) {
		t.Errorf("Start answered %v, and it runs", err)
	}
	if err := s.r.Remove(t.Context(), other.ID); err != nil {
		t.Errorf("Remove after a cancelled Start: %v", err)
	}
}

func testUnknown(t *testing.T, s *suite) {
	id := runtime.ID{Instance: "nobody", Task: "main", Run: 7}
	s.stop(t, id, time.Second)
	if err := s.r.Remove(t.Context(), id); err != nil {
		t.Errorf("Remove: %v", err)
	}
	if _, err := s.r.Wait(t.Context(), id); !errors.Is(err, runtime.ErrUnknown) {
		t.Errorf("Wait answered %v, want ErrUnknown", err)
	}
	if _, err := s.r.Stats(t.Context(), id); !errors.Is(err, runtime.ErrUnknown) {
		t.Errorf("Stats answered %v, want ErrUnknown", err)
	}
}
