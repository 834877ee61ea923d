package api

import (
	"context"

	"dhow.dev/dhow/control/auth"
	"dhow.dev/dhow/control/plan"
	"dhow.dev/dhow/control/store"
	dhowv1 "dhow.dev/dhow/proto/dhow/v1"
	"dhow.dev/dhow/proto/spec"
)

// clusters is the ClusterService.
type clusters struct{ *API }

// Info tells about the cluster as this server sees it.
func (c clusters) Info(ctx context.Context, _ *dhowv1.InfoRequest) (*dhowv1.InfoResponse, error) {
	if err := allowed(ctx, auth.VerbInfo); err != nil {
		return nil, err
	}
	return &dhowv1.InfoResponse{
		ClusterId: c.c.CA.Cluster(), Server: c.c.Server, Version: c.c.Version,
		Leader: c.c.Cluster.Leader(), Revision: c.c.Store.Revision(), Servers: c.c.Cluster.Servers(),
	}, nil
}

// RemoveServer removes a server from the cluster.
func (c clusters) RemoveServer(ctx context.Context, req *dhowv1.RemoveServerRequest) (*dhowv1.RemoveServerResponse, error) {
	if err := allowed(ctx, auth.VerbRemoveServer); err != nil {
		return nil, err
	}
	servers := c.c.Cluster.Servers()
	for _, s := range servers {
		if s.GetName() != req.GetName() {
			continue
		}
		if len(servers) == 1 {
			return nil, spec.Errorf(spec.CodeInvalid, "%q is the only server: without it there is no cluster", req.GetName())
		}
		return &dhowv1.RemoveServerResponse{}, c.c.Peers.RemovePeer(ctx, req.GetName())
	}
	return nil, spec.Errorf(spec.CodeNotFound, "there is no server %q", req.GetName())
}

// StateHash hashes this server's state.
func (c clusters) StateHash(ctx context.Context, _ *dhowv1.StateHashRequest) (*dhowv1.StateHashResponse, error) {
	if err := allowed(ctx, auth.VerbInfo); err != nil {
		return nil, err
	}
	rev, hash, err := c.c.Store.Hash()
	return &dhowv1.StateHashResponse{Revision: rev, Hash: hash}, err
}

// Why says, node by node, what the scheduler refused. It builds the planner's
// model from a snapshot, so that any server can answer; one at a time, since
// that is work.
func (c clusters) Why(ctx context.Context, req *dhowv1.WhyRequest) (*dhowv1.WhyResponse, error) {
	ref := req.GetRef()
	if err := checkRef("ref", ref); err != nil {
		return nil, err
	}
	if ref.GetKind() != dhowv1.Kind_KIND_INSTANCE && ref.GetKind() != dhowv1.Kind_KIND_WORKLOAD {
		return nil, &spec.Error{Code: spec.CodeInvalid, Path: "ref.kind", Message: "must be an instance or a workload"}
	}
	if err := allowed(ctx, auth.VerbRead, ref.GetKind()); err != nil {
		return nil, err
	}
	if err := allowed(ctx, auth.VerbRead, dhowv1.Kind_KIND_NODE); err != nil {
		return nil, err
	}
	v, err := c.view(ctx, false)
	if err != nil {
		return nil, err
	}
	defer v.Close()
	if _, err := v.Get(ref); err != nil {
		return nil, err
	}
	select {
	case c.why <- struct{}{}:
		defer func() { <-c.why }()
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	state := plan.NewState()
	for _, kind := range []dhowv1.Kind{dhowv1.Kind_KIND_NODE, dhowv1.Kind_KIND_WORKLOAD, dhowv1.Kind_KIND_REVISION, dhowv1.Kind_KIND_INSTANCE} {
		if err := feed(ctx, state, v, kind); err != nil {
			return nil, err
		}
	}
	return &dhowv1.WhyResponse{Explanations: state.Why(ref)}, nil
}

// feed gives all objects of a kind to the planner's model.
func feed(ctx context.Context, state *plan.State, v *store.View, kind dhowv1.Kind) error {
	for after := ""; ; {
		objs, next, err := v.List(&dhowv1.Selector{Kind: kind}, after, listStep)
		if err != nil {
			return err
		}
		for _, ob := range objs {
			state.Apply(&dhowv1.WatchEvent{Type: dhowv1.WatchEventType_WATCH_EVENT_TYPE_PUT, Object: ob})
		}
		if next == "" || ctx.Err() != nil {
			return ctx.Err()
		}
		after = next
	}
}
