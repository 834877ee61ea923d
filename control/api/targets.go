package api

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"dhow.dev/dhow/control/store"
	dhowv1 "dhow.dev/dhow/proto/dhow/v1"
	"dhow.dev/dhow/proto/spec"
)

const (
	// targetsFor is how long the ready instances of a workload are remembered.
	// One that has ended meanwhile costs a try, no call.
	targetsFor = 250 * time.Millisecond
	// maxTries is how many instances one call may ask: where so many are busy,
	// to ask more would make it worse.
	maxTries = 16
	// maxRemembered bounds the workloads that are remembered.
	maxRemembered = 4096
)

// target is an instance that can be asked.
type target struct {
	ref          *dhowv1.Ref
	node, server string
	// Calls of this server that it has now.
	busy atomic.Int64
}

// targets remembers the ready instances of workloads that are called.
type targets struct {
	mu         sync.Mutex
	byWorkload map[string]*remembered // by namespace/name
	turn       atomic.Uint32
}

type remembered struct {
	at   time.Time
	list []*target
}

func newTargets() *targets { return &targets{byWorkload: map[string]*remembered{}} }

// tryEach calls do with the least busy target of what ref names, and with others
// as long as the error says that nothing was done.
func (a *API) tryEach(ctx context.Context, ref *dhowv1.Ref, own bool, do func(*target) error) error {
	var last error
	tried := map[string]bool{}
	for _, fresh := range []bool{false, true} {
		list, err := a.targetsOf(ctx, ref, own, fresh)
		if err != nil {
			if !fresh && spec.CodeOf(err) != spec.CodeInvalid {
				continue // this server's state may be behind, or what it remembers
			}
			if last == nil {
				last = err
			}
			return last
		}
		for len(tried) < maxTries {
			t := a.targets.pick(list, tried)
			if t == nil {
				break
			}
			tried[t.ref.GetUid()] = true
			if last = do(t); last == nil || !spec.Untouched(last) || ctx.Err() != nil {
				return last
			}
		}
		if spec.CodeOf(last) == spec.CodeExhausted {
			return busy(ref, len(tried), last) // looking again would make it no less so
		}
	}
	return last
}

// busy says that all were, not only the last.
func busy(ref *dhowv1.Ref, tried int, last error) error {
	if tried > 1 {
		return &spec.Error{Code: spec.CodeExhausted, Untouched: true, Err: fmt.Errorf("all %d instances of %s that were asked are busy: %w", tried, ref.GetName(), last)}
	}
	return last
}

// pick chooses the least busy that was not tried; of equals each in turn.
func (ts *targets) pick(list []*target, tried map[string]bool) *target {
	var best *target
	start := int(ts.turn.Add(1))
	for i := range list {
		t := list[(start+i)%len(list)]
		if !tried[t.ref.GetUid()] && (best == nil || t.busy.Load() < best.busy.Load()) {
			best = t
		}
	}
	return best
}

// targetsOf finds what ref names; with fresh, in a state that has every write
// acknowledged before.
func (a *API) targetsOf(ctx context.Context, ref *dhowv1.Ref, own, fresh bool) ([]*target, error) {
	workload := ref.GetKind() == dhowv1.Kind_KIND_WORKLOAD
	key := ref.GetNamespace() + "/" + ref.GetName()
	if workload && !fresh {
		if list := a.targets.recall(key, a.c.Now()); list != nil {
			return list, nil
		}
	}
	v, err := a.view(ctx, !fresh)
	if err != nil {
		return nil, err
	}
	defer v.Close()
	if !workload {
		t, err := a.instanceTarget(v, ref, own)
		if err != nil {
			return nil, err
		}
		return []*target{t}, nil
	}
	list, err := readyTargets(v, ref)
	if err != nil {
		return nil, err
	}
	return a.targets.remember(key, list, a.c.Now()), nil
}

func (ts *targets) recall(key string, now time.Time) []*target {
	ts.mu.Lock()
	defer ts.mu.Unlock()
	if r := ts.byWorkload[key]; r != nil && now.Sub(r.at) < targetsFor {
		return r.list
	}
	return nil
}

// remember keeps the list, with the targets that were known for their counts.
func (ts *targets) remember(key string, list []*target, now time.Time) []*target {
	ts.mu.Lock()
	defer ts.mu.Unlock()
	if old := ts.byWorkload[key]; old != nil {
		known := make(map[string]*target, len(old.list))
		for _, t := range old.list {
			known[t.ref.GetUid()] = t
		}
		for i, t := range list {
			if k := known[t.ref.GetUid()]; k != nil && k.server == t.server {
				list[i] = k
			}
		}
	} else if len(ts.byWorkload) >= maxRemembered {
		clear(ts.byWorkload)
	}
	ts.byWorkload[key] = &remembered{now, list}
	return list
}

// readyTargets lists the ready instances of a function whose nodes are
// connected.
func readyTargets(v *store.View, ref *dhowv1.Ref) ([]*target, error) {
	ob, err := v.Get(ref)
	if err != nil {
		return nil, err
	}
	w := ob.GetWorkload()
	if t := w.GetSpec().GetType(); t != dhowv1.WorkloadType_WORKLOAD_TYPE_FUNCTION {
		return nil, spec.Errorf(spec.CodeInvalid, "%s is of the type %s: only functions can be called (`dhow deploy NAME FILE.wasm --type function`)", ref.GetName(), spec.TypeName(t))
	}
	objs, _, err := v.List(&dhowv1.Selector{Kind: dhowv1.Kind_KIND_INSTANCE, Namespace: ref.GetNamespace(), Workload: ref.GetName()}, "", 0)
	if err != nil {
		return nil, err
	}
	var list []*target
	away := ""
	servers := map[string]string{}
	for _, o := range objs {
		i := o.GetInstance()
		if !i.GetStatus().GetReady() || i.GetSpec().GetDesired() == dhowv1.Desired_DESIRED_STOP || i.GetSpec().GetLostAt() != nil {
			continue
		}
		node := i.GetSpec().GetNode()
		server, known := servers[node]
		if !known {
			if server, err = sessionServer(v, node); err != nil {
				return nil, err
			}
			servers[node] = server
		}
		if server == "" {
			away = node
			continue
		}
		list = append(list, &target{ref: spec.RefOf(o), node: node, server: server})
	}
	if len(list) > 0 {
		return list, nil
	}
	why := w.GetStatus().GetMessage()
	if away != "" {
		why = "node " + away + " is not connected"
	}
	if why != "" {
		why = " (" + why + ")"
	}
	return nil, &spec.Error{Code: spec.CodeUnavailable, Untouched: true, Message: fmt.Sprintf("%s has no ready instance%s: `dhow why %s` says more", ref.GetName(), why, ref.GetName())}
}

// sessionServer is the server that holds a node's session; empty when none
// does.
func sessionServer(v *store.View, node string) (string, error) {
	ob, err := v.Get(&dhowv1.Ref{Kind: dhowv1.Kind_KIND_NODE, Name: node})
	if spec.CodeOf(err) == spec.CodeNotFound {
		return "", nil
	}
	if err != nil {
		return "", err
	}
	if s := ob.GetNode().GetSession(); s.GetConnected() {
		return s.GetServer(), nil
	}
	return "", nil
}

// instanceTarget finds one instance. With own, another server has sent the
// call here, so the node's session must be here.
func (a *API) instanceTarget(v *store.View, ref *dhowv1.Ref, own bool) (*target, error) {
	ob, err := v.Get(ref)
	if err != nil {
		return nil, err
	}
	i := ob.GetInstance()
	node := i.GetSpec().GetNode()
	if node == "" || spec.Terminal(i.GetStatus().GetState()) {
		return nil, &spec.Error{Code: spec.CodeUnavailable, Untouched: true, Message: fmt.Sprintf("instance %s does not run", ref.GetName())}
	}
	server, err := sessionServer(v, node)
	switch {
	case err != nil:
		return nil, err
	case server == "" || own && server != a.c.Server:
		return nil, &spec.Error{Code: spec.CodeUnavailable, Untouched: true, Message: fmt.Sprintf("node %s, which has instance %s, is not connected to this server: try again", node, ref.GetName())}
	}
	return &target{ref: spec.RefOf(ob), node: node, server: server}, nil
}
