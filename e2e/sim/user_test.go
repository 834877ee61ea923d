package sim

import (
	"fmt"
	"strings"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"

	dhowv1 "dhow.dev/dhow/proto/dhow/v1"
	"dhow.dev/dhow/proto/spec"
)

// user changes his mind.
type user struct {
	w    *world
	uids int
}

func (u *user) act() {
	w := u.w
	if w.calm {
		return
	}
	w.after(w.between(20*time.Millisecond, 1500*time.Millisecond), u.act)
	s := w.servers[w.rng.IntN(len(w.servers))]
	if !s.up {
		return
	}
	name := fmt.Sprintf("w%d", w.rng.IntN(4))
	switch w.rng.IntN(10) {
	case 0:
		u.call(s, "deletes "+name, &dhowv1.Change{Op: &dhowv1.Change_Delete{Delete: &dhowv1.Ref{
			Kind: dhowv1.Kind_KIND_WORKLOAD, Namespace: "default", Name: name,
		}}})
	case 1, 2:
		u.node(s)
	case 3:
		u.scale(s, name)
	default:
		u.call(s, "applies "+name, put(u.workload(name)))
	}
}

func put(o *dhowv1.Object) *dhowv1.Change {
	return &dhowv1.Change{Op: &dhowv1.Change_Put{Put: o}}
}

func (u *user) call(s *server, what string, c *dhowv1.Change) {
	u.w.logf("user %s", what)
	s.call(&dhowv1.Proposal{Changes: []*dhowv1.Change{c}}, func(r *dhowv1.ProposalResult) {
		if r != nil && r.GetCode() == "" {
			u.w.stats.acked++
		}
	})
}

func (u *user) workload(name string) *dhowv1.Object {
	w := u.w
	u.uids++
	wl := &dhowv1.Workload{
		Meta: &dhowv1.Meta{Name: name, Namespace: "default", Uid: fmt.Sprintf("uid-%d", u.uids)},
		Spec: &dhowv1.WorkloadSpec{
			Replicas:  new(uint32(w.rng.IntN(7))),
			LostAfter: durationpb.New(time.Duration(w.rng.IntN(3)) * 2 * time.Second),
			Template: &dhowv1.Template{
				Placement:   &dhowv1.Placement{},
				GracePeriod: durationpb.New(2 * time.Second),
				Tasks: []*dhowv1.Task{{
					Source:    &dhowv1.Task_Wasm{Wasm: &dhowv1.WasmSource{Artifact: "sha256:" + strings.Repeat("0", 64)}},
					Args:      []string{[]string{"serve", "serve", "serve", "stubborn", "crashy", "broken"}[w.rng.IntN(6)]},
					Resources: &dhowv1.Resources{Requests: &dhowv1.ResourceList{Cpu: uint64(w.rng.IntN(3)) * 100}},
				}},
			},
		},
	}
	sp := wl.Spec
	if w.one(4) {
		sp.Type = dhowv1.WorkloadType_WORKLOAD_TYPE_JOB
		sp.BackoffLimit = new(uint32(w.rng.IntN(4)))
		sp.Template.Tasks[0].Args = []string{[]string{"job", "flaky"}[w.rng.IntN(2)]}
	}
	if w.one(2) {
		sp.Template.Placement.Strategy = dhowv1.PlacementStrategy_PLACEMENT_STRATEGY_SPREAD
	}
	if w.one(8) {
		sp.Template.Tasks[0].Ports = []*dhowv1.Port{{Name: "p", Port: 80, HostPort: 8080}}
	}
	if w.one(3) {
		sp.Template.Tasks = append(sp.Template.Tasks, &dhowv1.Task{
			Name: "side", Role: dhowv1.TaskRole_TASK_ROLE_SIDECAR, Args: []string{"serve"},
			Source: &dhowv1.Task_Wasm{Wasm: &dhowv1.WasmSource{Artifact: "sha256:" + strings.Repeat("1", 64)}},
		})
	}
	o := spec.Wrap(wl)
	spec.Default(o)
	if sp.GetType() == dhowv1.WorkloadType_WORKLOAD_TYPE_SERVICE {
		sp.Template.Restart.Attempts = new(uint32(w.rng.IntN(3)))
	}
	return o
}

func (u *user) scale(s *server, name string) {
	v := s.st.View()
	defer v.Close()
	o, err := v.Get(&dhowv1.Ref{Kind: dhowv1.Kind_KIND_WORKLOAD, Namespace: "default", Name: name})
	if err != nil {
		return
	}
	wl := proto.CloneOf(o.GetWorkload())
	wl.Spec.Replicas = new(uint32(u.w.rng.IntN(9)))
	c := put(spec.Wrap(wl))
	c.Expect = &dhowv1.Expect{Version: wl.GetMeta().GetVersion()}
	u.call(s, fmt.Sprintf("scales %s to %d", name, wl.GetSpec().GetReplicas()), c)
}

// node cordons, drains and opens nodes, and removes one for good.
func (u *user) node(s *server) {
	w := u.w
	n := w.nodes[w.rng.IntN(len(w.nodes))]
	if w.one(15) && !n.gone && len(w.nodes) > 2 {
		u.call(s, "removes node "+n.name, &dhowv1.Change{Op: &dhowv1.Change_Delete{Delete: &dhowv1.Ref{Kind: dhowv1.Kind_KIND_NODE, Name: n.name}}})
		n.gone = true
		if n.up {
			n.stop(true)
		}
		clear(n.runs)
		return
	}
	v := s.st.View()
	defer v.Close()
	o, err := v.Get(&dhowv1.Ref{Kind: dhowv1.Kind_KIND_NODE, Name: n.name})
	if err != nil {
		return
	}
	m := proto.CloneOf(o.GetNode())
	m.Spec = &dhowv1.NodeSpec{}
	switch w.rng.IntN(4) {
	case 0:
		m.Spec.Cordoned = true
	case 1:
		m.Spec.Draining = true
	}
	u.call(s, fmt.Sprintf("makes %s %v", n.name, m.GetSpec()), put(spec.Wrap(m)))
}

// settle makes every node open again, as often as it takes.
func (u *user) settle() {
	w := u.w
	for _, s := range w.servers {
		if s.raft.role != leader {
			continue
		}
		v := s.st.View()
		objs, _, err := v.List(&dhowv1.Selector{Kind: dhowv1.Kind_KIND_NODE}, "", 0)
		w.must(err)
		v.Close()
		for _, o := range objs {
			m := proto.CloneOf(o.GetNode())
			for _, n := range w.nodes {
				if n.name == m.GetMeta().GetName() && n.gone {
					u.call(s, "removes node "+n.name, &dhowv1.Change{Op: &dhowv1.Change_Delete{Delete: spec.RefOf(o)}})
					m = nil
					break
				}
			}
			if m != nil && (m.GetSpec().GetCordoned() || m.GetSpec().GetDraining()) {
				m.Spec = &dhowv1.NodeSpec{}
				u.call(s, "opens "+m.GetMeta().GetName(), put(spec.Wrap(m)))
			}
		}
	}
}
