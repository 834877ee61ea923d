package session

import (
	"context"

	"connectrpc.com/connect"

	dhowv1 "dhow.dev/dhow/proto/dhow/v1"
)

// Hub holds the sessions of all nodes that are connected to this server. It is
// the AgentService's handler.
type Hub struct{ c Config }

// New makes a Hub. Run must run for it to work.
func New(c Config) *Hub { return &Hub{c: c} }

// Run passes changes on to the sessions until the context ends.
func (h *Hub) Run(ctx context.Context) error { <-ctx.Done(); return nil }

// Connected is how many nodes have a session here.
func (h *Hub) Connected() int { return 0 }

// Logs asks a node for lines and gives them to send, until they end, send
// fails or the context ends.
func (h *Hub) Logs(ctx context.Context, node string, q *dhowv1.LogQuery, send func([]*dhowv1.LogLine) error) error {
	return nil
}

// Session implements AgentService.
func (h *Hub) Session(ctx context.Context, stream *connect.BidiStream[dhowv1.SessionRequest, dhowv1.SessionResponse]) error {
	return nil
}

// ReportStatus implements AgentService.
func (h *Hub) ReportStatus(ctx context.Context, req *dhowv1.ReportStatusRequest) (*dhowv1.ReportStatusResponse, error) {
	return nil, nil
}

// Answer implements AgentService.
func (h *Hub) Answer(ctx context.Context, stream *connect.ClientStream[dhowv1.AnswerRequest]) (*dhowv1.AnswerResponse, error) {
	return nil, nil
}
