package api

import (
	"context"
	"errors"
	"fmt"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"

	"dhow.dev/dhow/control/auth"
	dhowv1 "dhow.dev/dhow/proto/dhow/v1"
	"dhow.dev/dhow/proto/spec"
	"dhow.dev/dhow/proto/wire"
)

// functions is the FunctionService.
type functions struct{ *API }

// Call has a ready instance run a function. One that could not begin with it
// (busy, just ended) costs a try with another; a call that has begun is never
// repeated.
func (f functions) Call(ctx context.Context, req *dhowv1.CallRequest) (*dhowv1.CallResponse, error) {
	forwarded := allowed(ctx, auth.VerbPeer) == nil
	if !forwarded {
		if err := allowed(ctx, auth.VerbCall); err != nil {
			return nil, err
		}
	}
	c := req.GetCall()
	if err := checkCall(c); err != nil {
		return nil, err
	}
	wire.Arrived(ctx)
	limit := spec.MaxCallTimeout
	if t := c.GetTimeout(); t != nil {
		limit = min(limit, t.AsDuration())
	}
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	if until, ok := ctx.Deadline(); ok { // the caller's, when that is nearer
		c.Timeout = durationpb.New(max(time.Until(until), time.Millisecond))
	}
	var out *dhowv1.CallResponse
	err := f.tryEach(ctx, c.GetRef(), forwarded, func(t *target) (err error) {
		c.Ref = t.ref
		out, err = f.callOne(ctx, t, c)
		return err
	})
	if errors.Is(err, context.DeadlineExceeded) {
		err = spec.Errorf(spec.CodeTimeout, "%s did not answer in time: it was interrupted", c.GetRef().GetName())
	}
	return out, err
}

func (f functions) callOne(ctx context.Context, t *target, c *dhowv1.FunctionCall) (*dhowv1.CallResponse, error) {
	t.busy.Add(1)
	defer t.busy.Add(-1)
	if t.server != f.c.Server {
		return f.c.Peers.Call(ctx, t.server, c)
	}
	res, err := f.c.Sessions.Call(ctx, t.node, c)
	if err != nil {
		return nil, err
	}
	return &dhowv1.CallResponse{Result: res, Instance: t.ref.GetName(), Node: t.node}, nil
}

// Functions tells what can be called.
func (f functions) Functions(ctx context.Context, req *dhowv1.FunctionsRequest) (*dhowv1.FunctionsResponse, error) {
	forwarded := allowed(ctx, auth.VerbPeer) == nil
	if !forwarded {
		if err := allowed(ctx, auth.VerbRead, dhowv1.Kind_KIND_WORKLOAD); err != nil {
			return nil, err
		}
	}
	ref := req.GetQuery().GetRef()
	if err := checkCallee("query.ref", ref); err != nil {
		return nil, err
	}
	var out *dhowv1.FunctionsResponse
	err := f.tryEach(ctx, ref, forwarded, func(t *target) (err error) {
		q := &dhowv1.FunctionsQuery{Ref: t.ref}
		if t.server != f.c.Server {
			out, err = f.c.Peers.Functions(ctx, t.server, q)
			return err
		}
		list, err := f.c.Sessions.Functions(ctx, t.node, q)
		out = &dhowv1.FunctionsResponse{Functions: list.GetFunctions()}
		return err
	})
	return out, err
}

// checkCallee checks a reference to what is called: a workload unless it says
// that it is an instance.
func checkCallee(path string, r *dhowv1.Ref) error {
	if r != nil && r.Kind == 0 {
		r.Kind = dhowv1.Kind_KIND_WORKLOAD
	}
	if err := checkRef(path, r); err != nil {
		return err
	}
	if r.Kind != dhowv1.Kind_KIND_WORKLOAD && r.Kind != dhowv1.Kind_KIND_INSTANCE {
		return &spec.Error{Code: spec.CodeInvalid, Path: path + ".kind", Message: "must be a workload or an instance"}
	}
	return nil
}

// checkCall bounds what is sent to a node.
func checkCall(c *dhowv1.FunctionCall) error {
	invalid := func(path, format string, args ...any) error {
		return &spec.Error{Code: spec.CodeInvalid, Path: "call." + path, Message: fmt.Sprintf(format, args...)}
	}
	if err := checkCallee("call.ref", c.GetRef()); err != nil {
		return err
	}
	if n := len(c.GetData()); n > spec.MaxCallBytes {
		return invalid("data", "has %s; a call takes at most %s", spec.ShowBytes(uint64(n)), spec.ShowBytes(spec.MaxCallBytes))
	}
	text := len(c.GetFunction())
	for _, a := range c.GetArgs() {
		text += len(a)
	}
	for _, h := range c.GetHeaders() {
		text += len(h.GetName())
		for _, v := range h.GetValues() {
			text += len(v)
		}
	}
	if text > spec.MaxCallText {
		return invalid("args", "and headers have %d bytes; at most %d are allowed: send more as data", text, spec.MaxCallText)
	}
	if c.GetTimeout() != nil && (c.GetTimeout().CheckValid() != nil || c.GetTimeout().AsDuration() <= 0) {
		return invalid("timeout", "is no duration above 0")
	}
	if c.GetDepth() > spec.MaxCallDepth {
		return spec.Errorf(spec.CodeExhausted, "functions call each other %d deep; at most %d is allowed", c.GetDepth(), spec.MaxCallDepth)
	}
	c.More = false
	return nil
}
