package plan

import (
	"fmt"
	"testing"
	"time"

	dhowv1 "dhow.dev/dhow/proto/dhow/v1"
	"dhow.dev/dhow/proto/spec"
)

func quiet(b *testing.B) *fill {
	return &fill{b: b, state: NewState(), now: time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)}
}

// fill is a State whose plans are taken for done: planning alone is measured.
type fill struct {
	b     *testing.B
	state *State
	now   time.Time
	seed  uint64
}

func (f *fill) nodes(n int, cpu, memory uint64) {
	for k := range n {
		f.state.Put(spec.Wrap(&dhowv1.Node{
			Meta: &dhowv1.Meta{Name: fmt.Sprintf("n%05d", k), Uid: fmt.Sprintf("node-%d", k)},
			Info: &dhowv1.NodeInfo{
				Os: "linux", Arch: "amd64", Zone: string(rune('a' + k%3)), Runtimes: []string{"wasm"},
				Allocatable: &dhowv1.ResourceList{Cpu: cpu, Memory: memory},
			},
			Liveness: &dhowv1.NodeLiveness{State: dhowv1.NodeState_NODE_STATE_READY},
			Session:  &dhowv1.NodeSession{Server: "s", Id: "1", Connected: true},
		}))
	}
	f.plan()
}

func (f *fill) workload(name string, replicas uint32, change ...func(*dhowv1.Workload)) {
	w := &dhowv1.Workload{
		Meta: &dhowv1.Meta{Name: name, Namespace: "default", Uid: "uid-" + name, Generation: 1},
		Spec: &dhowv1.WorkloadSpec{
			Type: dhowv1.WorkloadType_WORKLOAD_TYPE_SERVICE, Replicas: &replicas,
			Template: &dhowv1.Template{Tasks: []*dhowv1.Task{{
				Source:    &dhowv1.Task_Wasm{Wasm: &dhowv1.WasmSource{}},
				Resources: &dhowv1.Resources{Requests: &dhowv1.ResourceList{Cpu: 100, Memory: 64 << 20}},
			}}},
		},
	}
	for _, c := range change {
		c(w)
	}
	f.state.Put(spec.Wrap(w))
}

// plan plans until nothing is left, and counts the births.
func (f *fill) plan() (births int) {
	for {
		f.seed++
		p := f.state.Plan(f.now, f.seed)
		if p.Empty() {
			return births
		}
		for _, c := range p.Changes {
			if c.GetExpect().GetAbsent() && c.GetPut().GetInstance() != nil {
				births++
			}
		}
	}
}

func spread(w *dhowv1.Workload) {
	w.Spec.Template.Placement = &dhowv1.Placement{Strategy: dhowv1.PlacementStrategy_PLACEMENT_STRATEGY_SPREAD}
}

func inZone(w *dhowv1.Workload) {
	w.Spec.Template.Placement = &dhowv1.Placement{Constraints: []*dhowv1.Constraint{{
		Label: spec.LabelZone, Operator: dhowv1.ConstraintOperator_CONSTRAINT_OPERATOR_IN, Values: []string{"b"},
	}}}
}

// BenchmarkPlace plans 100,000 instances on 10,000 nodes.
func BenchmarkPlace(b *testing.B) {
	for _, c := range []struct {
		name                string
		workloads, replicas int
		change              []func(*dhowv1.Workload)
	}{
		{"1x100000", 1, 100_000, nil},
		{"100x1000", 100, 1000, nil},
		{"10000x10", 10_000, 10, nil},
		{"10000x10/spread", 10_000, 10, []func(*dhowv1.Workload){spread}},
		{"1x100000/spread", 1, 100_000, []func(*dhowv1.Workload){spread}},
		{"1000x30/constraint", 1000, 30, []func(*dhowv1.Workload){inZone}},
	} {
		b.Run(c.name, func(b *testing.B) {
			total := 0
			for b.Loop() {
				b.StopTimer()
				f := quiet(b)
				f.nodes(10_000, 1600, 2<<30)
				for k := range c.workloads {
					f.workload(fmt.Sprintf("w%05d", k), uint32(c.replicas), c.change...)
				}
				b.StartTimer()
				n := f.plan()
				if n != c.workloads*c.replicas {
					b.Fatalf("%d births", n)
				}
				total += n
			}
			b.ReportMetric(float64(total)/b.Elapsed().Seconds(), "placements/s")
		})
	}
}

// BenchmarkOneMore plans one more instance on 10,000 nodes with 100,000.
func BenchmarkOneMore(b *testing.B) {
	for _, c := range []struct {
		name   string
		cpu    uint64
		change []func(*dhowv1.Workload)
	}{
		{"full", 1000, nil}, // only the last node has room
		{"half", 2000, nil},
		{"half/spread", 2000, []func(*dhowv1.Workload){spread}},
		{"nowhere", 1000, []func(*dhowv1.Workload){func(w *dhowv1.Workload) {
			w.Spec.Template.Tasks[0].Resources.Requests.Cpu = 900
		}}},
	} {
		b.Run(c.name, func(b *testing.B) {
			f := quiet(b)
			f.nodes(10_000, c.cpu, 2<<30)
			f.workload("base", 100_000)
			if n := f.plan(); n != 100_000 {
				b.Fatalf("%d births", n)
			}
			f.state.Put(spec.Wrap(&dhowv1.Node{
				Meta: &dhowv1.Meta{Name: "last", Uid: "last"},
				Info: &dhowv1.NodeInfo{
					Zone: "b", Runtimes: []string{"wasm"},
					Allocatable: &dhowv1.ResourceList{Cpu: 150, Memory: 2 << 30},
				},
				Liveness: &dhowv1.NodeLiveness{State: dhowv1.NodeState_NODE_STATE_READY},
				Session:  &dhowv1.NodeSession{Server: "s", Id: "1", Connected: true},
			}))
			f.plan()
			k := 0
			for b.Loop() {
				f.workload("one", 1, c.change...)
				n := f.plan()
				if n != 1 {
					b.Fatalf("%d births", n)
				}
				b.StopTimer()
				f.state.Remove(&dhowv1.Ref{Kind: dhowv1.Kind_KIND_WORKLOAD, Namespace: "default", Name: "one"})
				f.plan()
				for key, i := range f.state.instances {
					if key.name[0] == 'o' {
						f.state.Remove(spec.RefOf(spec.Wrap(i.Obj)))
						break
					}
				}
				f.plan()
				k++
				b.StartTimer()
			}
		})
	}
}

// BenchmarkReport takes in one status report of 100,000 instances and plans.
func BenchmarkReport(b *testing.B) {
	f := quiet(b)
	f.nodes(10_000, 2000, 2<<30)
	f.workload("base", 100_000)
	f.plan()
	var all []*dhowv1.Instance
	for _, i := range f.state.instances {
		all = append(all, i.Obj)
	}
	k := 0
	b.ReportAllocs()
	for b.Loop() {
		i := all[k%len(all)]
		k++
		f.state.Put(spec.Wrap(&dhowv1.Instance{Meta: i.GetMeta(), Spec: i.GetSpec(), Status: &dhowv1.InstanceStatus{
			State: dhowv1.InstanceState_INSTANCE_STATE_RUNNING, Ready: (k/len(all))%2 == 0,
		}}))
		f.plan()
	}
}
