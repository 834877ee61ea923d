package api

import (
	"context"

	"connectrpc.com/connect"

	"dhow.dev/dhow/control/auth"
	dhowv1 "dhow.dev/dhow/proto/dhow/v1"
	"dhow.dev/dhow/proto/spec"
	"dhow.dev/dhow/proto/wire"
)

// logs is the LogService.
type logs struct{ *API }

// Logs reads an instance's output from its node, through the server that holds
// the node's session.
func (l logs) Logs(ctx context.Context, req *dhowv1.LogsRequest, out *connect.ServerStream[dhowv1.LogsResponse]) error {
	// Another server calls for a caller that it has authorised.
	forwarded := allowed(ctx, auth.VerbPeer) == nil
	if !forwarded {
		if err := allowed(ctx, auth.VerbLogs); err != nil {
			return err
		}
	}
	q := req.GetQuery()
	if q == nil {
		return &spec.Error{Code: spec.CodeInvalid, Path: "query", Message: "is missing"}
	}
	if q.Ref != nil && q.Ref.Kind == 0 {
		q.Ref.Kind = dhowv1.Kind_KIND_INSTANCE
	}
	if err := checkRef("query.ref", q.Ref); err != nil {
		return err
	}
	if q.Ref.Kind != dhowv1.Kind_KIND_INSTANCE {
		return &spec.Error{Code: spec.CodeInvalid, Path: "query.ref.kind", Message: "logs are read from an instance; list the workload's instances first"}
	}
	wire.Arrived(ctx)
	guard := wire.WriteGuard(ctx, l.c.WriteTimeout)
	node, session, err := l.holder(ctx, q)
	if err != nil {
		return err
	}
	// A client that stops reading ends the call, and that cancels the node's
	// stream.
	send := func(lines []*dhowv1.LogLine) error {
		guard.Start()
		defer guard.Stop()
		return out.Send(&dhowv1.LogsResponse{Lines: lines})
	}
	if session.GetServer() == l.c.Server {
		return l.c.Sessions.Logs(ctx, node, q, send)
	}
	if forwarded {
		return spec.Errorf(spec.CodeUnavailable, "node %s has moved to server %s: try again", node, session.GetServer())
	}
	return l.c.Peers.Logs(ctx, session.GetServer(), q, send)
}

// holder finds the instance's node and its session. It makes the query's
// reference that of this very instance.
func (l logs) holder(ctx context.Context, q *dhowv1.LogQuery) (string, *dhowv1.NodeSession, error) {
	v, err := l.view(ctx, false)
	if err != nil {
		return "", nil, err
	}
	defer v.Close()
	ob, err := v.Get(q.Ref)
	if err != nil {
		return "", nil, err
	}
	i := ob.GetInstance()
	q.Ref = spec.RefOf(ob)
	name := i.GetSpec().GetNode()
	if name == "" {
		return "", nil, spec.Errorf(spec.CodeNotFound, "instance %s has no logs: it has no node yet (%s)", q.Ref.GetName(), i.GetSpec().GetPendingReason())
	}
	nob, err := v.Get(&dhowv1.Ref{Kind: dhowv1.Kind_KIND_NODE, Name: name})
	if spec.CodeOf(err) == spec.CodeNotFound {
		return "", nil, spec.Errorf(spec.CodeNotFound, "instance %s has no logs any more: its node %s was removed from the cluster", q.Ref.GetName(), name)
	}
	if err != nil {
		return "", nil, err
	}
	s := nob.GetNode().GetSession()
	if !s.GetConnected() {
		return "", nil, spec.Errorf(spec.CodeUnavailable, "node %s, which keeps the logs of %s, is not connected (%s): try again when it is back", name, q.Ref.GetName(), stateOf(nob.GetNode()))
	}
	return name, s, nil
}

func stateOf(n *dhowv1.Node) string {
	switch n.GetLiveness().GetState() {
	case dhowv1.NodeState_NODE_STATE_LOST:
		return "lost"
	case dhowv1.NodeState_NODE_STATE_JOINED:
		return "never connected"
	default:
		return "its session has ended"
	}
}
