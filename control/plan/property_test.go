package plan

import (
	"fmt"
	"maps"
	"slices"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"
	"pgregory.net/rapid"

	"dhow.dev/dhow/control/plan/liveness"
	dhowv1 "dhow.dev/dhow/proto/dhow/v1"
	"dhow.dev/dhow/proto/spec"
)

// TestPlannerProperties does random things to a cluster. The world checks the
// invariants after every change and every plan. When things calm down, all is
// as it was asked for, a planner that starts anew agrees, and a planner that
// saw the same planned the same.
func TestPlannerProperties(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		m := &machine{world: newWorld(t)}

		for k := range rapid.IntRange(1, 4).Draw(t, "nodes") {
			m.addNode(fmt.Sprintf("n%d", k), uint64(rapid.IntRange(1, 10).Draw(t, "cpu"))*100, 1<<30)
		}
		t.Repeat(map[string]func(*rapid.T){
			"":         func(t *rapid.T) {},
			"node":     m.doNode,
			"apply":    m.doApply,
			"delete":   m.doDelete,
			"report":   m.doReport,
			"wait":     m.doWait,
			"plan":     func(t *rapid.T) { m.step() },
			"restart":  m.doRestart,
			"settle":   func(t *rapid.T) { m.settle() },
			"report 2": m.doReport,
			"report 3": m.doReport,
		})
		m.converge(t)
	})
}

type machine struct {
	*world
}

// step makes one plan, and does not wait for it to be the last.
func (m *machine) step() {
	p := m.state.Plan(m.now, m.rev)
	m.plans++
	m.apply(p)
}

func (m *machine) pickNode(t *rapid.T) string {
	var names []string
	for _, k := range slices.Sorted(maps.Keys(m.objs)) {
		if n := m.objs[k].GetNode(); n != nil {
			names = append(names, n.GetMeta().GetName())
		}
	}
	if len(names) == 0 {
		return ""
	}
	return rapid.SampledFrom(names).Draw(t, "node")
}

func (m *machine) doNode(t *rapid.T) {
	name := m.pickNode(t)
	what := rapid.SampledFrom([]string{"add", "lose", "back", "suspect", "remove", "cordon", "drain", "open", "grow", "label"}).Draw(t, "what")
	if what == "add" || name == "" {
		m.addNode(fmt.Sprintf("n%d", rapid.IntRange(0, 9).Draw(t, "n")), uint64(rapid.IntRange(1, 10).Draw(t, "cpu"))*100, 1<<30)
		return
	}
	switch what {
	case "lose":
		m.lose(name)
	case "back":
		m.back(name)
	case "suspect":
		m.facts[name] = liveness.Failed
		m.gossip()
	case "remove":
		m.del(&dhowv1.Ref{Kind: dhowv1.Kind_KIND_NODE, Name: name})
	case "cordon":
		m.editNode(name, func(n *dhowv1.Node) { n.Spec = &dhowv1.NodeSpec{Cordoned: true} })
	case "drain":
		m.editNode(name, func(n *dhowv1.Node) { n.Spec = &dhowv1.NodeSpec{Draining: true} })
	case "open":
		m.editNode(name, func(n *dhowv1.Node) { n.Spec = &dhowv1.NodeSpec{} })
	case "grow":
		m.editNode(name, func(n *dhowv1.Node) {
			n.Info = proto.CloneOf(n.GetInfo())
			n.Info.Allocatable.Cpu += 100
		})
	case "label":
		m.editNode(name, func(n *dhowv1.Node) {
			n.Meta.Labels = map[string]string{"disk": rapid.SampledFrom([]string{"ssd", "hdd"}).Draw(t, "disk")}
		})
	}
}

func (m *machine) doApply(t *rapid.T) {
	name := rapid.SampledFrom([]string{"a", "b", "c"}).Draw(t, "workload")
	m.workload(name, uint32(rapid.IntRange(0, 8).Draw(t, "replicas")), func(w *dhowv1.Workload) {
		s := w.GetSpec()
		s.Template.Tasks[0].Args = []string{rapid.SampledFrom([]string{"1", "2", "3"}).Draw(t, "args")}
		s.Template.Tasks[0].Resources.Requests.Cpu = uint64(rapid.IntRange(0, 3).Draw(t, "cpu")) * 100
		if rapid.IntRange(0, 3).Draw(t, "job") == 0 {
			s.Type = dhowv1.WorkloadType_WORKLOAD_TYPE_JOB
			s.BackoffLimit = new(uint32(rapid.IntRange(0, 3).Draw(t, "limit")))
		}
		s.LostAfter = durationpb.New(time.Duration(rapid.IntRange(0, 2).Draw(t, "lost")) * 10 * time.Second)
		s.Template.Placement = &dhowv1.Placement{}
		if rapid.Bool().Draw(t, "spread") {
			s.Template.Placement.Strategy = dhowv1.PlacementStrategy_PLACEMENT_STRATEGY_SPREAD
		}
		if rapid.IntRange(0, 3).Draw(t, "constraint") == 0 {
			s.Template.Placement.Constraints = []*dhowv1.Constraint{{
				Label: "disk", Operator: dhowv1.ConstraintOperator_CONSTRAINT_OPERATOR_NOT_IN, Values: []string{"hdd"},
			}}
		}
		if rapid.IntRange(0, 4).Draw(t, "port") == 0 {
			s.Template.Tasks[0].Ports = []*dhowv1.Port{{Name: "p", Port: 80, HostPort: 8080}}
		}
	})
}

func (m *machine) doDelete(t *rapid.T) {
	m.deleteWorkload(rapid.SampledFrom([]string{"a", "b", "c"}).Draw(t, "workload"))
}

// doReport has a node say something new of one of its instances.
func (m *machine) doReport(t *rapid.T) {
	list := m.instances("", spec.Occupies)
	if len(list) == 0 {
		return
	}
	i := rapid.SampledFrom(list).Draw(t, "instance")
	if n := m.node(i.GetSpec().GetNode()); n == nil || !n.GetSession().GetConnected() {
		return
	}
	if i.GetSpec().GetDesired() == dhowv1.Desired_DESIRED_STOP {
		m.report(i, stopped, false)
		return
	}
	state := dhowv1.InstanceState(rapid.IntRange(2, 7).Draw(t, "state"))
	m.report(i, state, state == running && rapid.Bool().Draw(t, "ready"))
}

func (m *machine) doWait(t *rapid.T) {
	m.pass(time.Duration(rapid.IntRange(1, 20).Draw(t, "seconds")) * time.Second)
}

// doRestart is a change of leader: all that is not in the store is forgotten.
func (m *machine) doRestart(*rapid.T) { m.state = m.fresh() }

func (m *machine) fresh() *State {
	s := NewState()
	for _, k := range Kinds() {
		for _, key := range slices.Sorted(maps.Keys(m.objs)) {
			if o := m.objs[key]; spec.KindOf(o) == k {
				s.Put(o)
			}
		}
	}
	s.SetFacts(liveness.Facts{Nodes: maps.Clone(m.facts)})
	return s
}

// converge lets everything become well and looks whether all is as it should.
func (m *machine) converge(t *rapid.T) {
	for _, k := range slices.Sorted(maps.Keys(m.objs)) {
		if n := m.objs[k].GetNode(); n != nil {
			m.back(n.GetMeta().GetName())
			m.editNode(n.GetMeta().GetName(), func(n *dhowv1.Node) { n.Spec = &dhowv1.NodeSpec{} })
		}
	}
	for range 40 {
		m.obey()
		m.pass(time.Minute)
	}
	m.obey()
	for _, key := range slices.Sorted(maps.Keys(m.objs)) {
		if w := m.objs[key].GetWorkload(); w != nil {
			m.check(t, w)
		}
	}
	for _, i := range m.instances("", nil) {
		if m.get(i.GetSpec().GetWorkload()) == nil {
			t.Fatalf("%s is left of a workload that was deleted", i.GetMeta().GetName())
		}
	}
	f := m.fresh()
	if s := len(f.instances); s != len(m.state.instances) {
		t.Fatalf("%d instances in a new model, %d in the old", s, len(m.state.instances))
	}
	for range 3 {
		p := f.Plan(m.now, m.rev)
		for _, c := range p.Changes {
			i := c.GetPut().GetInstance()
			if i == nil && c.GetDelete() == nil || c.GetPut().GetEvent() != nil {
				continue
			}
			if old := m.objs[keyOf(&dhowv1.Ref{Kind: dhowv1.Kind_KIND_INSTANCE, Namespace: "default", Name: i.GetMeta().GetName()})]; old != nil &&
				old.GetInstance().GetSpec().GetNode() == i.GetSpec().GetNode() && old.GetInstance().GetSpec().GetDesired() == i.GetSpec().GetDesired() {
				continue // it words the reason in another way
			}
			t.Fatalf("a planner that starts anew wants %v", c)
		}
	}
}

// check looks at one workload after all has calmed down.
func (m *machine) check(t *rapid.T, w *dhowv1.Workload) {
	name := w.GetMeta().GetName()
	st := w.GetStatus()
	if st.GetObservedGeneration() != w.GetMeta().GetGeneration() || st.GetDesired() != w.GetSpec().GetReplicas() {
		t.Fatalf("%s: the status speaks of another spec: %v", name, st)
	}
	job := w.GetSpec().GetType() == dhowv1.WorkloadType_WORKLOAD_TYPE_JOB
	by := map[uint32][]*dhowv1.Instance{}
	for _, i := range m.instances(name, live) {
		if i.GetSpec().GetRevision() != st.GetRevision() {
			if !m.waits(i, st.GetRevision()) {
				t.Fatalf("%s is of revision %d, not %d", i.GetMeta().GetName(), i.GetSpec().GetRevision(), st.GetRevision())
			}
			continue
		}
		by[i.GetSpec().GetIndex()] = append(by[i.GetSpec().GetIndex()], i)
		if i.GetSpec().GetNode() == "" && i.GetSpec().GetPendingReason() == "" {
			t.Fatalf("%s is pending without a reason", i.GetMeta().GetName())
		}
	}
	for index := range w.GetSpec().GetReplicas() {
		n := len(by[index])
		delete(by, index)
		if n == 0 && !job && st.GetUpdated() < st.GetReady() {
			continue // a rollout for which there is no room
		}
		if n == 1 && st.GetPhase() != dhowv1.WorkloadPhase_WORKLOAD_PHASE_FAILED {
			continue
		}
		if job && n == 0 {
			done := m.instances(name, func(i *dhowv1.Instance) bool {
				return i.GetSpec().GetIndex() == index && i.GetStatus().GetState() == succeeded && i.GetSpec().GetRevision() == st.GetRevision()
			})
			if len(done) > 0 || st.GetPhase() == dhowv1.WorkloadPhase_WORKLOAD_PHASE_FAILED {
				continue
			}
		}
		t.Fatalf("%s: index %d has %d instances, phase %v", name, index, n, st.GetPhase())
	}
	if len(by) > 0 {
		t.Fatalf("%s has instances of indexes it has not: %v", name, by)
	}
	m.fits(t, name)
}

// waits tells whether the replacement of an instance of an old revision finds
// no room, or another's does not that must come first.
func (m *machine) waits(i *dhowv1.Instance, revision uint64) bool {
	return len(m.instances(i.GetSpec().GetWorkload(), func(o *dhowv1.Instance) bool {
		return live(o) && o.GetSpec().GetNode() == "" && o.GetSpec().GetRevision() == revision
	})) > 0
}

// fits looks that nothing is pending for which there is room.
func (m *machine) fits(t *rapid.T, name string) {
	for _, i := range m.instances(name, live) {
		if i.GetSpec().GetNode() != "" {
			continue
		}
		for _, e := range m.state.Why(spec.RefOf(spec.Wrap(i))) {
			for _, r := range e.GetRefusals() {
				if r.GetFilter() == "" {
					t.Fatalf("%s is pending (%s), but %s would take it", i.GetMeta().GetName(), i.GetSpec().GetPendingReason(), r.GetNode())
				}
			}
		}
	}
}

// TestPlansAreDeterministic feeds two planners the same.
func TestPlansAreDeterministic(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w := newWorld(t)
		twin := NewState()
		nodes := rapid.IntRange(1, 5).Draw(t, "nodes")
		feed := func(o *dhowv1.Object) {
			w.put(o)
			twin.Put(o)
		}
		for k := range nodes {
			feed(spec.Wrap(&dhowv1.Node{
				Meta: &dhowv1.Meta{Name: fmt.Sprintf("n%d", k)},
				Info: &dhowv1.NodeInfo{Runtimes: []string{"wasm"}, Allocatable: &dhowv1.ResourceList{Cpu: 500, Memory: 1 << 30}},
				Session: &dhowv1.NodeSession{
					Id: "1", Connected: true,
				},
			}))
		}
		for k := range rapid.IntRange(1, 4).Draw(t, "workloads") {
			w.workload(fmt.Sprintf("w%d", k), uint32(rapid.IntRange(0, 9).Draw(t, "replicas")))
			twin.Put(spec.Wrap(w.get(fmt.Sprintf("w%d", k))))
		}
		seed := rapid.Uint64().Draw(t, "seed")
		a, b := w.state.Plan(w.now, seed), twin.Plan(w.now, seed)
		if len(a.Changes) != len(b.Changes) {
			t.Fatalf("%d and %d changes", len(a.Changes), len(b.Changes))
		}
		for k := range a.Changes {
			if !proto.Equal(a.Changes[k], b.Changes[k]) {
				t.Fatalf("change %d: %v and %v", k, a.Changes[k], b.Changes[k])
			}
		}
	})
}
