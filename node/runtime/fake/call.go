package fake

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	"dhow.dev/dhow/node/runtime"
)

// Function is what a call of a fake function does.
type Function func(ctx context.Context, c runtime.Call) (runtime.CallResult, error)

// functions are those that Args knows.
//
//nolint:gochecknoglobals // a table
var functions = map[string]Function{
	"echo": func(_ context.Context, c runtime.Call) (runtime.CallResult, error) {
		return runtime.CallResult{Data: c.Data, Values: c.Args}, nil
	},
	"fail": func(_ context.Context, c runtime.Call) (runtime.CallResult, error) {
		return runtime.CallResult{}, &runtime.Error{Reason: runtime.ReasonFunctionFailed, Err: fmt.Errorf("it failed: %s", c.Data)}
	},
	"wait": func(ctx context.Context, _ runtime.Call) (runtime.CallResult, error) {
		<-ctx.Done()
		return runtime.CallResult{}, ctx.Err()
	},
}

// Call does what the script says.
func (r *Runtime) Call(ctx context.Context, id runtime.ID, c runtime.Call) (runtime.CallResult, error) {
	u, err := r.callable(id)
	if err != nil {
		return runtime.CallResult{}, err
	}
	if len(c.Data) > runtime.MaxCallBytes {
		return runtime.CallResult{}, &runtime.Error{Reason: runtime.ReasonTooLarge, Err: fmt.Errorf("%d bytes of data", len(c.Data))}
	}
	name := c.Function
	if name == "" && len(u.behaviour.Functions) == 1 {
		name = u.names()[0]
	}
	f := u.behaviour.Functions[name]
	if f == nil {
		return runtime.CallResult{}, &runtime.Error{
			Reason: runtime.ReasonNoSuchFunction,
			Err:    fmt.Errorf("no function %q; there are %s", name, strings.Join(u.names(), ", ")),
		}
	}
	got, err := f(ctx, c)
	r.mu.Lock()
	defer r.mu.Unlock()
	u.calls++
	if err != nil {
		u.failed++
	}
	return got, err
}

// Functions tells the script's, by name.
func (r *Runtime) Functions(_ context.Context, id runtime.ID) ([]runtime.Function, error) {
	u, err := r.callable(id)
	if err != nil {
		return nil, err
	}
	var all []runtime.Function
	for _, name := range u.names() {
		all = append(all, runtime.Function{Name: name})
	}
	return all, nil
}

// Notify tells the agent something of a run, as the runtime would.
func (r *Runtime) Notify(id runtime.ID, n runtime.Notice) {
	r.mu.Lock()
	u := r.runs[id]
	r.mu.Unlock()
	if u != nil && u.task.Notify != nil {
		u.task.Notify(n)
	}
}

func (u *run) names() []string { return slices.Sorted(maps.Keys(u.behaviour.Functions)) }

func (r *Runtime) callable(id runtime.ID) (*run, error) {
	u, err := r.running(id)
	switch {
	case err != nil:
		return nil, err
	case u.ended():
		return nil, &runtime.Error{Reason: runtime.ReasonNotRunning, Err: fmt.Errorf("run %v has ended", id)}
	case len(u.behaviour.Functions) == 0:
		return nil, &runtime.Error{Reason: runtime.ReasonNotCallable, Permanent: true, Err: fmt.Errorf("run %v is no function", id)}
	}
	return u, nil
}
