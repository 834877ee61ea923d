package wasm

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"path"
	"sync"
	"time"

	"dhow.dev/dhow/node/runtime"
	dhowv1 "dhow.dev/dhow/proto/dhow/v1"
	"dhow.dev/dhow/wasmrt"
	"dhow.dev/dhow/wasmrt/host"
)

// run is one run of a task: prepared, then running, then ended.
type run struct {
	r    *Runtime
	done chan struct{} // closed when it has ended
	exit runtime.Exit  // valid then

	once sync.Once // see end

	starting sync.Mutex // held while the guest is made

	mu      sync.Mutex
	task    *runtime.Task  // fixed from its start
	module  *wasmrt.Module // until free
	guest   guest          // from its start
	started runtime.Started

	// From its start, for the guests' use.
	stdout, stderr io.Writer // of the task, fit for several
	policy         host.Policy
	release        func() // what the policy holds
}

// guest is what runs: a command, a service, or what is called.
type guest interface {
	// stop returns when it has ended, or when ctx is done.
	stop(ctx context.Context, grace time.Duration) error
	stats() runtime.Stats
}

// start begins the run, unless it was begun before.
func (t *run) start(ctx context.Context, task *runtime.Task) (runtime.Started, error) {
	t.starting.Lock()
	defer t.starting.Unlock()
	t.mu.Lock()
	begun, gone := t.guest != nil, t.module == nil
	if !begun {
		t.task, t.stdout, t.stderr = task, shared(task.Stdout), shared(task.Stderr)
	}
	t.mu.Unlock()
	switch {
	case begun:
		return t.started, nil
	case gone:
		return runtime.Started{}, fmt.Errorf("task %s of %s was removed", task.ID.Task, task.Name)
	}
	var err error
	if t.policy, t.release, err = t.grant(); err != nil {
		return runtime.Started{}, err
	}
	// The guest's own code may run now, and take its time.
	g, started, err := t.begin(ctx)
	if err != nil {
		t.release()
		return runtime.Started{}, err
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.guest, t.started = g, started
	if t.r.ctx.Err() != nil { // Close may not have seen it
		go func() { _ = g.stop(context.WithoutCancel(ctx), 0) }()
	}
	return started, nil
}

// begin makes the guest that the task asks for.
func (t *run) begin(ctx context.Context) (guest, runtime.Started, error) {
	w := t.task.Spec.GetWasm()
	k, err := kind(w, t.module)
	if err != nil {
		return nil, runtime.Started{}, err
	}
	c, err := t.guestConfig()
	if err != nil {
		return nil, runtime.Started{}, err
	}
	if isFunction(w) || k == dhowv1.Trigger_TRIGGER_HTTP {
		called, err := t.callee(ctx, k, c)
		if err != nil {
			return nil, runtime.Started{}, err
		}
		return t.serve(ctx, called)
	}
	if k == dhowv1.Trigger_TRIGGER_SERVICE {
		return t.startService(ctx, c)
	}
	g, err := t.startCommand(c, func() {})
	return g, runtime.Started{}, err
}

// callee makes what answers calls.
func (t *run) callee(ctx context.Context, k dhowv1.Trigger, c wasmrt.Config) (callee, error) {
	c.Stdin = nil
	switch k {
	case dhowv1.Trigger_TRIGGER_HTTP:
		return newCGI(t, c), nil
	case dhowv1.Trigger_TRIGGER_HTTP_WASM:
		return newHandler(ctx, t, c)
	case dhowv1.Trigger_TRIGGER_CALL:
		return newExports(ctx, t, c)
	case dhowv1.Trigger_TRIGGER_EXTISM:
		return newPlugin(ctx, t, c)
	default:
		return newCommands(t, c), nil
	}
}

// log takes what the guest logs through host functions: to the task's standard
// error, with its level in front.
func (t *run) log(l host.Level, message string) {
	if t.stderr != nil {
		_, _ = fmt.Fprintf(t.stderr, "%s: %s\n", l, message) // as for a guest's own output, nobody is left to tell
	}
}

// with adds what the guest's host functions may do to a context.
func (t *run) with(ctx context.Context) context.Context { return host.With(ctx, t.policy) }

// end notes how the run ended; only the first call counts.
func (t *run) end(e runtime.Exit) {
	t.once.Do(func() {
		e.At = t.r.c.Now()
		t.exit = e
		t.release()
		t.free()
		close(t.done)
	})
}

// free gives the module back to the engine, which keeps it for the next run.
func (t *run) free() {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.module != nil {
		t.module.Close()
		t.module = nil
	}
}

func (t *run) stop(ctx context.Context, grace time.Duration) error {
	t.mu.Lock()
	g := t.guest
	t.mu.Unlock()
	if g == nil {
		return nil
	}
	return g.stop(ctx, grace)
}

func (t *run) running() bool {
	s, ok := t.status()
	return ok && s.Running
}

// status is false for a run that was never started.
func (t *run) status() (runtime.Status, bool) {
	t.mu.Lock()
	begun := t.guest != nil
	s := runtime.Status{ID: t.task.ID, Namespace: t.task.Namespace, Workload: t.task.Workload, Name: t.task.Name}
	t.mu.Unlock()
	select {
	case <-t.done:
		s.Exit, begun = t.exit, true
	default:
		s.Running = begun
	}
	return s, begun
}

func (t *run) stats() runtime.Stats {
	t.mu.Lock()
	g := t.guest
	t.mu.Unlock()
	if g == nil {
		return runtime.Stats{}
	}
	return g.stats()
}

// await waits for the end; a run that has ended is one whatever ctx says.
func (t *run) await(ctx context.Context) error {
	select {
	case <-t.done:
		return nil
	default:
	}
	select {
	case <-t.done:
		return nil
	case <-ctx.Done():
		return errors.Join(errors.New("the task has not ended yet"), ctx.Err())
	}
}

// arguments is argv: the module's name and the task's arguments.
func arguments(task *runtime.Task) []string {
	program := task.Spec.GetName()
	if f := task.Spec.GetWasm().GetFile(); f != "" {
		program = path.Base(f)
	}
	return append([]string{program}, task.Spec.GetArgs()...)
}

// environment is who the guest is, and then what its owner says.
func environment(task *runtime.Task) []string {
	env := []string{
		"DHOW_NAMESPACE=" + task.Namespace,
		"DHOW_WORKLOAD=" + task.Workload,
		"DHOW_INSTANCE=" + task.Name,
		fmt.Sprintf("DHOW_INDEX=%d", task.Index),
		"DHOW_TASK=" + task.ID.Task,
	}
	for _, v := range task.Spec.GetEnv() {
		env = append(env, v.GetName()+"="+v.GetValue())
	}
	return env
}

// input is the task's standard input for one run.
func input(task *runtime.Task) io.Reader {
	if len(task.Spec.GetStdin()) == 0 {
		return nil
	}
	return bytes.NewReader(task.Spec.GetStdin())
}

// shared makes a writer fit for many guests.
func shared(w io.Writer) io.Writer {
	if w == nil {
		return nil
	}
	return &locked{w: w}
}

// locked lets the guests of many requests write to one writer.
type locked struct {
	mu sync.Mutex
	w  io.Writer
}

// Write implements io.Writer.
func (l *locked) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.w.Write(p)
}
