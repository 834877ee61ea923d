package agent

import (
	"context"
	"errors"
	"maps"
	"slices"

	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	"dhow.dev/dhow/node/runtime"
	dhowv1 "dhow.dev/dhow/proto/dhow/v1"
	"dhow.dev/dhow/proto/spec"
)

// Call has an instance's main task run a function. How the function ended, well
// or badly, is in the result; an error says that it did not run, or not to its
// end.
func (a *Agent) Call(ctx context.Context, c *dhowv1.FunctionCall) (*dhowv1.FunctionResult, error) {
	if t := c.GetTimeout(); t != nil {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, t.AsDuration())
		defer cancel()
	}
	id, caller, err := a.callee(c.GetRef())
	if err != nil {
		return nil, err
	}
	start := a.config.Now()
	res, err := caller.Call(ctx, id, runtime.Call{
		Function: c.GetFunction(), Args: c.GetArgs(), Data: c.GetData(), Header: headerMap(c.GetHeaders()),
	})
	out := &dhowv1.FunctionResult{}
	if err == nil {
		if len(res.Data) > spec.MaxCallBytes {
			return nil, spec.Errorf(spec.CodeExhausted, "the result has %s; at most %s can be answered", spec.ShowBytes(uint64(len(res.Data))), spec.ShowBytes(spec.MaxCallBytes))
		}
		out = &dhowv1.FunctionResult{Values: res.Values, Data: res.Data, Status: uint32(res.Status), Headers: headerList(res.Header)} //nolint:gosec // an HTTP status
	} else if out.Failure, out.Message, err = failure(ctx, c.GetRef(), err); err != nil {
		return nil, err
	}
	out.Took = durationpb.New(a.config.Now().Sub(start))
	return out, nil
}

// Functions tells what can be called of an instance.
func (a *Agent) Functions(ctx context.Context, q *dhowv1.FunctionsQuery) (*dhowv1.FunctionList, error) {
	id, caller, err := a.callee(q.GetRef())
	if err != nil {
		return nil, err
	}
	all, err := caller.Functions(ctx, id)
	if err != nil {
		why, message, err := failure(ctx, q.GetRef(), err)
		if err == nil {
			err = spec.Errorf(spec.CodeInternal, "%s: %s", why, message)
		}
		return nil, err
	}
	out := &dhowv1.FunctionList{}
	for _, f := range all {
		out.Functions = append(out.Functions, &dhowv1.Function{Name: f.Name, Params: f.Params, Results: f.Results})
	}
	return out, nil
}

// callee finds the run of an instance's main task.
func (a *Agent) callee(ref *dhowv1.Ref) (runtime.ID, runtime.Caller, error) {
	for _, r := range a.live.of(ref.GetUid()) {
		if !r.main() {
			continue
		}
		if caller, ok := r.rt.(runtime.Caller); ok {
			return r.task.ID, caller, nil
		}
		return runtime.ID{}, nil, spec.Errorf(spec.CodeInvalid, "instance %s cannot be called: only wasm modules can", ref.GetName())
	}
	return runtime.ID{}, nil, notRunning(ref)
}

func notRunning(ref *dhowv1.Ref) error {
	return &spec.Error{Code: spec.CodeUnavailable, Untouched: true, Message: "instance " + ref.GetName() + " does not run (any more)"}
}

// failure sorts a runtime's error: the function's own failure, or an error of
// the call.
func failure(ctx context.Context, ref *dhowv1.Ref, err error) (reason, message string, fault error) {
	own, ok := errors.AsType[*runtime.Error](err)
	switch {
	case ctx.Err() != nil && !ok, ctx.Err() != nil && errors.Is(err, ctx.Err()):
		if errors.Is(ctx.Err(), context.DeadlineExceeded) {
			return "", "", spec.Errorf(spec.CodeTimeout, "%s did not answer in time: it was interrupted", ref.GetName())
		}
		return "", "", ctx.Err()
	case errors.Is(err, runtime.ErrUnknown):
		return "", "", notRunning(ref)
	case !ok:
		return "", "", spec.Errorf(spec.CodeInternal, "call %s: %w", ref.GetName(), err)
	}
	switch own.Reason {
	case runtime.ReasonNotCallable, runtime.ReasonBadArguments:
		return "", "", spec.Errorf(spec.CodeInvalid, "%w", own)
	case runtime.ReasonNoSuchFunction:
		return "", "", spec.Errorf(spec.CodeNotFound, "%w", own)
	case runtime.ReasonTooLarge:
		return "", "", spec.Errorf(spec.CodeExhausted, "%w", own)
	case runtime.ReasonBusy:
		return "", "", &spec.Error{Code: spec.CodeExhausted, Untouched: true, Err: own}
	case runtime.ReasonNotRunning:
		return "", "", &spec.Error{Code: spec.CodeUnavailable, Untouched: true, Err: own}
	}
	return own.Reason, own.Error(), nil
}

// Usage tells what instances use, of those that are asked for the ones that
// run.
func (a *Agent) Usage(ctx context.Context, q *dhowv1.UsageQuery) (*dhowv1.UsageList, error) {
	var runs [][]liveRun
	if len(q.GetInstances()) == 0 {
		runs = a.live.all()
	}
	for _, ref := range q.GetInstances() {
		runs = append(runs, a.live.of(ref.GetUid()))
	}
	out := &dhowv1.UsageList{}
	for _, tasks := range runs {
		if len(tasks) == 0 {
			continue
		}
		t := tasks[0].task
		u := &dhowv1.InstanceUsage{
			Ref:      &dhowv1.Ref{Kind: dhowv1.Kind_KIND_INSTANCE, Namespace: t.Namespace, Name: t.Name, Uid: t.ID.Instance},
			Workload: t.Workload, Node: a.config.Node, Time: timestamppb.New(a.config.Now()),
		}
		for _, r := range tasks {
			s, err := r.rt.Stats(ctx, r.task.ID)
			if ctx.Err() != nil {
				return nil, ctx.Err()
			}
			if err != nil {
				continue // it has just ended
			}
			u.Tasks = append(u.Tasks, &dhowv1.TaskUsage{
				Name: r.task.ID.Task, Cpu: durationpb.New(s.CPU), Memory: s.Memory, PeakMemory: s.PeakMemory, Fuel: s.Fuel,
				Throttled: durationpb.New(s.Throttled), Calls: s.Calls, Failed: s.Failed, Run: r.task.ID.Run,
			})
		}
		if len(u.Tasks) > 0 {
			out.Instances = append(out.Instances, u)
		}
	}
	return out, nil
}

func headerMap(list []*dhowv1.Header) map[string][]string {
	if len(list) == 0 {
		return nil
	}
	out := make(map[string][]string, len(list))
	for _, h := range list {
		out[h.GetName()] = append(out[h.GetName()], h.GetValues()...)
	}
	return out
}

func headerList(m map[string][]string) []*dhowv1.Header {
	var out []*dhowv1.Header
	for _, k := range slices.Sorted(maps.Keys(m)) {
		out = append(out, &dhowv1.Header{Name: k, Values: m[k]})
	}
	return out
}
