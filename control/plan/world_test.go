package plan

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	"dhow.dev/dhow/control/plan/invariant"
	"dhow.dev/dhow/control/plan/liveness"
	dhowv1 "dhow.dev/dhow/proto/dhow/v1"
	"dhow.dev/dhow/proto/spec"
)

// tb is what tests and rapid have in common.
type tb interface {
	Helper()
	Fatalf(format string, args ...any)
	Logf(format string, args ...any)
}

// world is a cluster in a map: it applies changes as the store does.
type world struct {
	t       tb
	objs    map[string]*dhowv1.Object
	rev     uint64
	uids    int
	now     time.Time
	state   *State
	checker *invariant.Checker
	facts   map[string]liveness.Gossip
	events  []string // reasons
	plans   int
}

func newWorld(t tb) *world {
	return &world{
		t: t, objs: map[string]*dhowv1.Object{}, now: time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC),
		state: NewState(), checker: invariant.New(), facts: map[string]liveness.Gossip{},
	}
}

func keyOf(r *dhowv1.Ref) string {
	return fmt.Sprintf("%d/%s/%s", r.GetKind(), r.GetNamespace(), r.GetName())
}

// put stores an object and tells the planner.
func (w *world) put(o *dhowv1.Object) {
	w.t.Helper()
	w.rev++
	m := spec.MetaOf(o)
	m.Version = w.rev
	if m.Uid == "" {
		w.uids++
		m.Uid = fmt.Sprintf("uid-%d", w.uids)
	}
	w.objs[keyOf(spec.RefOf(o))] = o
	w.tell(&dhowv1.WatchEvent{Type: dhowv1.WatchEventType_WATCH_EVENT_TYPE_PUT, Object: o})
}

func (w *world) del(r *dhowv1.Ref) {
	w.t.Helper()
	o := w.objs[keyOf(r)]
	if o == nil || r.GetUid() != "" && spec.MetaOf(o).GetUid() != r.GetUid() {
		return
	}
	w.rev++
	delete(w.objs, keyOf(r))
	w.tell(&dhowv1.WatchEvent{Type: dhowv1.WatchEventType_WATCH_EVENT_TYPE_DELETE, Object: o})
}

func (w *world) tell(ev *dhowv1.WatchEvent) {
	w.t.Helper()
	if err := w.checker.Observe(ev); err != nil {
		w.t.Fatalf("%v", err)
	}
	w.state.Apply(ev)
}

// apply makes the changes of a plan.
func (w *world) apply(p Plan) {
	w.t.Helper()
	if err := w.checker.Propose(p.Changes); err != nil {
		w.t.Fatalf("plan %d: %v", w.plans, err)
	}
	for _, c := range p.Changes {
		c = proto.Clone(c).(*dhowv1.Change)
		switch op := c.GetOp().(type) {
		case *dhowv1.Change_Put:
			o := op.Put
			old := w.objs[keyOf(spec.RefOf(o))]
			if c.GetExpect().GetAbsent() && old != nil || c.GetExpect().GetPresent() && old == nil {
				w.t.Fatalf("plan %d: the expectation of %v does not hold", w.plans, c)
			}
			if i := o.GetInstance(); i != nil && old != nil {
				i.Status, i.Meta = old.GetInstance().GetStatus(), proto.CloneOf(i.GetMeta())
			}
			if e := o.GetEvent(); e != nil {
				w.events = append(w.events, e.GetReason())
			}
			w.put(o)
		case *dhowv1.Change_Delete:
			w.del(op.Delete)
		case *dhowv1.Change_Liveness:
			n := w.node(op.Liveness.GetNode())
			n.Liveness = op.Liveness.GetLiveness()
			w.put(spec.Wrap(n))
		case *dhowv1.Change_Workload:
			if o := w.objs[keyOf(op.Workload.GetRef())]; o != nil {
				wl := proto.CloneOf(o.GetWorkload())
				wl.Status = op.Workload.GetStatus()
				w.put(spec.Wrap(wl))
			}
		default:
			w.t.Fatalf("plan %d: unexpected change %v", w.plans, c)
		}
	}
}

// settle plans until there is nothing left, and tells when to plan again.
func (w *world) settle() time.Time {
	w.t.Helper()
	for range 200 {
		w.plans++
		p := w.state.Plan(w.now, w.rev)
		if p.Empty() {
			if p.More {
				w.t.Fatalf("the plan is empty, but there is more to do")
			}
			return p.Wake
		}
		w.apply(p)
	}
	w.t.Fatalf("200 plans and no end")
	return time.Time{}
}

// wait lets time pass up to the next wake, and plans.
func (w *world) pass(d time.Duration) {
	w.t.Helper()
	end := w.now.Add(d)
	for range 10_000 {
		wake := w.settle()
		if wake.IsZero() || wake.After(end) {
			w.now = end
			w.settle()
			return
		}
		if wake.After(w.now) {
			w.now = wake
		}
	}
	w.t.Fatalf("woken too often")
}

func (w *world) node(name string) *dhowv1.Node {
	o := w.objs[keyOf(&dhowv1.Ref{Kind: dhowv1.Kind_KIND_NODE, Name: name})]
	if o == nil {
		return nil
	}
	return proto.CloneOf(o.GetNode())
}

// addNode adds a ready node with a session.
func (w *world) addNode(name string, cpu, memory uint64, change ...func(*dhowv1.Node)) {
	w.t.Helper()
	n := &dhowv1.Node{
		Meta: &dhowv1.Meta{Name: name},
		Spec: &dhowv1.NodeSpec{},
		Info: &dhowv1.NodeInfo{
			Os: "linux", Arch: "amd64", Zone: "a", Runtimes: []string{"wasm"}, Gossip: true,
			Allocatable: &dhowv1.ResourceList{Cpu: cpu, Memory: memory},
		},
		Session: &dhowv1.NodeSession{Server: "s1", Id: "1", Connected: true},
	}
	for _, f := range change {
		f(n)
	}
	w.facts[name] = liveness.Alive
	w.gossip()
	w.put(spec.Wrap(n))
}

func (w *world) gossip() {
	w.state.SetFacts(liveness.Facts{Nodes: maps.Clone(w.facts)})
}

func (w *world) editNode(name string, f func(*dhowv1.Node)) {
	w.t.Helper()
	n := w.node(name)
	f(n)
	w.put(spec.Wrap(n))
}

// lose makes gossip and session say that a node is gone.
func (w *world) lose(name string) {
	w.t.Helper()
	w.facts[name] = liveness.Failed
	w.gossip()
	w.editNode(name, func(n *dhowv1.Node) { n.Session = &dhowv1.NodeSession{Server: "s1", Id: n.GetSession().GetId()} })
}

func (w *world) back(name string) {
	w.t.Helper()
	w.facts[name] = liveness.Alive
	w.gossip()
	w.editNode(name, func(n *dhowv1.Node) {
		n.Session = &dhowv1.NodeSession{Server: "s1", Id: n.GetSession().GetId() + "1", Connected: true}
	})
}

// workload makes or changes a workload.
func (w *world) workload(name string, replicas uint32, change ...func(*dhowv1.Workload)) {
	w.t.Helper()
	wl := &dhowv1.Workload{
		Meta: &dhowv1.Meta{Name: name, Namespace: "default"},
		Spec: &dhowv1.WorkloadSpec{
			Replicas: &replicas,
			Template: &dhowv1.Template{Tasks: []*dhowv1.Task{{
				Source:    &dhowv1.Task_Wasm{Wasm: &dhowv1.WasmSource{Artifact: "sha256:" + strings.Repeat("0", 64)}},
				Resources: &dhowv1.Resources{Requests: &dhowv1.ResourceList{Cpu: 100, Memory: 64 << 20}},
			}}},
		},
	}
	for _, f := range change {
		f(wl)
	}
	spec.Default(spec.Wrap(wl))
	wl.Meta.Generation = 1
	if old := w.get(name); old != nil {
		wl.Meta.Uid, wl.Meta.Generation, wl.Status = old.Meta.Uid, old.Meta.Generation, old.Status
		if !proto.Equal(old.GetSpec(), wl.GetSpec()) {
			wl.Meta.Generation++
		}
	}
	w.put(spec.Wrap(wl))
}

func (w *world) get(name string) *dhowv1.Workload {
	o := w.objs[keyOf(&dhowv1.Ref{Kind: dhowv1.Kind_KIND_WORKLOAD, Namespace: "default", Name: name})]
	if o == nil {
		return nil
	}
	return proto.CloneOf(o.GetWorkload())
}

func (w *world) deleteWorkload(name string) {
	w.t.Helper()
	w.del(&dhowv1.Ref{Kind: dhowv1.Kind_KIND_WORKLOAD, Namespace: "default", Name: name})
}

// instances lists those of a workload that pick takes, by name.
func (w *world) instances(workload string, pick func(*dhowv1.Instance) bool) []*dhowv1.Instance {
	var out []*dhowv1.Instance
	for _, k := range slices.Sorted(maps.Keys(w.objs)) {
		i := w.objs[k].GetInstance()
		if i != nil && (workload == "" || i.GetSpec().GetWorkload() == workload) && (pick == nil || pick(i)) {
			out = append(out, i)
		}
	}
	return out
}

func live(i *dhowv1.Instance) bool {
	return i.GetSpec().GetDesired() == dhowv1.Desired_DESIRED_RUN && !spec.Terminal(i.GetStatus().GetState())
}

func placed(i *dhowv1.Instance) bool { return live(i) && i.GetSpec().GetNode() != "" }

func on(node string) func(*dhowv1.Instance) bool {
	return func(i *dhowv1.Instance) bool { return spec.Occupies(i) && i.GetSpec().GetNode() == node }
}

// report is what a node says of an instance.
func (w *world) report(i *dhowv1.Instance, state dhowv1.InstanceState, ready bool) {
	w.t.Helper()
	o := w.objs[keyOf(spec.RefOf(spec.Wrap(i)))]
	if o == nil || !spec.Forward(o.GetInstance().GetStatus().GetState(), state) {
		return
	}
	n := proto.CloneOf(o.GetInstance())
	st := &dhowv1.InstanceStatus{State: state, Ready: ready, Sequence: n.GetStatus().GetSequence() + 1}
	st.StartedAt = n.GetStatus().GetStartedAt()
	if state == running && st.StartedAt == nil {
		st.StartedAt = timestamppb.New(w.now)
	}
	if spec.Terminal(state) {
		st.FinishedAt = timestamppb.New(w.now)
	}
	n.Status = st
	w.put(spec.Wrap(n))
}

// obey has nodes do what they are told, until nothing changes.
func (w *world) obey() {
	w.t.Helper()
	for range 100 {
		w.settle()
		if !w.act() {
			return
		}
	}
	w.t.Fatalf("no end")
}

// act does one round; it tells whether something changed.
func (w *world) act() (changed bool) {
	for _, i := range w.instances("", spec.Occupies) {
		n := w.node(i.GetSpec().GetNode())
		switch {
		case n == nil || !n.GetSession().GetConnected():
		case i.GetSpec().GetDesired() == dhowv1.Desired_DESIRED_STOP:
			w.report(i, stopped, false)
			changed = true
		case i.GetStatus().GetState() == dhowv1.InstanceState_INSTANCE_STATE_STOPPING:
			w.report(i, failed, false)
			changed = true
		case !i.GetStatus().GetReady():
			w.report(i, running, true)
			changed = true
		}
	}
	return changed
}

const (
	running   = dhowv1.InstanceState_INSTANCE_STATE_RUNNING
	stopped   = dhowv1.InstanceState_INSTANCE_STATE_STOPPED
	failed    = dhowv1.InstanceState_INSTANCE_STATE_FAILED
	succeeded = dhowv1.InstanceState_INSTANCE_STATE_SUCCEEDED
)

// want checks a number.
func want[T comparable](t *testing.T, what string, got, wanted T) {
	t.Helper()
	if got != wanted {
		t.Errorf("%s: got %v, want %v", what, got, wanted)
	}
}
