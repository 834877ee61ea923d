package api

import (
	"cmp"
	"context"
	"slices"
	"sync"

	"golang.org/x/sync/errgroup"

	"dhow.dev/dhow/control/auth"
	"dhow.dev/dhow/control/store"
	dhowv1 "dhow.dev/dhow/proto/dhow/v1"
	"dhow.dev/dhow/proto/spec"
)

// maxAsked is how many nodes are asked at a time.
const maxAsked = 32

// usages is the UsageService.
type usages struct{ *API }

// Usage asks the nodes of all instances that are meant, each through the server
// that holds its session.
func (u usages) Usage(ctx context.Context, req *dhowv1.UsageRequest) (*dhowv1.UsageResponse, error) {
	forwarded := allowed(ctx, auth.VerbPeer) == nil
	if !forwarded {
		if err := allowed(ctx, auth.VerbRead, dhowv1.Kind_KIND_INSTANCE); err != nil {
			return nil, err
		}
	}
	v, err := u.view(ctx, true)
	if err != nil {
		return nil, err
	}
	nodes, err := placed(v, req)
	var servers map[string]string
	if err == nil {
		servers, err = serversOf(v, nodes)
	}
	v.Close()
	if err != nil {
		return nil, err
	}
	all := &gathered{}
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(maxAsked)
	others := map[string]bool{}
	for node, refs := range nodes {
		switch server := servers[node]; server {
		case u.c.Server:
			group.Go(func() error { return u.ask(ctx, node, refs, all) })
		case "":
			if !forwarded {
				all.silent(node, "it is not connected")
			}
		default:
			others[server] = true
		}
	}
	if !forwarded {
		for server := range others {
			group.Go(func() error { return u.askPeer(ctx, server, req, servers, all) })
		}
	}
	if err := group.Wait(); err != nil {
		return nil, err
	}
	return all.sorted(), nil
}

// ask notes what one node says; that it says nothing is no error of the whole.
func (u usages) ask(ctx context.Context, node string, refs []*dhowv1.Ref, all *gathered) error {
	list, err := u.c.Sessions.Usage(ctx, node, &dhowv1.UsageQuery{Instances: refs})
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if err != nil {
		all.silent(node, err.Error())
		return nil
	}
	all.add(list.GetInstances())
	return nil
}

func (u usages) askPeer(ctx context.Context, server string, req *dhowv1.UsageRequest, servers map[string]string, all *gathered) error {
	res, err := u.c.Peers.Usage(ctx, server, req)
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if err != nil {
		for node, of := range servers {
			if of == server {
				all.silent(node, err.Error())
			}
		}
		return nil
	}
	all.add(res.GetInstances())
	for _, s := range res.GetSilent() {
		all.silent(s.GetName(), s.GetMessage())
	}
	return nil
}

// placed lists the instances that are meant, by their nodes.
func placed(v *store.View, req *dhowv1.UsageRequest) (map[string][]*dhowv1.Ref, error) {
	sel := &dhowv1.Selector{
		Kind: dhowv1.Kind_KIND_INSTANCE, Namespace: req.GetNamespace(), Workload: req.GetWorkload(), Name: req.GetInstance(), Node: req.GetNode(),
	}
	objs, _, err := v.List(sel, "", 0)
	if err != nil {
		return nil, err
	}
	out := map[string][]*dhowv1.Ref{}
	for _, o := range objs {
		if i := o.GetInstance(); spec.Occupies(i) && i.GetStatus().GetState() >= dhowv1.InstanceState_INSTANCE_STATE_RUNNING {
			node := i.GetSpec().GetNode()
			out[node] = append(out[node], spec.RefOf(o))
		}
	}
	return out, nil
}

func serversOf(v *store.View, nodes map[string][]*dhowv1.Ref) (map[string]string, error) {
	out := make(map[string]string, len(nodes))
	for node := range nodes {
		server, err := sessionServer(v, node)
		if err != nil {
			return nil, err
		}
		out[node] = server
	}
	return out, nil
}

// gathered is the answer in the making.
type gathered struct {
	mu  sync.Mutex
	out dhowv1.UsageResponse
}

func (g *gathered) add(list []*dhowv1.InstanceUsage) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.out.Instances = append(g.out.Instances, list...)
}

func (g *gathered) silent(node, why string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.out.Silent = append(g.out.Silent, &dhowv1.SilentNode{Name: node, Message: why})
}

func (g *gathered) sorted() *dhowv1.UsageResponse {
	slices.SortFunc(g.out.GetInstances(), func(x, y *dhowv1.InstanceUsage) int {
		return cmp.Or(cmp.Compare(x.GetRef().GetNamespace(), y.GetRef().GetNamespace()), cmp.Compare(x.GetRef().GetName(), y.GetRef().GetName()))
	})
	slices.SortFunc(g.out.GetSilent(), func(x, y *dhowv1.SilentNode) int { return cmp.Compare(x.GetName(), y.GetName()) })
	return &g.out
}
