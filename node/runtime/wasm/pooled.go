package wasm

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"dhow.dev/dhow/node/runtime"
	dhowv1 "dhow.dev/dhow/proto/dhow/v1"
	"dhow.dev/dhow/wasmrt"
)

// pooled lends copies of a run's guest to calls.
type pooled struct {
	*fleet
	pool  *wasmrt.Pool
	begun *wasmrt.Snapshot // what copies begin from; nil: they are commands
}

// newPooled makes a pool whose guests begin from a snapshot. It proves that
// the guest can start. What host functions need for that, with adds to a
// context.
func newPooled(ctx context.Context, t *run, c wasmrt.Config, with func(context.Context) context.Context) (*pooled, error) {
	begun, err := t.module.Snapshot(with(ctx), c)
	if err != nil {
		return nil, startError(t, err)
	}
	if shared, why := begun.Shared(); !shared {
		t.r.c.Logger.Debug("each copy of a guest starts anew", "instance", t.task.Name, "task", t.task.ID.Task, "why", why)
	}
	p := &pooled{fleet: newFleet(c.Limits), begun: begun}
	pc := poolConfig(t.task.Spec.GetWasm())
	pc.New = func(ctx context.Context) (*wasmrt.Instance, error) {
		i, err := begun.New(with(ctx), c)
		if err == nil {
			p.add(i)
		}
		return i, err
	}
	p.pool = wasmrt.NewPool(pc)
	return p, nil
}

// poolConfig is what the manifest says of a function's pool.
func poolConfig(w *dhowv1.WasmSource) wasmrt.PoolConfig {
	s := w.GetPool()
	c := wasmrt.PoolConfig{
		Max: int(s.GetConcurrency()), Queue: int(s.GetQueue()), MaxUses: int(s.GetMaxCalls()),
		IdleTimeout: s.GetIdleTimeout().AsDuration(),
	}
	if s != nil && s.Queue != nil && c.Queue == 0 {
		c.Queue = -1 // none waits
	}
	if w.GetLimits().GetFuel() > 0 {
		c.MaxUses = 1 // fuel is of a guest's life, and here each call has its own
	}
	return c
}

// Do lends a guest to a call. It is what wasmrt/httpwasm wants of a pool.
func (p *pooled) Do(ctx context.Context, f func(context.Context, *wasmrt.Instance) error) error {
	return p.pool.Do(ctx, func(ctx context.Context, i *wasmrt.Instance) error {
		p.begin(i)
		defer p.end(i)
		return f(ctx, i)
	})
}

func (p *pooled) close() {
	p.pool.Close()
	if p.begun != nil {
		p.begun.Close()
	}
}

// startError is why a guest could not begin.
func startError(t *run, err error) error {
	if e, ok := errors.AsType[*wasmrt.ExitError](err); ok {
		return &runtime.Error{Reason: e.Exit.Reason, Err: fmt.Errorf("%s ended while it started: %w", name(t.task.Spec.GetWasm()), err)}
	}
	return explain(name(t.task.Spec.GetWasm()), err)
}

// callError tells why a call failed in the words of the runtime.
func callError(err error) error {
	if e, ok := errors.AsType[*wasmrt.ExitError](err); ok {
		if e.Exit.Reason == wasmrt.ExitedReason {
			return &runtime.Error{Reason: runtime.ReasonFunctionFailed, Err: fmt.Errorf("the function ended with code %d", e.Exit.Code)}
		}
		return &runtime.Error{Reason: e.Exit.Reason, Err: err}
	}
	if e, ok := errors.AsType[*wasmrt.Error](err); ok {
		reason := e.Reason
		switch reason {
		case wasmrt.ReasonBusy:
			reason = runtime.ReasonBusy
		case wasmrt.ReasonNoExport:
			reason = runtime.ReasonNoSuchFunction
		case wasmrt.ReasonBadCall:
			reason = runtime.ReasonBadArguments
		case wasmrt.ReasonClosed:
			reason = runtime.ReasonNotRunning
		}
		return &runtime.Error{Reason: reason, Permanent: e.Permanent(), Err: err}
	}
	return err
}

// pick finds the export that a call means: by its name, else the standard one,
// else the only one.
func pick(called, standard string, all []wasmrt.Export) (wasmrt.Export, error) {
	if called == "" {
		called = standard
	}
	if called == "" && len(all) == 1 {
		return all[0], nil
	}
	n := slices.IndexFunc(all, func(e wasmrt.Export) bool { return e.Name == called })
	if n >= 0 {
		return all[n], nil
	}
	names := make([]string, len(all))
	for n, e := range all {
		names[n] = e.Name
	}
	why := fmt.Sprintf("there is no function %q", called)
	if called == "" {
		why = "there are several functions, and the call names none"
	}
	return wasmrt.Export{}, &runtime.Error{Reason: runtime.ReasonNoSuchFunction, Err: fmt.Errorf("%s; there are: %s", why, strings.Join(names, ", "))}
}
