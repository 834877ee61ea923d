package wasm

import (
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
)

// run is one run of a task: prepared, then running, then ended.
type run struct {
	r    *Runtime
	task *runtime.Task
	done chan struct{} // closed when it has ended
	exit runtime.Exit  // valid then

	once sync.Once // see end

	mu      sync.Mutex
	module  *wasmrt.Module // until free
	guest   guest          // from its start
	started runtime.Started
}

// guest is what runs: a command or an HTTP server.
type guest interface {
	// stop returns when it has ended, or when ctx is done.
	stop(ctx context.Context, grace time.Duration) error
	stats() runtime.Stats
}

// start begins the run, unless it was begun before.
func (t *run) start(ctx context.Context, task *runtime.Task) (runtime.Started, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.guest != nil {
		return t.started, nil
	}
	if t.module == nil {
		return runtime.Started{}, fmt.Errorf("task %s of %s was removed", task.ID.Task, task.Name)
	}
	var err error
	if task.Spec.GetWasm().GetTrigger() == dhowv1.Trigger_TRIGGER_HTTP {
		t.guest, t.started, err = t.startHTTP(ctx, task)
	} else {
		t.guest, err = t.startCommand(task)
	}
	return t.started, err
}

// end notes how the run ended; only the first call counts.
func (t *run) end(e runtime.Exit) {
	t.once.Do(func() {
		e.At = t.r.c.Now()
		t.exit = e
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
	t.mu.Unlock()
	s := runtime.Status{ID: t.task.ID, Namespace: t.task.Namespace, Workload: t.task.Workload, Name: t.task.Name}
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

// command is a guest whose _start runs once.
type command struct {
	run      *run
	instance *wasmrt.Instance
}

func (t *run) startCommand(task *runtime.Task) (guest, error) {
	i, err := t.module.Start(t.r.ctx, wasmrt.Config{
		Args:   arguments(task),
		Env:    environment(task),
		Stdin:  input(task),
		Stdout: task.Stdout,
		Stderr: task.Stderr,
		Limits: wasmrt.Limits{Memory: task.Spec.GetResources().GetLimits().GetMemory()},
	})
	if err != nil {
		return nil, explain(name(task.Spec.GetWasm()), err)
	}
	go func() {
		e := i.Wait()
		t.end(runtime.Exit{Code: int32(e.Code), Reason: e.Reason, Message: e.Message}) //nolint:gosec // wraps as a process's code does
	}()
	return &command{run: t, instance: i}, nil
}

func (c *command) stop(ctx context.Context, _ time.Duration) error {
	c.instance.Stop()
	return c.run.await(ctx)
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

func (c *command) stats() runtime.Stats {
	return runtime.Stats{CPU: c.instance.Busy(), Memory: c.instance.Memory()}
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
