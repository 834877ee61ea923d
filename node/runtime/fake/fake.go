package fake

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"dhow.dev/dhow/node/runtime"
	dhowv1 "dhow.dev/dhow/proto/dhow/v1"
)

// Runtime is the fake. Its runs outlive the agent that started them.
type Runtime struct {
	name   string
	script Script
	now    func() time.Time

	mu     sync.Mutex
	runs   map[runtime.ID]*run
	starts map[string]int
	port   int
}

type run struct {
	behaviour Behaviour
	task      *runtime.Task
	calls     uint64
	failed    uint64
	started   bool
	answer    runtime.Started
	since     time.Time
	timer     *time.Timer
	done      chan struct{}
	exit      runtime.Exit
}

// New makes a fake of the name, "wasm" for example. A nil script is Args.
func New(name string, s Script) *Runtime {
	if s == nil {
		s = Args
	}
	//nolint:forbidigo // SetClock takes the caller's
	return &Runtime{name: name, script: s, now: time.Now, runs: map[runtime.ID]*run{}, starts: map[string]int{}, port: 20000}
}

// Name is the name it was made with.
func (r *Runtime) Name() string { return r.name }

// Prepare does what the script says.
func (r *Runtime) Prepare(ctx context.Context, t *runtime.Task) error {
	b := r.script(t)
	if err := sleep(ctx, b.PrepareDelay); err != nil {
		return err
	}
	if b.PrepareErr != nil {
		return b.PrepareErr
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.runs[t.ID] == nil {
		r.runs[t.ID] = &run{behaviour: b, task: t, done: make(chan struct{})}
	}
	return nil
}

// Start does what the script says.
func (r *Runtime) Start(ctx context.Context, t *runtime.Task) (runtime.Started, error) {
	b := r.script(t)
	if err := sleep(ctx, b.StartDelay); err != nil {
		return runtime.Started{}, err
	}
	if b.StartErr != nil {
		return runtime.Started{}, b.StartErr
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	u := r.runs[t.ID]
	if u == nil {
		return runtime.Started{}, &runtime.Error{Reason: "NotPrepared", Err: fmt.Errorf("run %v was not prepared", t.ID)}
	}
	if u.started {
		return u.answer, nil
	}
	u.started, u.since = true, r.now()
	r.starts[t.ID.Instance+"/"+t.ID.Task]++
	for _, p := range t.Spec.GetPorts() {
		port := int(p.GetHostPort())
		if port == 0 {
			r.port++
			port = r.port
		}
		u.answer.Ports = append(u.answer.Ports, &dhowv1.PortStatus{
			Name: p.GetName(), Address: net.JoinHostPort(t.Address, strconv.Itoa(port)),
		})
	}
	if t.Stdout != nil {
		_, _ = io.WriteString(t.Stdout, b.Stdout)
	}
	if t.Stderr != nil {
		_, _ = io.WriteString(t.Stderr, b.Stderr)
	}
	if b.Ends && b.ExitAfter == 0 {
		u.end(b.Exit, r.now)
	} else if b.Ends {
		u.timer = time.AfterFunc(b.ExitAfter, func() { r.End(t.ID, b.Exit) })
	}
	return u.answer, nil
}

func (u *run) ended() bool {
	select {
	case <-u.done:
		return true
	default:
		return false
	}
}

func (u *run) end(e runtime.Exit, now func() time.Time) {
	if u.ended() {
		return
	}
	if u.timer != nil {
		u.timer.Stop()
	}
	if e.At.IsZero() {
		e.At = now()
	}
	u.exit = e
	close(u.done)
}

// Wait waits for the end of the run.
func (r *Runtime) Wait(ctx context.Context, id runtime.ID) (runtime.Exit, error) {
	u, err := r.running(id)
	if err != nil {
		return runtime.Exit{}, err
	}
	select {
	case <-u.done:
		return u.exit, nil
	default:
	}
	select {
	case <-u.done:
		return u.exit, nil
	case <-ctx.Done():
		return runtime.Exit{}, ctx.Err()
	}
}

// running finds a run that was started.
func (r *Runtime) running(id runtime.ID) (*run, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	u := r.runs[id]
	if u == nil || !u.started {
		return nil, fmt.Errorf("%s run %v: %w", r.name, id, runtime.ErrUnknown)
	}
	return u, nil
}

// Stop ends the run: at once, or for a stubborn one after the grace period.
func (r *Runtime) Stop(ctx context.Context, id runtime.ID, grace time.Duration) error {
	u, err := r.running(id)
	if errors.Is(err, runtime.ErrUnknown) {
		return nil
	}
	reason := runtime.Exit{Code: 143, Reason: "Stopped"}
	if u.behaviour.Stubborn && !u.ended() {
		timer := time.NewTimer(grace)
		defer timer.Stop()
		select {
		case <-timer.C:
			reason = runtime.Exit{Code: 137, Reason: "Killed"}
		case <-u.done:
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	r.End(id, reason)
	return nil
}

// Remove forgets an ended run; a running one is an error.
func (r *Runtime) Remove(_ context.Context, id runtime.ID) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	u := r.runs[id]
	if u == nil {
		return nil
	}
	if u.started && !u.ended() {
		return fmt.Errorf("%s run %v is still running", r.name, id)
	}
	delete(r.runs, id)
	return nil
}

// List tells the runs that were started, in order.
func (r *Runtime) List(context.Context) ([]runtime.Status, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	var out []runtime.Status
	for id, u := range r.runs {
		if !u.started {
			continue
		}
		s := runtime.Status{
			ID: id, Running: !u.ended(), Started: u.answer, Since: u.since,
			Namespace: u.task.Namespace, Workload: u.task.Workload, Name: u.task.Name,
		}
		if !s.Running {
			s.Exit = u.exit
		}
		out = append(out, s)
	}
	slices.SortFunc(out, func(a, b runtime.Status) int {
		if c := strings.Compare(a.ID.Instance+"\x00"+a.ID.Task, b.ID.Instance+"\x00"+b.ID.Task); c != 0 {
			return c
		}
		return int(a.ID.Run) - int(b.ID.Run)
	})
	return out, nil
}

// Stats tells the run's age as CPU time, the script's memory and fuel, and the
// calls.
func (r *Runtime) Stats(_ context.Context, id runtime.ID) (runtime.Stats, error) {
	u, err := r.running(id)
	if err != nil {
		return runtime.Stats{}, err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	return runtime.Stats{
		CPU: r.now().Sub(u.since), Memory: u.behaviour.Memory, PeakMemory: u.behaviour.Memory,
		Fuel: u.behaviour.Fuel, Calls: u.calls, Failed: u.failed,
	}, nil
}

// Exec echoes its arguments.
func (r *Runtime) Exec(_ context.Context, id runtime.ID, e runtime.Exec) (runtime.Exit, error) {
	if _, err := r.running(id); err != nil {
		return runtime.Exit{}, err
	}
	if e.Stdout != nil {
		if _, err := fmt.Fprintln(e.Stdout, strings.Join(e.Args, " ")); err != nil {
			return runtime.Exit{}, err
		}
	}
	return runtime.Exit{Reason: "Exited", At: r.now()}, nil
}

func sleep(ctx context.Context, d time.Duration) error {
	if err := ctx.Err(); err != nil || d <= 0 {
		return err
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
