package peer

import (
	"context"

	"dhow.dev/dhow/internal/client"
	dhowv1 "dhow.dev/dhow/proto/dhow/v1"
	"dhow.dev/dhow/proto/spec"
)

// Call is FunctionService.Call on another server.
func (p *Peers) Call(ctx context.Context, server string, c *dhowv1.FunctionCall) (*dhowv1.CallResponse, error) {
	return with(p, server, func(peer *client.Client) (*dhowv1.CallResponse, error) {
		return peer.Functions.Call(ctx, &dhowv1.CallRequest{Call: c})
	})
}

// Functions is FunctionService.Functions on another server.
func (p *Peers) Functions(ctx context.Context, server string, q *dhowv1.FunctionsQuery) (*dhowv1.FunctionsResponse, error) {
	return with(p, server, func(peer *client.Client) (*dhowv1.FunctionsResponse, error) {
		return peer.Functions.Functions(ctx, &dhowv1.FunctionsRequest{Query: q})
	})
}

// Usage is UsageService.Usage on another server.
func (p *Peers) Usage(ctx context.Context, server string, q *dhowv1.UsageRequest) (*dhowv1.UsageResponse, error) {
	return with(p, server, func(peer *client.Client) (*dhowv1.UsageResponse, error) {
		return peer.Usage.Usage(ctx, q)
	})
}

// with calls another server. That nothing was sent is said in the error.
func with[T any](p *Peers, server string, do func(*client.Client) (*T, error)) (*T, error) {
	c, err := p.client(server)
	if err != nil {
		return nil, untouched(server, err)
	}
	res, err := do(c)
	if err != nil && client.NotSent(err) {
		return nil, untouched(server, err)
	}
	return res, err
}

func untouched(server string, err error) error {
	return &spec.Error{Code: spec.CodeUnavailable, Untouched: true, Message: "server " + server + " cannot be reached", Err: err}
}
