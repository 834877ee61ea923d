// Package runtimetest is the conformance suite that every Runtime passes. In
// the room: what the agent relies on, as tests against the interface alone.
package runtimetest

import (
	"bytes"
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"dhow.dev/dhow/node/runtime"
	dhowv1 "dhow.dev/dhow/proto/dhow/v1"
)

// Program is what a task of the suite does.
type Program int

// The programs that a Harness has to provide.
const (
	// RunForever runs until it is stopped; it ends when asked to.
	RunForever Program = iota
	// Stubborn runs until it is killed.
	Stubborn
	// ExitZero ends with code 0 at once, ExitThree with 3.
	ExitZero
	ExitThree
	// Print writes Lines lines "out N\n" (N from 0) to standard output, then
	// "last words" without a line end to standard error, and ends with code 0.
	Print
	// Broken can never be prepared.
	Broken
	// Functions runs until it is stopped and has the functions "echo", which
	// answers its data, "fail", which says that it failed, and "wait", which
	// returns only when it is interrupted; of runtimes that are Callers.
	Functions
)

// Lines is what Print prints.
const Lines = 1000

// Harness connects the suite to a runtime.
type Harness struct {
	// New makes a runtime on the directory. The suite calls it a second time
	// on the same one, as a restarted agent does, after closing the first.
	New func(t *testing.T, dir string) runtime.Runtime
	// Close ends what New made, as the end of the agent's process does; may
	// be nil.
	Close func(t *testing.T, r runtime.Runtime)
	// Task is the spec that makes a task do the program; nil: this runtime has
	// no such program, and the suite skips what needs it.
	Task func(p Program) *dhowv1.Task
	// Survives: runs go on while the agent restarts.
	Survives bool
}

// Run runs the suite.
func Run(t *testing.T, h Harness) {
	t.Helper()
	for _, c := range []struct {
		name string
		test func(*testing.T, *suite)
	}{
		{"PrepareIsIdempotent", testPrepareTwice},
		{"StartIsIdempotent", testStartTwice},
		{"StopIsIdempotent", testStopTwice},
		{"RemoveIsIdempotent", testRemoveTwice},
		{"ExitCodes", testExitCodes},
		{"WaitIsSharedAndLasting", testWaitShared},
		{"StopAsks", testStopAsks},
		{"StopKillsAfterGrace", testStopKills},
		{"OutputIsWhole", testOutput},
		{"BrokenIsPermanent", testBroken},
		{"CancelledWaitLeavesTheRun", testCancelledWait},
		{"CancelledPrepareAndStart", testCancelledStart},
		{"UnknownRuns", testUnknown},
		{"RunsOfATaskAreSeparate", testRuns},
		{"ListAfterRestart", testRestart},
		{"Stats", testStats},
		{"Exec", testExec},
		{"CallAnswers", testCall},
		{"CallRefuses", testCallRefused},
		{"CallIsInterrupted", testCallInterrupted},
		{"CallsAtOnce", testCalls},
		{"ManyTasks", testMany},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := &suite{h: h, dir: t.TempDir()}
			s.open(t)
			t.Cleanup(func() { s.close(t) })
			c.test(t, s)
		})
	}
}

// patience is how long the suite waits for what must happen.
const patience = 60 * time.Second

type suite struct {
	h   Harness
	dir string
	r   runtime.Runtime
	all []runtime.ID
}

func (s *suite) open(t *testing.T) {
	t.Helper()
	s.r = s.h.New(t, s.dir)
}

func (s *suite) close(t *testing.T) {
	t.Helper()
	for _, id := range s.all {
		if err := s.r.Stop(context.WithoutCancel(t.Context()), id, 0); err != nil {
			t.Errorf("Stop at the end of the test: %v", err)
		}
	}
	s.shut(t)
}

func (s *suite) shut(t *testing.T) {
	if s.h.Close != nil {
		s.h.Close(t, s.r)
	}
}

// task makes a task of its own instance.
func (s *suite) task(t *testing.T, p Program, name string, run uint32) (*runtime.Task, *output) {
	t.Helper()
	spec := s.h.Task(p)
	if spec == nil {
		t.Skip("the runtime has no program for this")
	}
	out := &output{}
	id := runtime.ID{Instance: "uid-" + name, Task: "main", Run: run}
	s.all = append(s.all, id)
	return &runtime.Task{
		ID: id, Namespace: "default", Name: name, Workload: "w", Spec: spec,
		Address: "127.0.0.1", Dir: t.TempDir(), Stdout: &out.out, Stderr: &out.err,
	}, out
}

// run prepares and starts a task.
func (s *suite) run(t *testing.T, p Program, name string) (*runtime.Task, *output) {
	t.Helper()
	task, out := s.task(t, p, name, 0)
	s.start(t, task)
	return task, out
}

func (s *suite) start(t *testing.T, task *runtime.Task) runtime.Started {
	t.Helper()
	if err := s.r.Prepare(t.Context(), task); err != nil {
		t.Fatalf("Prepare: %v", err)
	}
	started, err := s.r.Start(t.Context(), task)
	if err != nil {
		t.Fatalf("Start: %v", err)
	}
	return started
}

// output is where a task writes; safe to read at any time.
type output struct{ out, err buffer }

type buffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *buffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

// wholeOutput is what Print writes to standard output.
func wholeOutput() string {
	var b bytes.Buffer
	for n := range Lines {
		fmt.Fprintf(&b, "out %d\n", n)
	}
	return b.String()
}
