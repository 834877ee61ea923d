package sim

import (
	"fmt"
	"strings"
	"time"

	dhowv1 "dhow.dev/dhow/proto/dhow/v1"
	"dhow.dev/dhow/proto/spec"
)

// converge ends all faults and waits until all is well.
func (w *world) converge() {
	w.logf("the faults end")
	w.calm = true
	w.healNetwork()
	for _, s := range w.servers {
		if !s.up {
			s.start()
		}
	}
	left := len(w.nodes)
	for _, n := range w.nodes {
		if !n.up && !n.gone && left > 1 && w.one(3) {
			// It stays off: what it ran must run elsewhere.
			n.dead = true
			left--
			clear(n.runs)
			w.logf("%s is dead", n.name)
		}
		if !n.up {
			n.start()
		}
	}
	w.run(w.now.Add(5 * time.Second))
	why := ""
	for range 200 {
		w.user.settle()
		w.run(w.now.Add(5 * time.Second))
		if why = w.wrong(); why == "" {
			return
		}
	}
	w.fail("it does not become well: %s", why)
}

// wrong says what is not as it should be; empty when all is.
func (w *world) wrong() string {
	var lead *server
	for _, s := range w.servers {
		if s.raft.role == leader {
			lead = s
		}
	}
	if lead == nil || lead.lship == nil {
		return "there is no leader"
	}
	rev, hash, err := lead.st.Hash()
	w.must(err)
	for _, s := range w.servers {
		r, h, err := s.st.Hash()
		w.must(err)
		if r != rev {
			return fmt.Sprintf("%s is at %d, %s at %d", s.name, r, lead.name, rev)
		}
		if string(h) != string(hash) {
			w.fail("invariant 7 broken: %s and %s differ at %d", s.name, lead.name, rev)
		}
	}
	v := lead.st.View()
	defer v.Close()
	objs, _, err := v.List(&dhowv1.Selector{Kind: dhowv1.Kind_KIND_INSTANCE}, "", 0)
	w.must(err)
	runs := map[string]*node{}
	for _, n := range w.nodes {
		for _, id := range n.ids() {
			if n.runs[id].running && id.Task == "main" {
				if runs[id.Instance] != nil {
					w.fail("%s runs twice", id.Instance)
				}
				runs[id.Instance] = n
			}
		}
	}
	byIndex := map[string][]*dhowv1.Instance{}
	waits := map[string]bool{}
	for _, o := range objs {
		i := o.GetInstance()
		m, sp, st := i.GetMeta(), i.GetSpec(), i.GetStatus()
		n := runs[m.GetUid()]
		delete(runs, m.GetUid())
		switch {
		case spec.Terminal(st.GetState()):
			if n != nil {
				return fmt.Sprintf("%s has ended and runs on %s", m.GetName(), n.name)
			}
			continue
		case sp.GetDesired() == dhowv1.Desired_DESIRED_STOP && w.dead(sp.GetNode()):
			continue
		case sp.GetDesired() == dhowv1.Desired_DESIRED_STOP:
			return fmt.Sprintf("%s is to stop on %s and is %v", m.GetName(), sp.GetNode(), st.GetState())
		case sp.GetNode() == "":
			waits[sp.GetWorkloadUid()] = true
			for _, e := range lead.lship.core.Why(spec.RefOf(o)) {
				for _, r := range e.GetRefusals() {
					if r.GetFilter() == "" && !strings.HasPrefix(sp.GetPendingReason(), "waits") {
						return fmt.Sprintf("%s is pending (%s), and %s would take it", m.GetName(), sp.GetPendingReason(), r.GetNode())
					}
				}
			}
		case n != nil && n.name != sp.GetNode():
			w.fail("%s is on %s and runs on %s", m.GetName(), sp.GetNode(), n.name)
		case st.GetReady() != (n != nil):
			return fmt.Sprintf("%s: ready is %v", m.GetName(), st.GetReady())
		}
		k := fmt.Sprintf("%s/%d", sp.GetWorkloadUid(), sp.GetIndex())
		byIndex[k] = append(byIndex[k], i)
	}
	for uid, n := range runs {
		return fmt.Sprintf("%s runs on %s and is not in the state", uid, n.name)
	}
	objs, _, err = v.List(&dhowv1.Selector{Kind: dhowv1.Kind_KIND_WORKLOAD}, "", 0)
	w.must(err)
	for _, o := range objs {
		if why := w.off(o.GetWorkload(), byIndex, waits[o.GetWorkload().GetMeta().GetUid()]); why != "" {
			return why
		}
	}
	for k, list := range byIndex {
		return fmt.Sprintf("%s of %s is left", list[0].GetMeta().GetName(), k)
	}
	return ""
}

// off says what is not right with a workload.
func (w *world) off(wl *dhowv1.Workload, byIndex map[string][]*dhowv1.Instance, waits bool) string {
	m, st, sp := wl.GetMeta(), wl.GetStatus(), wl.GetSpec()
	if st.GetObservedGeneration() != m.GetGeneration() {
		return fmt.Sprintf("the status of %s is of an older generation", m.GetName())
	}
	broken := sp.GetTemplate().GetTasks()[0].GetArgs()[0] == "broken"
	switch ph := st.GetPhase(); {
	case ph == dhowv1.WorkloadPhase_WORKLOAD_PHASE_READY, ph == dhowv1.WorkloadPhase_WORKLOAD_PHASE_COMPLETE,
		ph == dhowv1.WorkloadPhase_WORKLOAD_PHASE_FAILED:
	case ph == dhowv1.WorkloadPhase_WORKLOAD_PHASE_DEGRADED && (waits || broken):
	default:
		return fmt.Sprintf("%s is %v: %s", m.GetName(), ph, st.GetMessage())
	}
	for index := range sp.GetReplicas() {
		k := fmt.Sprintf("%s/%d", m.GetUid(), index)
		list := byIndex[k]
		delete(byIndex, k)
		if sp.GetType() == dhowv1.WorkloadType_WORKLOAD_TYPE_JOB && len(list) == 0 {
			continue
		}
		if len(list) != 1 && !waits && !broken {
			return fmt.Sprintf("%s has %d instances of index %d", m.GetName(), len(list), index)
		}
	}
	return ""
}

func (w *world) dead(name string) bool {
	for _, n := range w.nodes {
		if n.name == name {
			return n.dead
		}
	}
	return false
}
