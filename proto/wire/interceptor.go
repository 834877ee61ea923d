package wire

import (
	"context"
	"errors"
	"io"

	"connectrpc.com/connect"

	"dhow.dev/dhow/proto/spec"
)

// Server maps the errors that handlers return. Internal ones, bugs or broken
// disks, are also told to internal, where the server logs them.
func Server(internal func(ctx context.Context, procedure string, err error)) connect.Interceptor {
	return server{internal}
}

type server struct {
	internal func(ctx context.Context, procedure string, err error)
}

func (s server) mapped(ctx context.Context, procedure string, err error) error {
	if err == nil {
		return nil
	}
	out := ToConnect(err)
	if out.Code() == connect.CodeInternal && s.internal != nil && spec.CodeOf(err) == spec.CodeInternal {
		s.internal(ctx, procedure, err)
	}
	return out
}

func (s server) WrapUnary(next connect.UnaryFunc) connect.UnaryFunc {
	return func(ctx context.Context, req connect.AnyRequest) (connect.AnyResponse, error) {
		res, err := next(ctx, req)
		if err != nil {
			return nil, s.mapped(ctx, req.Spec().Procedure, err)
		}
		return res, nil
	}
}

func (s server) WrapStreamingClient(next connect.StreamingClientFunc) connect.StreamingClientFunc {
	return next
}

func (s server) WrapStreamingHandler(next connect.StreamingHandlerFunc) connect.StreamingHandlerFunc {
	return func(ctx context.Context, conn connect.StreamingHandlerConn) error {
		return s.mapped(ctx, conn.Spec().Procedure, next(ctx, conn))
	}
}

// Client maps the errors that calls return back to *spec.Error. The end of a
// stream stays io.EOF.
func Client() connect.Interceptor { return client{} }

type client struct{}

func (client) WrapUnary(next connect.UnaryFunc) connect.UnaryFunc {
	return func(ctx context.Context, req connect.AnyRequest) (connect.AnyResponse, error) {
		res, err := next(ctx, req)
		if err != nil {
			return nil, FromConnect(err)
		}
		return res, nil
	}
}

func (client) WrapStreamingClient(next connect.StreamingClientFunc) connect.StreamingClientFunc {
	return func(ctx context.Context, sp connect.Spec) connect.StreamingClientConn {
		conn := next(ctx, sp)
		if sp.StreamType == connect.StreamTypeBidi {
			// net/http does not see that the context has ended while it waits
			// for more of the request, and then the server would not either.
			context.AfterFunc(ctx, func() { _ = conn.CloseResponse() })
		}
		return clientConn{conn}
	}
}

func (client) WrapStreamingHandler(next connect.StreamingHandlerFunc) connect.StreamingHandlerFunc {
	return next
}

type clientConn struct{ connect.StreamingClientConn }

func (c clientConn) Send(m any) error    { return streamed(c.StreamingClientConn.Send(m)) }
func (c clientConn) Receive(m any) error { return streamed(c.StreamingClientConn.Receive(m)) }

func streamed(err error) error {
	if err == nil || errors.Is(err, io.EOF) {
		return err
	}
	return FromConnect(err)
}
