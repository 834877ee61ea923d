package client

import (
	"context"
	"errors"

	"connectrpc.com/connect"

	"dhow.dev/dhow/proto/dhow/v1/dhowv1connect"
	"dhow.dev/dhow/proto/spec"
	"dhow.dev/dhow/proto/wire"
)

// bearer presents the token with each call.
type bearer string

// WrapUnary implements connect.Interceptor.
func (b bearer) WrapUnary(next connect.UnaryFunc) connect.UnaryFunc {
	if b == "" {
		return next
	}
	value := "Bearer " + string(b)
	return func(ctx context.Context, req connect.AnyRequest) (connect.AnyResponse, error) {
		req.Header().Set("Authorization", value)
		return next(ctx, req)
	}
}

// WrapStreamingClient implements connect.Interceptor.
func (b bearer) WrapStreamingClient(next connect.StreamingClientFunc) connect.StreamingClientFunc {
	if b == "" {
		return next
	}
	return func(ctx context.Context, sp connect.Spec) connect.StreamingClientConn {
		conn := next(ctx, sp)
		conn.RequestHeader().Set("Authorization", "Bearer "+string(b))
		return conn
	}
}

// WrapStreamingHandler implements connect.Interceptor.
func (b bearer) WrapStreamingHandler(next connect.StreamingHandlerFunc) connect.StreamingHandlerFunc {
	return next
}

// leaderless makes CodeNotLeader the CodeUnavailable that it is for a user.
type leaderless bool

// WrapUnary implements connect.Interceptor.
func (l leaderless) WrapUnary(next connect.UnaryFunc) connect.UnaryFunc {
	return func(ctx context.Context, req connect.AnyRequest) (connect.AnyResponse, error) {
		res, err := next(ctx, req)
		if own, ok := errors.AsType[*spec.Error](err); ok && bool(l) && own.Code == spec.CodeNotLeader {
			return res, &spec.Error{Code: spec.CodeUnavailable, Path: own.Path, Message: own.Message, Err: own.Err}
		}
		return res, err
	}
}

// WrapStreamingClient implements connect.Interceptor.
func (l leaderless) WrapStreamingClient(next connect.StreamingClientFunc) connect.StreamingClientFunc {
	return next
}

// WrapStreamingHandler implements connect.Interceptor.
func (l leaderless) WrapStreamingHandler(next connect.StreamingHandlerFunc) connect.StreamingHandlerFunc {
	return next
}

// retry asks another server when one cannot answer. Calls that change
// something are sent again only when the first was certainly not carried out.
type retry struct{ s *servers }

// WrapUnary implements connect.Interceptor.
func (r retry) WrapUnary(next connect.UnaryFunc) connect.UnaryFunc {
	return func(ctx context.Context, req connect.AnyRequest) (connect.AnyResponse, error) {
		for tries := r.s.count(); ; tries-- {
			epoch := r.s.epoch()
			res, err := next(ctx, req)
			if err == nil || tries <= 1 || ctx.Err() != nil || !again(req.Spec().Procedure, err) {
				return res, err
			}
			r.s.next(epoch)
		}
	}
}

// WrapStreamingClient implements connect.Interceptor.
func (r retry) WrapStreamingClient(next connect.StreamingClientFunc) connect.StreamingClientFunc {
	return next
}

// WrapStreamingHandler implements connect.Interceptor.
func (r retry) WrapStreamingHandler(next connect.StreamingHandlerFunc) connect.StreamingHandlerFunc {
	return next
}

func again(procedure string, err error) bool {
	switch specCode(err) {
	case spec.CodeNotLeader:
		return true
	case spec.CodeUnavailable:
	default:
		return false
	}
	switch procedure {
	case dhowv1connect.ObjectServiceGetProcedure,
		dhowv1connect.ObjectServiceListProcedure,
		dhowv1connect.ArtifactServiceStatProcedure,
		dhowv1connect.AuthServiceWhoAmIProcedure,
		dhowv1connect.ClusterServiceInfoProcedure,
		dhowv1connect.ClusterServiceWhyProcedure,
		dhowv1connect.FunctionServiceFunctionsProcedure,
		dhowv1connect.UsageServiceUsageProcedure,
		// Reports are numbered; an old one changes nothing.
		dhowv1connect.AgentServiceReportStatusProcedure:
		return true
	}
	return false
}

// specCode is the code of a failed call; empty when no server was reached,
// since all were tried then.
func specCode(err error) spec.Code {
	if _, ok := errors.AsType[*spec.Error](err); ok {
		return ""
	}
	return spec.CodeOf(wire.FromConnect(err))
}
