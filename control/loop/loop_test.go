package loop

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	"dhow.dev/dhow/control/plan/liveness"
	"dhow.dev/dhow/control/store"
	dhowv1 "dhow.dev/dhow/proto/dhow/v1"
	"dhow.dev/dhow/proto/spec"
)

// cluster is a real store with a log of one server.
type cluster struct {
	t  testing.TB
	st *store.Store
	mu sync.Mutex
	// What a proposal is refused with instead of being applied.
	refuse func(*dhowv1.Proposal) error
	index  uint64
}

const term = 7

func newCluster(t testing.TB) *cluster {
	t.Helper()
	st, err := store.Open(t.TempDir(), store.Options{Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	c := &cluster{t: t, st: st}
	st.SetProposer(c)
	t.Cleanup(func() {
		if err := st.Close(); err != nil {
			t.Error(err)
		}
	})
	return c
}

// Propose applies at once.
func (c *cluster) Propose(_ context.Context, p *dhowv1.Proposal) (*dhowv1.ProposalResult, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.refuse != nil && p.GetTerm() != 0 {
		if err := c.refuse(p); err != nil {
			return nil, err
		}
	}
	return c.apply(p), nil
}

func (c *cluster) apply(p *dhowv1.Proposal) *dhowv1.ProposalResult {
	data, err := proto.Marshal(&dhowv1.Command{Proposals: []*dhowv1.Proposal{p}})
	if err != nil {
		c.t.Fatal(err)
	}
	c.index++
	return c.st.Apply(c.index, term, data)[0]
}

func (c *cluster) put(objs ...*dhowv1.Object) {
	c.t.Helper()
	p := &dhowv1.Proposal{Time: timestamppb.Now()}
	for _, o := range objs {
		spec.Default(o)
		if m := spec.MetaOf(o); m.Uid == "" {
			m.Uid = "uid-" + m.Name
		}
		p.Changes = append(p.Changes, &dhowv1.Change{Op: &dhowv1.Change_Put{Put: o}})
		if n := o.GetNode(); n != nil {
			p.Changes = append(p.Changes, &dhowv1.Change{Op: &dhowv1.Change_Session{Session: &dhowv1.NodeSessionReport{
				Node: n.GetMeta().GetName(), Session: &dhowv1.NodeSession{Server: "s1", Id: "1", Connected: true},
			}}})
		}
	}
	if _, err := c.st.Propose(c.t.Context(), p); err != nil {
		c.t.Fatal(err)
	}
}

func aNode(name string) *dhowv1.Object {
	return spec.Wrap(&dhowv1.Node{Meta: &dhowv1.Meta{Name: name}, Info: &dhowv1.NodeInfo{
		Runtimes: []string{"wasm"}, Allocatable: &dhowv1.ResourceList{Cpu: 100_000, Memory: 100 << 30},
	}})
}

func aWorkload(name string, replicas uint32) *dhowv1.Object {
	return spec.Wrap(&dhowv1.Workload{
		Meta: &dhowv1.Meta{Name: name, Namespace: "default"},
		Spec: &dhowv1.WorkloadSpec{Replicas: &replicas, Template: &dhowv1.Template{Tasks: []*dhowv1.Task{{
			Source: &dhowv1.Task_Wasm{Wasm: &dhowv1.WasmSource{Artifact: "sha256:" + strings.Repeat("0", 64)}},
		}}}},
	})
}

func (c *cluster) run(f Facts) (stop func() error) {
	ctx, cancel := context.WithCancel(c.t.Context())
	done := make(chan error, 1)
	go func() { done <- New(Config{Store: c.st, Facts: f}).Run(ctx, term) }()
	return func() error {
		cancel()
		return <-done
	}
}

// until waits until the store is as the function wants it.
func (c *cluster) until(what string, ok func(*store.View) bool) {
	c.t.Helper()
	ctx, cancel := context.WithTimeout(c.t.Context(), 30*time.Second)
	defer cancel()
	v := c.st.View()
	w, err := c.st.Watch(v.Revision())
	if err != nil {
		c.t.Fatal(err)
	}
	defer w.Close()
	for !ok(v) {
		v.Close()
		if _, _, err := w.Next(ctx); err != nil {
			c.t.Fatalf("%s: %v", what, err)
		}
		v = c.st.View()
	}
	v.Close()
}

func placed(v *store.View, workload string) (n int) {
	objs, _, err := v.List(&dhowv1.Selector{Kind: dhowv1.Kind_KIND_INSTANCE, Namespace: "default", Workload: workload}, "", 0)
	if err != nil {
		return -1
	}
	for _, o := range objs {
		if s := o.GetInstance().GetSpec(); s.GetNode() != "" && s.GetDesired() == dhowv1.Desired_DESIRED_RUN {
			n++
		}
	}
	return n
}

func TestLoopPlansWhatIsThereAndWhatComes(t *testing.T) {
	c := newCluster(t)
	c.put(aNode("n1"), aWorkload("before", 3))
	stop := c.run(nil)
	c.until("what was there", func(v *store.View) bool { return placed(v, "before") == 3 })
	c.put(aWorkload("after", 20))
	c.until("what came", func(v *store.View) bool { return placed(v, "after") == 20 })
	c.put(aWorkload("large", 10_000)) // more than one plan holds
	c.until("a large one", func(v *store.View) bool { return placed(v, "large") == 10_000 })
	if err := stop(); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
}

func TestLoopProposesInItsTermOnly(t *testing.T) {
	c := newCluster(t)
	c.put(aNode("n1"), aWorkload("web", 1))
	ctx, cancel := context.WithCancel(t.Context())
	proposals := 0
	c.refuse = func(*dhowv1.Proposal) error {
		if proposals++; proposals == 3 { // a plan, and two tries to get a word in
			cancel()
		}
		return nil
	}
	if err := New(Config{Store: c.st}).Run(ctx, term-1); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
	v := c.st.View()
	defer v.Close()
	if n := placed(v, "web"); n != 0 {
		t.Errorf("%d instances", n)
	}
}

func TestLoopPlansAnewWhatWasRefused(t *testing.T) {
	c := newCluster(t)
	times := 0
	c.refuse = func(*dhowv1.Proposal) error {
		if times++; times <= 2 {
			return spec.Errorf(spec.CodeConflict, "refused for the test")
		}
		return nil
	}
	c.put(aNode("n1"), aWorkload("web", 3))
	stop := c.run(nil)
	c.until("a plan that was made anew", func(v *store.View) bool { return placed(v, "web") == 3 })
	_ = stop()
}

// When it is unknown what became of a plan, nothing is planned before something
// that was proposed later has been applied.
func TestLoopWaitsForAnUnknownOutcome(t *testing.T) {
	c := newCluster(t)
	times := 0
	var late *dhowv1.Proposal
	c.refuse = func(p *dhowv1.Proposal) error {
		switch times++; {
		case times == 1:
			late = p
			return spec.Errorf(spec.CodeUnavailable, "the answer was lost")
		case len(p.GetChanges()) > 0 && late != nil:
			t.Errorf("it planned again while the outcome was unknown")
		case times == 2:
			return spec.Errorf(spec.CodeTimeout, "it takes long")
		case times == 3:
			// The first one was not lost: it comes before this one.
			if r := c.apply(late); r.GetCode() != "" {
				t.Errorf("%v", r)
			}
			late = nil
		}
		return nil
	}
	c.put(aNode("n1"), aWorkload("web", 3))
	stop := c.run(nil)
	c.until("it goes on", func(v *store.View) bool { return placed(v, "web") == 3 })
	c.put(aWorkload("next", 3))
	c.until("it goes on", func(v *store.View) bool { return placed(v, "next") == 3 })
	_ = stop()
	v := c.st.View()
	defer v.Close()
	objs, _, err := v.List(&dhowv1.Selector{Kind: dhowv1.Kind_KIND_INSTANCE, Namespace: "default", Workload: "web"}, "", 0)
	if err != nil || len(objs) != 3 {
		t.Errorf("%d instances, %v", len(objs), err)
	}
}

func TestLoopSurvivesDeletesBetweenPlanAndApply(t *testing.T) {
	c := newCluster(t)
	stop := c.run(nil)
	c.put(aNode("n1"))
	for k := range 50 {
		c.put(aWorkload(fmt.Sprintf("w%d", k), 2))
		_, err := c.st.Propose(t.Context(), &dhowv1.Proposal{Time: timestamppb.Now(), Changes: []*dhowv1.Change{{
			Op: &dhowv1.Change_Delete{Delete: &dhowv1.Ref{Kind: dhowv1.Kind_KIND_WORKLOAD, Namespace: "default", Name: fmt.Sprintf("w%d", k)}},
		}}})
		if err != nil {
			t.Fatal(err)
		}
	}
	c.put(aWorkload("last", 2))
	c.until("the last", func(v *store.View) bool { return placed(v, "last") == 2 })
	c.until("the others gone", func(v *store.View) bool {
		n := 0
		for k := range 50 {
			n += placed(v, fmt.Sprintf("w%d", k))
		}
		return n == 0
	})
	_ = stop()
}

// told is a Facts that the test changes.
type told struct {
	mu      sync.Mutex
	facts   liveness.Facts
	changed chan struct{}
}

func (f *told) Facts() liveness.Facts {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.facts
}

func (f *told) Changed() <-chan struct{} { return f.changed }

func (f *told) set(name string, g liveness.Gossip) {
	f.mu.Lock()
	f.facts = liveness.Facts{Nodes: map[string]liveness.Gossip{name: g}}
	f.mu.Unlock()
	f.changed <- struct{}{}
}

func TestLoopHearsOfFacts(t *testing.T) {
	c := newCluster(t)
	f := &told{changed: make(chan struct{}, 1), facts: liveness.Facts{Nodes: map[string]liveness.Gossip{"n1": liveness.Alive}}}
	n := aNode("n1")
	n.GetNode().Info.Gossip = true
	c.put(n)
	stop := c.run(f)
	state := func(s dhowv1.NodeState) func(*store.View) bool {
		return func(v *store.View) bool {
			o, err := v.Get(&dhowv1.Ref{Kind: dhowv1.Kind_KIND_NODE, Name: "n1"})
			return err == nil && o.GetNode().GetLiveness().GetState() == s
		}
	}
	c.until("ready", state(dhowv1.NodeState_NODE_STATE_READY))
	f.set("n1", liveness.Failed)
	c.until("suspect", state(dhowv1.NodeState_NODE_STATE_SUSPECT))
	f.set("n1", liveness.Alive)
	c.until("ready again", state(dhowv1.NodeState_NODE_STATE_READY))
	_ = stop()
}

func TestWhy(t *testing.T) {
	c := newCluster(t)
	c.put(aNode("n1"))
	w := aWorkload("web", 2)
	w.GetWorkload().Spec.Template.Tasks[0].Resources = &dhowv1.Resources{Requests: &dhowv1.ResourceList{Cpu: 60_000}}
	c.put(w)
	stop := c.run(nil)
	c.until("one placed", func(v *store.View) bool {
		o, err := v.Get(&dhowv1.Ref{Kind: dhowv1.Kind_KIND_WORKLOAD, Namespace: "default", Name: "web"})
		return err == nil && o.GetWorkload().GetStatus().GetPhase() == dhowv1.WorkloadPhase_WORKLOAD_PHASE_DEGRADED
	})
	_ = stop()
	ex, err := Why(t.Context(), c.st, &dhowv1.Ref{Kind: dhowv1.Kind_KIND_WORKLOAD, Namespace: "default", Name: "web"})
	if err != nil || len(ex) != 2 {
		t.Fatalf("%v, %v", ex, err)
	}
	r := ex[0].GetRefusals()
	if len(r) != 1 || r[0].GetFilter() != "cpu" || r[0].GetMessage() != "60 asked, 40 free of 100: lacks 20" {
		t.Errorf("%v", ex[0])
	}
	if ex[1].GetNode() != "n1" {
		t.Errorf("%v", ex[1])
	}
	if _, err := Why(t.Context(), c.st, &dhowv1.Ref{Kind: dhowv1.Kind_KIND_WORKLOAD, Namespace: "default", Name: "none"}); spec.CodeOf(err) != spec.CodeNotFound {
		t.Errorf("got %v", err)
	}
}
