package plan

import (
	"strings"
	"testing"
	"time"

	dhowv1 "dhow.dev/dhow/proto/dhow/v1"
)

func job(limit uint32) func(*dhowv1.Workload) {
	return func(w *dhowv1.Workload) {
		w.Spec.Type, w.Spec.BackoffLimit = dhowv1.WorkloadType_WORKLOAD_TYPE_JOB, &limit
	}
}

func TestJobCompletes(t *testing.T) {
	w := newWorld(t)
	w.addNode("n1", 4000, 8<<30)
	w.workload("sum", 3, job(6))
	w.obey()
	all := w.instances("sum", placed)
	want(t, "instances", len(all), 3)
	w.report(all[0], succeeded, false)
	w.report(all[1], succeeded, false)
	w.pass(time.Hour)
	want(t, "live", len(w.instances("sum", live)), 1)
	want(t, "phase", w.get("sum").GetStatus().GetPhase(), dhowv1.WorkloadPhase_WORKLOAD_PHASE_PROGRESSING)
	w.report(all[2], succeeded, false)
	w.pass(time.Hour)
	want(t, "instances", len(w.instances("sum", nil)), 3)
	want(t, "phase", w.get("sum").GetStatus().GetPhase(), dhowv1.WorkloadPhase_WORKLOAD_PHASE_COMPLETE)
	if !strings.Contains(strings.Join(w.events, " "), "JobComplete") {
		t.Errorf("events: %v", w.events)
	}
	// Another template is another job.
	w.workload("sum", 3, job(6), template("b"))
	w.obey()
	want(t, "live", len(w.instances("sum", live)), 3)
}

func TestJobFails(t *testing.T) {
	w := newWorld(t)
	w.addNode("n1", 4000, 8<<30)
	w.workload("sum", 2, job(2))
	w.obey()
	for range 2 {
		for _, i := range w.instances("sum", placed) {
			if i.GetSpec().GetIndex() == 1 {
				w.report(i, failed, false)
			}
		}
		w.pass(time.Minute)
		want(t, "live", len(w.instances("sum", live)), 2)
	}
	for _, i := range w.instances("sum", placed) {
		if i.GetSpec().GetIndex() == 1 {
			w.report(i, failed, false)
		}
	}
	w.pass(time.Hour)
	w.obey()
	want(t, "live", len(w.instances("sum", live)), 0)
	st := w.get("sum").GetStatus()
	want(t, "phase", st.GetPhase(), dhowv1.WorkloadPhase_WORKLOAD_PHASE_FAILED)
	want(t, "failed", st.GetFailed(), 3)
	// A higher limit lets it go on.
	w.workload("sum", 2, job(3))
	w.pass(time.Minute)
	want(t, "live", len(w.instances("sum", live)), 2)
}

func TestJobNeverRunsTwiceAtOnce(t *testing.T) {
	w := newWorld(t)
	w.addNode("n1", 4000, 8<<30)
	w.workload("sum", 1, job(6))
	w.obey()
	w.addNode("n2", 4000, 8<<30)
	w.editNode("n1", func(n *dhowv1.Node) { n.Spec = &dhowv1.NodeSpec{Draining: true} })
	w.settle()
	want(t, "instances while the old one stops", len(w.instances("sum", nil)), 1)
	w.obey()
	want(t, "on n2", len(w.instances("sum", on("n2"))), 1)
}

func TestJobGoesOnWhenTheOldOneStopsOnALostNode(t *testing.T) {
	w := newWorld(t)
	w.addNode("n1", 4000, 8<<30)
	w.workload("sum", 1, job(6))
	w.obey()
	w.addNode("n2", 4000, 8<<30)
	w.workload("sum", 1, job(6), template("b"))
	w.settle()
	want(t, "instances while the old one stops", len(w.instances("sum", nil)), 1)
	w.lose("n1")
	w.settle()
	want(t, "on n2", len(w.instances("sum", on("n2"))), 1)
	w.back("n1")
	w.obey()
	want(t, "live", len(w.instances("sum", live)), 1)
}

func TestJobRemembersItsSuccesses(t *testing.T) {
	w := newWorld(t)
	w.addNode("n1", 400000, 80<<30)
	w.workload("sum", 300, job(6))
	w.obey()
	for _, i := range w.instances("sum", placed) {
		w.report(i, succeeded, false)
	}
	w.pass(time.Hour)
	want(t, "instances", len(w.instances("sum", nil)), 300)
	want(t, "phase", w.get("sum").GetStatus().GetPhase(), dhowv1.WorkloadPhase_WORKLOAD_PHASE_COMPLETE)
	w.workload("sum", 0, job(6))
	w.obey()
	if n := len(w.instances("sum", nil)); n > 100 {
		t.Errorf("%d are kept of indexes that are gone", n)
	}
}
