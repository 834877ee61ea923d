package wasm

import (
	"context"
	"errors"
	"fmt"

	"dhow.dev/dhow/node/runtime"
)

// Call calls a function of a run.
func (r *Runtime) Call(ctx context.Context, id runtime.ID, c runtime.Call) (runtime.CallResult, error) {
	s, err := r.served(id)
	if err != nil {
		return runtime.CallResult{}, err
	}
	return s.call(ctx, c)
}

// Functions tells what can be called of a run.
func (r *Runtime) Functions(_ context.Context, id runtime.ID) ([]runtime.Function, error) {
	s, err := r.served(id)
	if err != nil {
		return nil, err
	}
	return s.functions(), nil
}

func (r *Runtime) served(id runtime.ID) (*served, error) {
	t := r.find(id)
	if t == nil {
		return nil, runtime.ErrUnknown
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.guest == nil {
		return nil, notRunning()
	}
	s, ok := t.guest.(*served)
	if !ok {
		return nil, &runtime.Error{Reason: runtime.ReasonNotCallable, Permanent: true, Err: fmt.Errorf("task %s of %s is no function", id.Task, t.task.Name)}
	}
	return s, nil
}

func badArguments(why string) error {
	return &runtime.Error{Reason: runtime.ReasonBadArguments, Err: errors.New(why)}
}
