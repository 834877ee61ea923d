package wasm

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"slices"
	"time"

	"dhow.dev/dhow/node/runtime"
	"dhow.dev/dhow/wasmrt"
)

// command is a guest whose _start runs once.
type command struct {
	run      *run
	instance *wasmrt.Instance
}

// startCommand starts it; what after does at its end.
func (t *run) startCommand(c wasmrt.Config, after func()) (guest, error) {
	c.Ended = func(e wasmrt.Exit) {
		after()
		t.end(runtime.Exit{Code: int32(e.Code), Reason: e.Reason, Message: e.Message}) //nolint:gosec // wraps as a process's code does
	}
	// Close stops it, see start: a context that can be cancelled is a kilobyte.
	i, err := t.module.Start(t.with(context.WithoutCancel(t.r.ctx)), c)
	if err != nil {
		return nil, startError(t, err)
	}
	return &command{run: t, instance: i}, nil
}

func (c *command) stop(ctx context.Context, _ time.Duration) error {
	c.instance.Stop()
	return c.run.await(ctx)
}

func (c *command) stats() runtime.Stats {
	return stats(c.instance.Usage())
}

// stats are usage in the runtime's words, but for calls.
func stats(u wasmrt.Usage) runtime.Stats {
	return runtime.Stats{CPU: u.CPU, Memory: u.Memory, PeakMemory: u.PeakMemory, Fuel: u.Fuel, Throttled: u.Throttled}
}

// commands is a function whose every call is a run of _start: the call's data is
// its standard input, what it writes to standard output is the result.
type commands struct {
	*pooled
	with func(context.Context) context.Context
}

const startFunction = "_start"

func newCommands(t *run, c wasmrt.Config) *commands {
	p := &pooled{fleet: newFleet(c.Limits)}
	pc := poolConfig(t.task.Spec.GetWasm())
	pc.MaxUses, pc.MaxIdle = 1, -1
	pc.New = func(ctx context.Context) (*wasmrt.Instance, error) {
		x := ctx.Value(ofCall{}).(*commandCall)
		mine := c
		mine.Args = slices.Concat(c.Args, x.args)
		mine.Stdin, mine.Stdout = x.in, &x.out
		i, err := t.module.New(ctx, mine)
		if err == nil {
			p.add(i)
		}
		return i, err
	}
	p.pool = wasmrt.NewPool(pc)
	return &commands{p, t.with}
}

// commandCall is what one run is for; it travels in the call's context.
type commandCall struct {
	args []string
	in   io.Reader
	out  output
}

type ofCall struct{}

func (f *commands) call(ctx context.Context, c runtime.Call) (runtime.CallResult, error) {
	if _, err := pick(c.Function, startFunction, []wasmrt.Export{{Name: startFunction}}); err != nil {
		return runtime.CallResult{}, err
	}
	x := &commandCall{args: c.Args, in: bytes.NewReader(c.Data)}
	err := f.Do(context.WithValue(f.with(ctx), ofCall{}, x), func(ctx context.Context, i *wasmrt.Instance) error {
		_, err := i.Call(ctx, startFunction)
		return err
	})
	if e, ok := errors.AsType[*wasmrt.ExitError](err); ok && e.Exit.Reason == wasmrt.ExitedReason && e.Exit.Code == 0 {
		err = nil
	}
	if err == nil && x.out.over > 0 {
		err = tooLarge("the result", len(x.out.b)+x.out.over)
	}
	return runtime.CallResult{Data: x.out.b}, callError(err)
}

func (f *commands) functions() []runtime.Function { return []runtime.Function{{Name: startFunction}} }

// ServeHTTP calls POST /.
func (f *commands) ServeHTTP(w http.ResponseWriter, r *http.Request) { serveCall(f, w, r) }

// output keeps what a call may answer, and counts what is beyond.
type output struct {
	b    []byte
	over int
}

// Write implements io.Writer.
func (o *output) Write(p []byte) (int, error) {
	n := min(len(p), runtime.MaxCallBytes-len(o.b))
	o.b = append(o.b, p[:n]...)
	o.over += len(p) - n
	return len(p), nil
}
