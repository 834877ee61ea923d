package runtimetest

import (
	"errors"
	"fmt"
	"sync"
	"testing"

	"dhow.dev/dhow/node/runtime"
)

func testRuns(t *testing.T, s *suite) {
	first, _ := s.task(t, ExitThree, "a", 0)
	s.start(t, first)
	s.wait(t, first.ID)
	second, _ := s.task(t, RunForever, "a", 1)
	s.start(t, second)
	if e := s.wait(t, first.ID); e.Code != 3 {
		t.Errorf("the first run's exit became %+v", e)
	}
	if err := s.r.Remove(t.Context(), first.ID); err != nil {
		t.Fatalf("Remove: %v", err)
	}
	if !s.running(t, second.ID) {
		t.Error("removing the first run ended the second")
	}
}

func testRestart(t *testing.T, s *suite) {
	task, _ := s.run(t, RunForever, "a")
	ended, _ := s.run(t, ExitThree, "b")
	s.wait(t, ended.ID)
	s.shut(t)
	s.open(t)
	st, ok := s.status(t, task.ID)
	if !s.h.Survives {
		if ok && st.Running {
			t.Fatal("a run of an ended process is listed as running")
		}
		// The agent starts it again as the next run.
		next, _ := s.task(t, RunForever, "a", 1)
		s.start(t, next)
		if !s.running(t, next.ID) {
			t.Error("it does not run again")
		}
		return
	}
	if !ok || !st.Running {
		t.Fatalf("after a restart List has %+v, %v", st, ok)
	}
	if st, ok := s.status(t, ended.ID); !ok || st.Running || st.Exit.Code != 3 {
		t.Errorf("after a restart List has %+v, %v for the ended run", st, ok)
	}
	s.stop(t, task.ID, patience)
	s.wait(t, task.ID)
	if e := s.wait(t, ended.ID); e.Code != 3 {
		t.Errorf("the ended run's exit became %+v", e)
	}
}

func testStats(t *testing.T, s *suite) {
	task, _ := s.run(t, RunForever, "a")
	st, err := s.r.Stats(t.Context(), task.ID)
	if err != nil && !errors.Is(err, runtime.ErrNotSupported) {
		t.Fatalf("Stats: %v", err)
	}
	if st.CPU < 0 {
		t.Errorf("it used %v of CPU", st.CPU)
	}
}

func testExec(t *testing.T, s *suite) {
	task, _ := s.run(t, RunForever, "a")
	var out buffer
	e, err := s.r.Exec(t.Context(), task.ID, runtime.Exec{Args: []string{"echo", "hello"}, Stdout: &out})
	if errors.Is(err, runtime.ErrNotSupported) {
		t.Skip(err)
	}
	if err != nil || e.Code != 0 {
		t.Errorf("Exec: %+v, %v", e, err)
	}
	if !s.running(t, task.ID) {
		t.Error("the task ended with the command beside it")
	}
}

func testMany(t *testing.T, s *suite) {
	const n = 50
	var wg sync.WaitGroup
	tasks := make([]*runtime.Task, n)
	for k := range n {
		p := RunForever
		if k%2 == 1 {
			p = ExitThree
		}
		tasks[k], _ = s.task(t, p, fmt.Sprintf("i%d", k), 0)
	}
	for _, task := range tasks {
		wg.Go(func() {
			if err := s.r.Prepare(t.Context(), task); err != nil {
				t.Errorf("Prepare: %v", err)
			} else if _, err := s.r.Start(t.Context(), task); err != nil {
				t.Errorf("Start: %v", err)
			}
		})
	}
	wg.Wait()
	for k, task := range tasks {
		if k%2 == 1 {
			if e := s.wait(t, task.ID); e.Code != 3 {
				t.Errorf("task %d: %+v", k, e)
			}
		}
	}
	for k, task := range tasks {
		if got := s.running(t, task.ID); got != (k%2 == 0) {
			t.Errorf("task %d running: %v", k, got)
		}
	}
	for _, task := range tasks {
		wg.Go(func() {
			if err := s.r.Stop(t.Context(), task.ID, patience); err != nil {
				t.Errorf("Stop: %v", err)
			}
			if err := s.r.Remove(t.Context(), task.ID); err != nil {
				t.Errorf("Remove: %v", err)
			}
		})
	}
	wg.Wait()
	if all, err := s.r.List(t.Context()); err != nil || len(all) != 0 {
		t.Errorf("List has %d runs, %v", len(all), err)
	}
}
