package store_test

import (
	"context"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	"dhow.dev/dhow/control/store"
	dhowv1 "dhow.dev/dhow/proto/dhow/v1"
	"dhow.dev/dhow/proto/spec"
)

// node is a store that is its own Proposer: each proposal is the next entry.
type node struct {
	*store.Store
	t     testing.TB
	index uint64
	term  uint64
}

func open(t testing.TB, dir string, o store.Options) *node {
	t.Helper()
	s, err := store.Open(dir, o)
	if err != nil {
		t.Fatalf("open: %v", err)
	}
	n := &node{Store: s, t: t, index: s.Revision(), term: 1}
	s.SetProposer(n)
	return n
}

func fresh(t testing.TB) *node {
	t.Helper()
	n := open(t, t.TempDir(), store.Options{ClusterID: "c"})
	t.Cleanup(func() {
		if err := n.Close(); err != nil {
			t.Errorf("close: %v", err)
		}
	})
	return n
}

// Propose applies p as an entry of its own.
func (n *node) Propose(_ context.Context, p *dhowv1.Proposal) (*dhowv1.ProposalResult, error) {
	return n.apply(p)[0], nil
}

func (n *node) apply(ps ...*dhowv1.Proposal) []*dhowv1.ProposalResult {
	n.t.Helper()
	raw, err := proto.Marshal(&dhowv1.Command{Proposals: ps})
	if err != nil {
		n.t.Fatal(err)
	}
	n.index++
	r := n.Apply(n.index, n.term, raw)
	if len(r) != len(ps) {
		n.t.Fatalf("%d proposals had %d results", len(ps), len(r))
	}
	return r
}

// do makes changes and wants them done.
func (n *node) do(cs ...*dhowv1.Change) *dhowv1.ProposalResult {
	n.t.Helper()
	r, err := n.Store.Propose(n.t.Context(), proposal(cs...))
	if err != nil {
		n.t.Fatalf("propose: %v", err)
	}
	return r
}

// refused makes changes and wants a refusal.
func (n *node) refused(code spec.Code, cs ...*dhowv1.Change) {
	n.t.Helper()
	before := n.hash()
	_, err := n.Store.Propose(n.t.Context(), proposal(cs...))
	if got := spec.CodeOf(err); got != code {
		n.t.Errorf("got %q (%v), want %q", got, err, code)
	}
	if n.hash() != before {
		n.t.Error("a refused proposal changed the state")
	}
}

func (n *node) hash() string {
	n.t.Helper()
	_, h, err := n.Hash()
	if err != nil {
		n.t.Fatal(err)
	}
	return string(h)
}

func (n *node) get(k dhowv1.Kind, ns, name string) *dhowv1.Object {
	n.t.Helper()
	v := n.View()
	defer v.Close()
	o, err := v.Get(&dhowv1.Ref{Kind: k, Namespace: ns, Name: name})
	if err != nil && spec.CodeOf(err) != spec.CodeNotFound {
		n.t.Fatal(err)
	}
	return o
}

func (n *node) names(sel *dhowv1.Selector) []string {
	n.t.Helper()
	v := n.View()
	defer v.Close()
	objs, next, err := v.List(sel, "", 0)
	if err != nil || next != "" {
		n.t.Fatal(next, err)
	}
	var out []string
	for _, o := range objs {
		out = append(out, spec.MetaOf(o).GetName())
	}
	return out
}

var now = timestamppb.New(time.Date(2026, 11, 23, 0, 0, 0, 0, time.UTC))

func proposal(cs ...*dhowv1.Change) *dhowv1.Proposal {
	return &dhowv1.Proposal{Changes: cs, Time: now}
}

func put(m proto.Message) *dhowv1.Change {
	return &dhowv1.Change{Op: &dhowv1.Change_Put{Put: spec.Wrap(m)}}
}

func expecting(c *dhowv1.Change, e *dhowv1.Expect) *dhowv1.Change {
	c.Expect = e
	return c
}

func del(r *dhowv1.Ref) *dhowv1.Change {
	return &dhowv1.Change{Op: &dhowv1.Change_Delete{Delete: r}}
}

func meta(ns, name string) *dhowv1.Meta {
	return &dhowv1.Meta{Namespace: ns, Name: name, Uid: "uid-" + name}
}

func workload(name string, replicas uint32) *dhowv1.Workload {
	return &dhowv1.Workload{Meta: meta("default", name), Spec: &dhowv1.WorkloadSpec{Replicas: &replicas}}
}

func instance(workload, name, node string) *dhowv1.Instance {
	return &dhowv1.Instance{Meta: meta("default", name), Spec: &dhowv1.InstanceSpec{Workload: workload, Node: node}}
}

func machine(name string) *dhowv1.Node { return &dhowv1.Node{Meta: meta("", name)} }

func artifact(name, file string) *dhowv1.Artifact {
	return &dhowv1.Artifact{Meta: meta("", name), File: file}
}

func ref(k dhowv1.Kind, ns, name string) *dhowv1.Ref {
	return &dhowv1.Ref{Kind: k, Namespace: ns, Name: name}
}

const (
	kindWorkload = dhowv1.Kind_KIND_WORKLOAD
	kindInstance = dhowv1.Kind_KIND_INSTANCE
	kindNode     = dhowv1.Kind_KIND_NODE
	kindArtifact = dhowv1.Kind_KIND_ARTIFACT
)
