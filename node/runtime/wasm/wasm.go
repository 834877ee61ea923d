// Package wasm is the runtime for wasm modules: it turns a task into runs of
// wasmrt. What is known of tasks and artifacts is here, what is known of wasm
// is in wasmrt.
//
// A command task is one run of the module's _start. Preview 1 has no signals,
// so there is nothing a guest could do when it is asked to stop: Stop
// interrupts it at once, as SIGTERM ends a process that has no handler, with
// the reason Stopped and exit code 143. An HTTP task listens, and runs
// the module once for each request; Stop closes the listener, lets requests in
// flight end within the grace period (reason Stopped, code 0) and interrupts those
// that do not (reason Killed, code 137).
//
// A function is called, through Call and over HTTP at its port. What its module
// is, an Extism plugin, an http-wasm handler, typed exports or a command, is
// found from the module where the manifest does not say. Its copies begin from one
// snapshot, are lent to one call each, and share the task's CPU limit; memory and
// fuel are of each copy, and a fuel limit gives each call a fresh one. A service
// is a command with the task's ports as listening sockets.
//
// Runs live in this process and end with it: List knows none from before.
package wasm

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"dhow.dev/dhow/node/runtime"
	dhowv1 "dhow.dev/dhow/proto/dhow/v1"
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
	// Engine is shared by several runtimes of one process, and was made with
	// HostModules; nil makes one of its own from Dir.
	Engine *wasmrt.Engine
	// Directories that guests may mount, by name. Default none.
	Directories map[string]Directory
	// StoreDir keeps guests' key-value stores. Empty: none can have one.
	StoreDir string
	// PrivateNetworks, such as "10.0.0.0/8", are those that hosts on a guest's
	// allow-list may be in by their names.
	PrivateNetworks []string
	Logger          *slog.Logger
	Now             func() time.Time // default time.Now
}

// Runtime runs wasm tasks in this process.
type Runtime struct {
	c      Config
	engine *wasmrt.Engine
	ctx    context.Context //nolint:containedctx // of all runs, which outlive the verbs that start them
	cancel context.CancelFunc

	stores stores

	mu   sync.Mutex
	runs map[runtime.ID]*run
}

var (
	_ runtime.Runtime = (*Runtime)(nil)
	_ runtime.Caller  = (*Runtime)(nil)
)

// New makes a Runtime. Close it. The context is only its values: runs go on
// until Close.
func New(ctx context.Context, c Config) (*Runtime, error) {
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	if c.Now == nil {
		c.Now = time.Now //nolint:forbidigo // the default
	}
	r := &Runtime{c: c, engine: c.Engine, runs: map[runtime.ID]*run{}}
	r.stores = stores{dir: c.StoreDir, all: map[string]*store{}}
	r.ctx, r.cancel = context.WithCancel(context.WithoutCancel(ctx))
	if r.engine == nil {
		engine, err := wasmrt.NewEngine(r.ctx, wasmrt.Options{CacheDir: c.Dir, Now: c.Now, Host: HostModules()})
		if err != nil {
			r.cancel()
			return nil, fmt.Errorf("the wasm runtime: %w", err)
		}
		r.engine = engine
	}
	return r, nil
}

// Close stops all tasks and frees what the runtime holds.
func (r *Runtime) Close() error {
	ctx := context.WithoutCancel(r.ctx)
	r.cancel()
	r.mu.Lock()
	var all []*run
	for _, t := range r.runs {
		all = append(all, t)
	}
	r.mu.Unlock()
	for _, t := range all {
		_ = t.stop(ctx, 0) // ends with the run, as the context never does
		t.free()
	}
	if r.c.Engine != nil {
		return nil
	}
	return r.engine.Close()
}

// Name is "wasm".
func (r *Runtime) Name() string { return Name }

// Prepare fetches and compiles the task's module. A module that is compiled
// already needs no file.
func (r *Runtime) Prepare(ctx context.Context, t *runtime.Task) error {
	_, err := r.prepare(ctx, t)
	return err
}

func (r *Runtime) prepare(ctx context.Context, t *runtime.Task) (*run, error) {
	if have := r.find(t.ID); have != nil {
		return have, nil
	}
	if err := r.ctx.Err(); err != nil {
		return nil, fmt.Errorf("the wasm runtime is closed: %w", err)
	}
	m, err := r.compile(ctx, t.Spec.GetWasm())
	if err != nil {
		return nil, err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if have, ok := r.runs[t.ID]; ok {
		m.Close()
		return have, nil
	}
	p := &run{r: r, task: t, module: m, done: make(chan struct{})}
	r.runs[t.ID] = p
	return p, nil
}

func (r *Runtime) compile(ctx context.Context, w *dhowv1.WasmSource) (*wasmrt.Module, error) {
	digest := w.GetArtifact()
	if m, ok := r.engine.Lookup(digest); ok {
		return m, nil
	}
	path, release, err := r.c.Artifacts.Open(ctx, digest)
	if err != nil {
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		return nil, &runtime.Error{Reason: "NoArtifact", Err: fmt.Errorf("artifact %s: %w", digest, err)}
	}
	defer release() // the engine keeps what it has read
	m, err := r.engine.CompileFile(ctx, path)
	if err != nil {
		return nil, explain(name(w), err)
	}
	if m.Digest() != digest {
		m.Close()
		return nil, &runtime.Error{Reason: "NoArtifact", Err: fmt.Errorf("the file of artifact %s holds %s", digest, m.Digest())}
	}
	return m, nil
}

// name is what people call the module.
func name(w *dhowv1.WasmSource) string {
	if w.GetFile() != "" {
		return w.GetFile()
	}
	return w.GetArtifact()
}

// explain turns wasmrt's errors into the runtime's.
func explain(module string, err error) error {
	if e, ok := errors.AsType[*wasmrt.Error](err); ok {
		return &runtime.Error{Reason: e.Reason, Permanent: e.Permanent(), Err: fmt.Errorf("%s: %w", module, err)}
	}
	return fmt.Errorf("%s: %w", module, err)
}

// Start begins a run.
func (r *Runtime) Start(ctx context.Context, t *runtime.Task) (runtime.Started, error) {
	if err := ctx.Err(); err != nil {
		return runtime.Started{}, err
	}
	p, err := r.prepare(ctx, t)
	if err != nil {
		return runtime.Started{}, err
	}
	return p.start(ctx, t)
}

// Wait returns when the run has ended.
func (r *Runtime) Wait(ctx context.Context, id runtime.ID) (runtime.Exit, error) {
	t := r.find(id)
	if t == nil {
		return runtime.Exit{}, runtime.ErrUnknown
	}
	select {
	case <-t.done:
		return t.exit, nil
	default:
	}
	select {
	case <-t.done:
		return t.exit, nil
	case <-ctx.Done():
		return runtime.Exit{}, ctx.Err()
	}
}

// Stop ends a run, as the package says.
func (r *Runtime) Stop(ctx context.Context, id runtime.ID, grace time.Duration) error {
	t := r.find(id)
	if t == nil {
		return nil
	}
	return t.stop(ctx, grace)
}

// Remove forgets an ended or merely prepared run.
func (r *Runtime) Remove(_ context.Context, id runtime.ID) error {
	t := r.find(id)
	if t == nil {
		return nil
	}
	if t.running() {
		return fmt.Errorf("task %s of %s runs: stop it first", id.Task, id.Instance)
	}
	r.mu.Lock()
	delete(r.runs, id)
	r.mu.Unlock()
	t.free()
	return nil
}

// List tells the runs of this process that were started. None outlives it.
func (r *Runtime) List(context.Context) ([]runtime.Status, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	all := make([]runtime.Status, 0, len(r.runs))
	for _, t := range r.runs {
		if s, ok := t.status(); ok {
			all = append(all, s)
		}
	}
	return all, nil
}

// Stats tells what a run uses, all its guests together.
func (r *Runtime) Stats(_ context.Context, id runtime.ID) (runtime.Stats, error) {
	t := r.find(id)
	if t == nil {
		return runtime.Stats{}, runtime.ErrUnknown
	}
	return t.stats(), nil
}

// Exec is not possible beside a wasm guest.
func (r *Runtime) Exec(context.Context, runtime.ID, runtime.Exec) (runtime.Exit, error) {
	return runtime.Exit{}, runtime.ErrNotSupported
}

func (r *Runtime) find(id runtime.ID) *run {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.runs[id]
}
