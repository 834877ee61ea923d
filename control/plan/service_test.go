package plan

import (
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"

	dhowv1 "dhow.dev/dhow/proto/dhow/v1"
	"dhow.dev/dhow/proto/spec"
)

func TestBornPlacedInOneProposal(t *testing.T) {
	w := newWorld(t)
	w.addNode("n1", 4000, 8<<30)
	w.settle()
	w.workload("web", 3)
	p := w.state.Plan(w.now, w.rev)
	births := 0
	for _, c := range p.Changes {
		if i := c.GetPut().GetInstance(); i != nil {
			births++
			want(t, "node", i.GetSpec().GetNode(), "n1")
			if !strings.HasPrefix(i.GetMeta().GetName(), "web-") {
				t.Errorf("name %q", i.GetMeta().GetName())
			}
		}
	}
	want(t, "instances in the first plan", births, 3)
	w.apply(p)
	want(t, "changes in the next plan", len(w.state.Plan(w.now, w.rev).Changes), 0)
}

func TestStatusFollows(t *testing.T) {
	w := newWorld(t)
	w.addNode("n1", 4000, 8<<30)
	w.workload("web", 3)
	w.settle()
	st := w.get("web").GetStatus()
	want(t, "desired", st.GetDesired(), 3)
	want(t, "pending", st.GetPending(), 3)
	want(t, "phase", st.GetPhase(), dhowv1.WorkloadPhase_WORKLOAD_PHASE_PROGRESSING)
	w.obey()
	st = w.get("web").GetStatus()
	want(t, "ready", st.GetReady(), 3)
	want(t, "updated", st.GetUpdated(), 3)
	want(t, "phase", st.GetPhase(), dhowv1.WorkloadPhase_WORKLOAD_PHASE_READY)
	want(t, "generation", st.GetObservedGeneration(), 1)
}

func TestPendingSaysWhyAndIsRetried(t *testing.T) {
	w := newWorld(t)
	w.addNode("n1", 250, 8<<30)
	w.workload("web", 3)
	w.obey()
	pending := w.instances("web", func(i *dhowv1.Instance) bool { return live(i) && !placed(i) })
	want(t, "pending", len(pending), 1)
	why := pending[0].GetSpec().GetPendingReason()
	if !strings.Contains(why, "1 lack cpu (100m asked, at most 50m free)") {
		t.Errorf("reason: %q", why)
	}
	st := w.get("web").GetStatus()
	want(t, "phase", st.GetPhase(), dhowv1.WorkloadPhase_WORKLOAD_PHASE_DEGRADED)
	if !strings.Contains(st.GetMessage(), "no node for 1: "+why) {
		t.Errorf("message: %q", st.GetMessage())
	}
	w.addNode("n2", 1000, 8<<30)
	w.obey()
	want(t, "pending", len(w.instances("web", func(i *dhowv1.Instance) bool { return live(i) && !placed(i) })), 0)
	want(t, "on n2", len(w.instances("web", on("n2"))), 1)
	want(t, "phase", w.get("web").GetStatus().GetPhase(), dhowv1.WorkloadPhase_WORKLOAD_PHASE_READY)
}

func TestFreedRoomIsGivenToWhatWaits(t *testing.T) {
	w := newWorld(t)
	w.addNode("n1", 300, 8<<30)
	w.workload("a", 3)
	w.workload("b", 2)
	w.obey()
	want(t, "b placed", len(w.instances("b", placed)), 0)
	w.workload("a", 2)
	w.settle()
	want(t, "b placed while a still stops", len(w.instances("b", placed)), 0)
	w.obey()
	want(t, "b placed", len(w.instances("b", placed)), 1)
}

func TestScale(t *testing.T) {
	w := newWorld(t)
	w.addNode("n1", 4000, 8<<30)
	w.workload("web", 2)
	w.obey()
	w.workload("web", 5)
	w.obey()
	want(t, "live", len(w.instances("web", live)), 5)
	w.workload("web", 1)
	w.obey()
	l := w.instances("web", live)
	want(t, "live", len(l), 1)
	want(t, "index", l[0].GetSpec().GetIndex(), 0)
	want(t, "revision", w.get("web").GetStatus().GetRevision(), 1)
	want(t, "events", strings.Join(w.events, " "), "NodeReady Scheduled Ready ScaledUp Scheduled Ready ScaledDown")
}

func TestFailedIsReplacedWithBackOff(t *testing.T) {
	w := newWorld(t)
	w.addNode("n1", 4000, 8<<30)
	w.workload("web", 1)
	w.obey()
	var waits []time.Duration
	for range 11 {
		i := w.instances("web", placed)[0]
		w.report(i, failed, false)
		w.settle()
		next := w.instances("web", live)
		want(t, "replacements", len(next), 1)
		want(t, "placed", placed(next[0]), false)
		want(t, "failures", next[0].GetSpec().GetFailures(), i.GetSpec().GetFailures()+1)
		d := next[0].GetSpec().GetNotBefore().AsTime().Sub(w.now)
		waits = append(waits, d)
		w.pass(d - time.Millisecond)
		want(t, "placed before its time", len(w.instances("web", placed)), 0)
		w.pass(time.Millisecond)
		w.act()
		w.settle()
	}
	for k, d := range waits {
		if wanted := min(time.Second<<k, 5*time.Minute); d != wanted {
			t.Errorf("wait %d: got %v, want %v", k, d, wanted)
		}
	}
	if n := len(w.instances("web", nil)); n > 7 {
		t.Errorf("%d instances are kept", n)
	}
	want(t, "failed", w.get("web").GetStatus().GetFailed(), 11)
	// What ran for long begins anew.
	w.pass(10 * time.Minute)
	w.report(w.instances("web", placed)[0], failed, false)
	w.settle()
	want(t, "placed at once", len(w.instances("web", placed)), 1)
}

func TestFailedAvoidsItsNode(t *testing.T) {
	w := newWorld(t)
	w.addNode("n1", 4000, 8<<30)
	w.addNode("n2", 4000, 8<<30)
	w.workload("web", 1)
	w.obey()
	i := w.instances("web", placed)[0]
	w.pass(10 * time.Minute)
	w.report(i, failed, false)
	w.settle()
	if got := w.instances("web", placed)[0].GetSpec().GetNode(); got == i.GetSpec().GetNode() {
		t.Errorf("the replacement is on %s again", got)
	}
}

func TestLostNode(t *testing.T) {
	w := newWorld(t)
	w.addNode("n1", 4000, 8<<30)
	w.workload("now", 2)
	w.workload("later", 2, func(wl *dhowv1.Workload) { wl.Spec.LostAfter = durationpb.New(time.Minute) })
	w.obey()
	w.addNode("n2", 4000, 8<<30)
	w.settle()

	w.facts["n1"] = 2 // gossip alone
	w.gossip()
	w.settle()
	want(t, "state", w.node("n1").GetLiveness().GetState(), dhowv1.NodeState_NODE_STATE_SUSPECT)
	want(t, "on n2", len(w.instances("", on("n2"))), 0)

	w.lose("n1")
	w.settle()
	want(t, "state", w.node("n1").GetLiveness().GetState(), dhowv1.NodeState_NODE_STATE_LOST)
	want(t, "now on n2", len(w.instances("now", on("n2"))), 2)
	for _, i := range w.instances("now", on("n1")) {
		want(t, "desired", i.GetSpec().GetDesired(), dhowv1.Desired_DESIRED_STOP)
		want(t, "given up", i.GetSpec().GetLostAt() != nil, true)
	}
	want(t, "later on n2", len(w.instances("later", on("n2"))), 0)
	w.pass(time.Minute)
	want(t, "later on n2", len(w.instances("later", on("n2"))), 2)

	w.back("n1")
	w.obey()
	want(t, "on n1 after its return", len(w.instances("", on("n1"))), 0)
	want(t, "live", len(w.instances("", live)), 4)
}

func TestLostNodeThatReturnsInTimeKeepsItsInstances(t *testing.T) {
	w := newWorld(t)
	w.addNode("n1", 4000, 8<<30)
	w.workload("web", 2, func(wl *dhowv1.Workload) { wl.Spec.LostAfter = durationpb.New(time.Minute) })
	w.obey()
	w.addNode("n2", 4000, 8<<30)
	w.lose("n1")
	w.pass(59 * time.Second)
	w.back("n1")
	w.pass(time.Hour)
	want(t, "on n1", len(w.instances("web", on("n1"))), 2)
	want(t, "instances", len(w.instances("web", nil)), 2)
}

func TestRemovedNode(t *testing.T) {
	w := newWorld(t)
	w.addNode("n1", 4000, 8<<30)
	w.workload("web", 2)
	w.obey()
	w.addNode("n2", 4000, 8<<30)
	w.del(&dhowv1.Ref{Kind: dhowv1.Kind_KIND_NODE, Name: "n1"})
	w.obey()
	want(t, "on n2", len(w.instances("web", on("n2"))), 2)
	want(t, "instances", len(w.instances("web", nil)), 2)
}

func TestDrain(t *testing.T) {
	w := newWorld(t)
	w.addNode("n1", 4000, 8<<30)
	w.workload("web", 3)
	w.obey()
	w.addNode("n2", 4000, 8<<30)
	w.editNode("n1", func(n *dhowv1.Node) { n.Spec = &dhowv1.NodeSpec{Draining: true} })
	w.settle()
	want(t, "on n2", len(w.instances("web", on("n2"))), 3)
	for _, i := range w.instances("web", on("n1")) {
		want(t, "desired while the replacement is not ready", i.GetSpec().GetDesired(), dhowv1.Desired_DESIRED_RUN)
	}
	w.obey()
	want(t, "on n1", len(w.instances("web", on("n1"))), 0)
	want(t, "ready", w.get("web").GetStatus().GetReady(), 3)
}

func TestDrainCalledOff(t *testing.T) {
	w := newWorld(t)
	w.addNode("n1", 4000, 8<<30)
	w.workload("web", 3)
	w.obey()
	w.addNode("n2", 4000, 8<<30)
	w.editNode("n1", func(n *dhowv1.Node) { n.Spec = &dhowv1.NodeSpec{Draining: true} })
	w.settle()
	w.editNode("n1", func(n *dhowv1.Node) { n.Spec = &dhowv1.NodeSpec{} })
	w.obey()
	want(t, "live", len(w.instances("web", live)), 3)
	want(t, "on n1", len(w.instances("web", on("n1"))), 3)
}

func TestCordon(t *testing.T) {
	w := newWorld(t)
	w.addNode("n1", 4000, 8<<30)
	w.workload("web", 1)
	w.obey()
	w.editNode("n1", func(n *dhowv1.Node) { n.Spec = &dhowv1.NodeSpec{Cordoned: true} })
	w.workload("web", 2)
	w.obey()
	want(t, "on n1", len(w.instances("web", on("n1"))), 1)
	p := w.instances("web", func(i *dhowv1.Instance) bool { return live(i) && !placed(i) })
	if !strings.Contains(p[0].GetSpec().GetPendingReason(), "1 cordoned") {
		t.Errorf("reason: %q", p[0].GetSpec().GetPendingReason())
	}
	w.editNode("n1", func(n *dhowv1.Node) { n.Spec = &dhowv1.NodeSpec{} })
	w.obey()
	want(t, "on n1", len(w.instances("web", on("n1"))), 2)
}

func TestDeleteWorkload(t *testing.T) {
	w := newWorld(t)
	w.addNode("n1", 250, 8<<30)
	w.workload("web", 3)
	w.obey()
	w.deleteWorkload("web")
	w.settle()
	for _, i := range w.instances("web", nil) {
		want(t, "desired", i.GetSpec().GetDesired(), dhowv1.Desired_DESIRED_STOP)
	}
	want(t, "stopping", len(w.instances("web", nil)), 2)
	w.obey()
	for k := range w.objs {
		if !strings.HasPrefix(k, "5/") && !strings.HasPrefix(k, "7/") {
			t.Errorf("%s is left", k)
		}
	}
	want(t, "groups", len(w.state.groups), 0)
}

func TestDeletedAndMadeAgain(t *testing.T) {
	w := newWorld(t)
	w.addNode("n1", 4000, 8<<30)
	w.workload("web", 2)
	w.obey()
	w.deleteWorkload("web")
	w.workload("web", 3)
	w.obey()
	want(t, "live", len(w.instances("web", live)), 3)
	want(t, "instances", len(w.instances("web", nil)), 3)
	for _, i := range w.instances("web", nil) {
		want(t, "uid", i.GetSpec().GetWorkloadUid(), w.get("web").GetMeta().GetUid())
	}
}

func template(v string) func(*dhowv1.Workload) {
	return func(w *dhowv1.Workload) { w.Spec.Template.Tasks[0].Args = []string{v} }
}

func TestRollout(t *testing.T) {
	for _, n := range []uint32{1, 3, 4, 10} {
		w := newWorld(t)
		w.addNode("n1", 40000, 80<<30)
		w.workload("web", n, template("a"))
		w.obey()
		w.workload("web", n, template("b"))
		w.settle()
		st := w.get("web").GetStatus()
		want(t, "revision", st.GetRevision(), 2)
		want(t, "ready", st.GetReady(), n)
		want(t, "pending", st.GetPending(), (n+3)/4)
		w.obey()
		st = w.get("web").GetStatus()
		want(t, "updated", st.GetUpdated(), n)
		want(t, "phase", st.GetPhase(), dhowv1.WorkloadPhase_WORKLOAD_PHASE_READY)
		for _, i := range w.instances("web", live) {
			want(t, "revision", i.GetSpec().GetRevision(), 2)
		}
	}
}

func TestRolloutThatFailsKeepsTheOld(t *testing.T) {
	w := newWorld(t)
	w.addNode("n1", 40000, 80<<30)
	w.workload("web", 4, template("a"))
	w.obey()
	w.workload("web", 4, template("broken"))
	for range 20 {
		w.settle()
		for _, i := range w.instances("web", placed) {
			if i.GetSpec().GetRevision() == 2 {
				w.report(i, failed, false)
			}
		}
		w.pass(time.Minute)
	}
	want(t, "ready", w.get("web").GetStatus().GetReady(), 4)
	want(t, "phase", w.get("web").GetStatus().GetPhase(), dhowv1.WorkloadPhase_WORKLOAD_PHASE_DEGRADED)
	w.workload("web", 4, template("a"))
	w.obey()
	want(t, "updated", w.get("web").GetStatus().GetUpdated(), 4)
}

func TestRolloutOnAFullCluster(t *testing.T) {
	w := newWorld(t)
	w.addNode("n1", 800, 8<<30)
	w.workload("web", 8, template("a"))
	w.obey()
	w.workload("web", 8, template("b"))
	w.obey()
	want(t, "updated", w.get("web").GetStatus().GetUpdated(), 8)
}

func TestRevisionsAreBounded(t *testing.T) {
	w := newWorld(t)
	w.addNode("n1", 4000, 8<<30)
	for k := range 25 {
		w.workload("web", 2, template(strings.Repeat("x", k)))
		w.obey()
	}
	n := 0
	for k := range w.objs {
		if strings.HasPrefix(k, "3/") {
			n++
		}
	}
	if n > 16 { // ten, and what the kept instances are of
		t.Errorf("%d revisions are kept", n)
	}
	if n := len(w.instances("web", nil)); n > 2+2*5 {
		t.Errorf("%d instances are kept", n)
	}
}

func TestOldEventsGo(t *testing.T) {
	w := newWorld(t)
	w.addNode("n1", 4000, 8<<30)
	w.workload("web", 1)
	w.obey()
	count := func() (n int) {
		for k := range w.objs {
			if strings.HasPrefix(k, "7/") {
				n++
			}
		}
		return n
	}
	if count() == 0 {
		t.Fatal("no events")
	}
	w.pass(59 * time.Minute)
	if count() == 0 {
		t.Fatal("events went too early")
	}
	w.pass(5 * time.Minute)
	want(t, "events", count(), 0)
}

func TestEndedAreBounded(t *testing.T) {
	w := newWorld(t)
	w.addNode("n1", 400000, 80<<30)
	w.workload("web", 1000)
	w.obey()
	w.workload("web", 0)
	w.obey()
	if n := len(w.instances("web", nil)); n > 100 {
		t.Errorf("%d ended instances are kept", n)
	}
	w.workload("web", 10)
	w.obey()
	want(t, "ready", w.get("web").GetStatus().GetReady(), 10)
}

func TestRolloutWithAHostPort(t *testing.T) {
	w := newWorld(t)
	w.addNode("n1", 4000, 8<<30)
	port := func(w *dhowv1.Workload) {
		w.Spec.Template.Tasks[0].Ports = []*dhowv1.Port{{Name: "http", Port: 80, HostPort: 8080}}
	}
	w.workload("web", 1, template("a"), port)
	w.obey()
	w.workload("web", 1, template("b"), port)
	w.obey()
	want(t, "updated", w.get("web").GetStatus().GetUpdated(), 1)
}

// Every way to make an instance waits after one that ended by itself.
func TestBackOffHoldsInRolloutsAndDrains(t *testing.T) {
	w := newWorld(t)
	w.addNode("n1", 4000, 8<<30)
	w.workload("web", 1, template("a"))
	w.workload("moved", 1)
	w.obey()
	w.addNode("n2", 4000, 8<<30)
	w.workload("web", 1, template("broken"))
	w.editNode("n1", func(n *dhowv1.Node) { n.Spec = &dhowv1.NodeSpec{Draining: true} })
	w.settle()
	for range 50 {
		for _, i := range w.instances("", on("n2")) {
			w.report(i, failed, false)
		}
		w.pass(100 * time.Millisecond)
	}
	if n := len(w.instances("", func(i *dhowv1.Instance) bool { return i.GetStatus().GetState() == failed })); n > 2*3 {
		t.Errorf("%d failed in five seconds", n)
	}
}

func TestRemovedNodeTakesWhatWasToStopThere(t *testing.T) {
	w := newWorld(t)
	w.addNode("n1", 4000, 8<<30)
	w.workload("web", 2)
	w.obey()
	w.lose("n1")
	w.workload("web", 0)
	w.settle()
	want(t, "instances", len(w.instances("web", nil)), 2)
	w.del(&dhowv1.Ref{Kind: dhowv1.Kind_KIND_NODE, Name: "n1"})
	w.settle()
	want(t, "instances", len(w.instances("web", nil)), 0)
}

// A timer of a workload that is gone must not touch one that has its uid.
func TestWorkloadThatComesBackWithItsUid(t *testing.T) {
	w := newWorld(t)
	w.addNode("n1", 4000, 8<<30)
	w.workload("web", 1)
	w.obey()
	w.report(w.instances("web", placed)[0], failed, false)
	w.settle()
	wl := w.get("web")
	w.deleteWorkload("web")
	w.obey()
	w.put(spec.Wrap(wl))
	w.settle()
	w.pass(time.Minute)
	w.obey()
	want(t, "live", len(w.instances("web", live)), 1)
	w.put(spec.Wrap(proto.CloneOf(wl)))
	w.deleteWorkload("web")
	w.obey()
	want(t, "instances", len(w.instances("web", nil)), 0)
}

func TestRevisionInUseIsKept(t *testing.T) {
	w := newWorld(t)
	w.addNode("n1", 4000, 8<<30)
	w.workload("web", 1, template("good"))
	w.obey()
	for k := range 15 {
		w.workload("web", 1, template("broken"+strings.Repeat("x", k)))
		w.settle()
		for _, i := range w.instances("web", placed) {
			if i.GetSpec().GetRevision() > 1 {
				w.report(i, failed, false)
			}
		}
		w.settle()
	}
	want(t, "ready", w.get("web").GetStatus().GetReady(), 1)
	if w.objs[keyOf(&dhowv1.Ref{Kind: dhowv1.Kind_KIND_REVISION, Namespace: "default", Name: "web.1"})] == nil {
		t.Error("the revision of the instance that serves is gone")
	}
}
