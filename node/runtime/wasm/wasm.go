// Package wasm is the runtime for wasm modules: it turns a task into runs of
// wasmrt. What is known of tasks and artifacts is here, what is known of wasm
// is in wasmrt.
package wasm

import (
	"context"
	"log/slog"
	"time"

	"dhow.dev/dhow/node/runtime"
	"dhow.dev/dhow/wasmrt"
)

// Name of the runtime: what a node offers and a task needs.
const Name = "wasm"

// Artifacts gives the file of an artifact; it stays until release is called.
type Artifacts interface {
	Open(ctx context.Context, digest string) (path string, release func(), err error)
}

// Config configures a Runtime.
type Config struct {
	Artifacts Artifacts
	// Dir keeps machine code. Empty: none is kept.
	Dir string
	// Engine is shared by several runtimes of one process; nil makes one of
	// its own from Dir.
	Engine *wasmrt.Engine
	Logger *slog.Logger
	Now    func() time.Time // default time.Now
}

// Runtime runs wasm tasks in this process.
type Runtime struct{}

var _ runtime.Runtime = (*Runtime)(nil)

// New makes a Runtime. Close it.
func New(ctx context.Context, c Config) (*Runtime, error) { return &Runtime{}, nil }

// Close stops all tasks and frees what the runtime holds.
func (r *Runtime) Close() error { return nil }

// Name is "wasm".
func (r *Runtime) Name() string { return Name }

// Prepare fetches and compiles the task's module.
func (r *Runtime) Prepare(ctx context.Context, t *runtime.Task) error { return runtime.ErrNotSupported }

// Start begins a run.
func (r *Runtime) Start(ctx context.Context, t *runtime.Task) (runtime.Started, error) {
	return runtime.Started{}, runtime.ErrNotSupported
}

// Wait returns when the run has ended.
func (r *Runtime) Wait(ctx context.Context, id runtime.ID) (runtime.Exit, error) {
	return runtime.Exit{}, runtime.ErrNotSupported
}

// Stop ends a run.
func (r *Runtime) Stop(ctx context.Context, id runtime.ID, grace time.Duration) error { return nil }

// Remove forgets an ended run.
func (r *Runtime) Remove(ctx context.Context, id runtime.ID) error { return nil }

// List tells the runs of this process. None outlives it.
func (r *Runtime) List(ctx context.Context) ([]runtime.Status, error) { return nil, nil }

// Stats tells what a run uses.
func (r *Runtime) Stats(ctx context.Context, id runtime.ID) (runtime.Stats, error) {
	return runtime.Stats{}, runtime.ErrNotSupported
}

// Exec is not possible beside a wasm guest.
func (r *Runtime) Exec(ctx context.Context, id runtime.ID, e runtime.Exec) (runtime.Exit, error) {
	return runtime.Exit{}, runtime.ErrNotSupported
}
