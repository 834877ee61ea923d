package store_test

import (
	"bytes"
	"slices"
	"testing"

	"google.golang.org/protobuf/proto"

	"dhow.dev/dhow/control/store"
	dhowv1 "dhow.dev/dhow/proto/dhow/v1"
	"dhow.dev/dhow/proto/spec"
)

func TestPutKeepsWhatOthersWrite(t *testing.T) {
	n := fresh(t)
	w := workload("web", 1)
	w.Status = &dhowv1.WorkloadStatus{Ready: 99}
	r := n.do(put(w))
	m := spec.MetaOf(r.GetObjects()[0])
	if m.GetGeneration() != 1 || m.GetVersion() != r.GetRevision() || !proto.Equal(m.GetCreatedAt(), now) {
		t.Errorf("created as %v", m)
	}
	if n.get(kindWorkload, "default", "web").GetWorkload().GetStatus() != nil {
		t.Error("the creator wrote the status")
	}
	st := &dhowv1.WorkloadStatus{Ready: 1}
	n.do(&dhowv1.Change{Op: &dhowv1.Change_Workload{Workload: &dhowv1.WorkloadReport{Ref: ref(kindWorkload, "default", "web"), Status: st}}})

	again := workload("web", 2)
	again.Meta.Uid = "another"
	r = n.do(put(again))
	got := n.get(kindWorkload, "default", "web").GetWorkload()
	if got.GetMeta().GetUid() != "uid-web" || got.GetMeta().GetGeneration() != 2 || !proto.Equal(got.GetStatus(), st) || got.GetSpec().GetReplicas() != 2 {
		t.Errorf("after the second put: %v", got)
	}
	if r.GetOutcomes()[0] != dhowv1.Outcome_OUTCOME_CHANGED {
		t.Error(r.GetOutcomes())
	}

	labelled := workload("web", 2)
	labelled.Meta.Labels = map[string]string{"a": "b"}
	n.do(put(labelled))
	if g := n.get(kindWorkload, "default", "web").GetWorkload().GetMeta(); g.GetGeneration() != 2 || g.GetVersion() != n.index {
		t.Errorf("a label changed the generation: %v", g)
	}
	version := n.index
	r = n.do(put(labelled))
	if r.GetOutcomes()[0] != dhowv1.Outcome_OUTCOME_UNCHANGED || spec.MetaOf(r.GetObjects()[0]).GetVersion() != version {
		t.Errorf("the same put again: %v", r)
	}
}

func TestExpect(t *testing.T) {
	n := fresh(t)
	v := n.do(put(workload("web", 1))).GetRevision()
	absent, present := &dhowv1.Expect{Absent: true}, &dhowv1.Expect{Present: true}
	n.refused(spec.CodeExists, expecting(put(workload("web", 2)), absent))
	n.refused(spec.CodeNotFound, expecting(put(workload("nope", 2)), present))
	n.refused(spec.CodeConflict, expecting(put(workload("web", 2)), &dhowv1.Expect{Version: v + 1}))
	n.refused(spec.CodeNotFound, expecting(del(ref(kindWorkload, "default", "nope")), present))
	n.do(expecting(put(workload("web", 2)), &dhowv1.Expect{Version: v}))

	// Two that expect the same version, in one entry: the first wins.
	v = n.index
	rs := n.apply(
		proposal(expecting(put(workload("web", 3)), &dhowv1.Expect{Version: v})),
		proposal(expecting(put(workload("web", 4)), &dhowv1.Expect{Version: v})),
	)
	if rs[0].GetCode() != "" || rs[1].GetCode() != string(spec.CodeConflict) {
		t.Errorf("got %v", rs)
	}
}

func TestProposalIsAllOrNone(t *testing.T) {
	n := fresh(t)
	n.do(put(workload("web", 1)))
	n.refused(spec.CodeInvalid, put(workload("web", 2)), put(workload("other", 1)), put(&dhowv1.Workload{Meta: &dhowv1.Meta{Namespace: "default", Name: "no-uid"}}))
	// The proposals beside it in the entry are not touched, and see nothing of it.
	rs := n.apply(
		proposal(put(workload("a", 1))),
		proposal(del(ref(kindWorkload, "default", "a")), put(workload("", 1))),
		proposal(expecting(put(workload("a", 2)), &dhowv1.Expect{Present: true})),
	)
	if rs[0].GetCode() != "" || rs[1].GetCode() == "" || rs[2].GetCode() != "" {
		t.Errorf("got %v", rs)
	}
	if n.get(kindWorkload, "default", "a").GetWorkload().GetSpec().GetReplicas() != 2 {
		t.Error("the third proposal was lost")
	}
}

func TestTermFencesPlans(t *testing.T) {
	n := fresh(t)
	n.term = 7
	p := proposal(put(workload("web", 1)))
	p.Term = 6
	if r := n.apply(p)[0]; r.GetCode() != string(spec.CodeNotLeader) {
		t.Errorf("a plan of term 6 in term 7: %v", r)
	}
	p.Term = 7
	if r := n.apply(p)[0]; r.GetCode() != "" {
		t.Errorf("a plan of this term: %v", r)
	}
}

func TestInstanceReports(t *testing.T) {
	n := fresh(t)
	n.do(put(instance("web", "web-0-aaaaa", "n1")))
	report := func(node string, seq uint64, s dhowv1.InstanceState) *dhowv1.Change {
		return &dhowv1.Change{Op: &dhowv1.Change_Instance{Instance: &dhowv1.InstanceReport{
			Ref: ref(kindInstance, "default", "web-0-aaaaa"), Node: node,
			Status: &dhowv1.InstanceStatus{State: s, Sequence: seq},
		}}}
	}
	state := func() dhowv1.InstanceState {
		return n.get(kindInstance, "default", "web-0-aaaaa").GetInstance().GetStatus().GetState()
	}
	const (
		pending = dhowv1.InstanceState_INSTANCE_STATE_PENDING
		running = dhowv1.InstanceState_INSTANCE_STATE_RUNNING
		failed  = dhowv1.InstanceState_INSTANCE_STATE_FAILED
	)
	if state() != pending {
		t.Errorf("born %s", state())
	}
	n.refused(spec.CodeDenied, report("n2", 1, running))
	n.refused(spec.CodeDenied, report("", 1, running))
	n.do(report("n1", 2, running))
	for _, c := range []*dhowv1.Change{
		report("n1", 2, failed),  // Seen already.
		report("n1", 1, failed),  // Older.
		report("n1", 3, pending), // Back.
	} {
		if r := n.do(c); r.GetOutcomes()[0] != dhowv1.Outcome_OUTCOME_UNCHANGED || state() != running {
			t.Errorf("%v was not skipped: %v", c, r)
		}
	}
	n.do(report("n1", 4, failed))
	n.do(report("n1", 5, running))
	if state() != failed {
		t.Errorf("a terminal state was left for %s", state())
	}
	gone := report("n1", 9, running)
	gone.GetInstance().Ref.Uid = "an older one's"
	n.do(gone)
	gone.GetInstance().Ref.Name = "web-1-bbbbb"
	n.do(gone)
}

func TestInstanceStaysWhatItIs(t *testing.T) {
	n := fresh(t)
	n.do(put(instance("web", "i", "")))
	n.do(put(instance("web", "i", "n1")))
	n.refused(spec.CodeInvalid, put(instance("web", "i", "n2")))
	n.refused(spec.CodeInvalid, put(instance("web", "i", "")))
	n.refused(spec.CodeInvalid, put(instance("other", "i", "n1")))
	rev := &dhowv1.Revision{Meta: meta("default", "web.1"), Workload: "web", Number: 1}
	n.do(put(rev))
	n.do(put(rev))
	n.refused(spec.CodeInvalid, put(&dhowv1.Revision{Meta: meta("default", "web.1"), Workload: "web", Number: 2}))
}

func TestNodeReports(t *testing.T) {
	n := fresh(t)
	info := func(v string) *dhowv1.Change {
		return &dhowv1.Change{Op: &dhowv1.Change_Node{Node: &dhowv1.NodeReport{Node: "n1", Info: &dhowv1.NodeInfo{Version: v}}}}
	}
	session := func(id string, on bool) *dhowv1.Change {
		return &dhowv1.Change{Op: &dhowv1.Change_Session{Session: &dhowv1.NodeSessionReport{Node: "n1", Session: &dhowv1.NodeSession{Id: id, Connected: on}}}}
	}
	live := &dhowv1.Change{Op: &dhowv1.Change_Liveness{Liveness: &dhowv1.NodeLivenessReport{Node: "n1", Liveness: &dhowv1.NodeLiveness{State: dhowv1.NodeState_NODE_STATE_READY}}}}
	n.refused(spec.CodeNotFound, info("1"))
	n.refused(spec.CodeNotFound, session("a", true))
	n.do(live) // The node was deleted meanwhile: skipped.

	n.do(put(machine("n1")), info("1"))
	get := func() *dhowv1.Node { return n.get(kindNode, "", "n1").GetNode() }
	if get().GetLiveness().GetState() != dhowv1.NodeState_NODE_STATE_JOINED || get().GetInfo().GetVersion() != "1" {
		t.Errorf("joined as %v", get())
	}
	n.do(live, session("a", true))
	n.do(session("b", true))
	n.do(session("a", false)) // The end of the older one.
	if s := get().GetSession(); s.GetId() != "b" || !s.GetConnected() {
		t.Errorf("session %v", s)
	}
	n.do(session("b", false))
	if get().GetSession().GetConnected() {
		t.Error("the session did not end")
	}
	cordoned := machine("n1")
	cordoned.Spec = &dhowv1.NodeSpec{Cordoned: true}
	n.do(put(cordoned))
	if g := get(); g.GetInfo().GetVersion() != "1" || g.GetLiveness().GetState() != dhowv1.NodeState_NODE_STATE_READY || !g.GetSpec().GetCordoned() {
		t.Errorf("a put of the spec left %v", g)
	}
}

func TestDelete(t *testing.T) {
	n := fresh(t)
	n.do(put(workload("web", 1)))
	other := ref(kindWorkload, "default", "web")
	other.Uid = "another"
	if r := n.do(del(other)); r.GetOutcomes()[0] != dhowv1.Outcome_OUTCOME_UNCHANGED {
		t.Error("a later object of the same name was deleted")
	}
	r := n.do(del(ref(kindWorkload, "default", "web")))
	if r.GetOutcomes()[0] != dhowv1.Outcome_OUTCOME_DELETED || n.get(kindWorkload, "default", "web") != nil {
		t.Error(r)
	}
	if r := n.do(del(ref(kindWorkload, "default", "web"))); r.GetOutcomes()[0] != dhowv1.Outcome_OUTCOME_UNCHANGED {
		t.Error(r)
	}
}

func TestNamesThatBreakKeys(t *testing.T) {
	n := fresh(t)
	for _, c := range []*dhowv1.Change{
		put(workload("", 1)), put(workload("a\x00b", 1)), put(workload(string(bytes.Repeat([]byte("x"), 600)), 1)),
		put(&dhowv1.Workload{Meta: &dhowv1.Meta{Name: "no-namespace", Uid: "u"}}),
		put(&dhowv1.Node{Meta: meta("default", "n1")}),
		put(&dhowv1.Workload{}),
		{},
		{Op: &dhowv1.Change_Put{Put: &dhowv1.Object{}}},
		del(&dhowv1.Ref{Name: "x"}), del(&dhowv1.Ref{Kind: 99, Name: "x"}), del(&dhowv1.Ref{Kind: -1, Name: "x"}),
	} {
		n.refused(spec.CodeInvalid, c)
	}
}

func TestApplySkipsWhatItHas(t *testing.T) {
	n := fresh(t)
	n.do(put(workload("web", 1)))
	raw, _ := proto.Marshal(&dhowv1.Command{Proposals: []*dhowv1.Proposal{proposal(put(workload("web", 9)))}})
	if r := n.Apply(n.index, 1, raw); r != nil {
		t.Errorf("an old entry had results: %v", r)
	}
	if n.get(kindWorkload, "default", "web").GetWorkload().GetSpec().GetReplicas() != 1 {
		t.Error("an old entry was applied again")
	}
}

// The same entries make the same bytes, on any server, from any start.
func TestApplyIsDeterministic(t *testing.T) {
	a, b := fresh(t), fresh(t)
	labels := map[string]string{}
	for _, k := range []string{"z", "y", "x", "w", "v", "u"} {
		labels[k] = k
	}
	entries := []*dhowv1.Command{
		{Proposals: []*dhowv1.Proposal{proposal(put(workload("web", 3))), proposal(put(&dhowv1.Workload{}))}},
		{},
		{Proposals: []*dhowv1.Proposal{proposal(put(&dhowv1.Namespace{Meta: &dhowv1.Meta{Name: "n", Uid: "u", Labels: labels, Annotations: labels}}))}},
		{Proposals: []*dhowv1.Proposal{proposal(put(instance("web", "web-0-a", "n1"))), proposal(del(ref(kindWorkload, "default", "web")))}},
	}
	for i, e := range entries {
		raw, _ := proto.Marshal(e)
		ra, rb := a.Apply(uint64(i+1), 1, raw), b.Apply(uint64(i+1), 1, raw)
		if !slices.EqualFunc(ra, rb, func(x, y *dhowv1.ProposalResult) bool { return proto.Equal(x, y) }) {
			t.Errorf("entry %d had other results", i)
		}
	}
	if a.hash() != b.hash() {
		t.Error("the states differ")
	}
	a.index = uint64(len(entries))
	before := a.hash()
	a.do(put(workload("x", 1)))
	if a.hash() == before {
		t.Error("the hash does not see a change")
	}
}

// FuzzApply: no bytes make Apply panic or fail the store, and two servers
// refuse alike.
func FuzzApply(f *testing.F) {
	for _, c := range []*dhowv1.Command{
		{Proposals: []*dhowv1.Proposal{proposal(put(workload("web", 3)))}},
		{Proposals: []*dhowv1.Proposal{proposal(put(instance("web", "web-0-a", "n1")), del(ref(kindWorkload, "default", "web")))}},
		{Proposals: []*dhowv1.Proposal{proposal(&dhowv1.Change{Op: &dhowv1.Change_Instance{Instance: &dhowv1.InstanceReport{Ref: ref(kindInstance, "default", "web-0-a"), Node: "n1", Status: &dhowv1.InstanceStatus{State: 4, Sequence: 1}}}})}},
		{Proposals: []*dhowv1.Proposal{proposal(&dhowv1.Change{Op: &dhowv1.Change_Session{}}, &dhowv1.Change{Op: &dhowv1.Change_Put{}})}},
	} {
		raw, _ := proto.Marshal(c)
		f.Add(raw)
		f.Add(raw[:len(raw)-1])
	}
	f.Add([]byte{0xff})
	var stores [2]*store.Store
	for i := range stores {
		s, err := store.Open(f.TempDir(), store.Options{})
		if err != nil {
			f.Fatal(err)
		}
		f.Cleanup(func() { _ = s.Close() })
		stores[i] = s
	}
	index := uint64(0)
	f.Fuzz(func(t *testing.T, raw []byte) {
		index++
		a, b := stores[0].Apply(index, 1, raw), stores[1].Apply(index, 1, raw)
		if len(a) != len(b) {
			t.Fatalf("%d and %d results", len(a), len(b))
		}
		for i := range a {
			if !proto.Equal(a[i], b[i]) {
				t.Errorf("%v and %v", a[i], b[i])
			}
		}
		_, ha, err := stores[0].Hash()
		_, hb, err2 := stores[1].Hash()
		if err != nil || err2 != nil || !bytes.Equal(ha, hb) {
			t.Errorf("the states differ: %v %v", err, err2)
		}
	})
}
