package heal

import (
	"fmt"
	"strings"

	dhowv1 "dhow.dev/dhow/proto/dhow/v1"
)

// status sums up the workload.
func (g *Group) status() *dhowv1.WorkloadStatus {
	t := &g.tally
	s := &dhowv1.WorkloadStatus{
		ObservedGeneration: g.Workload.GetMeta().GetGeneration(),
		Revision:           g.current,
		Desired:            g.replicas,
		Pending:            uint32(t.pending),
		Starting:           uint32(t.starting),
		Running:            uint32(t.running),
		Ready:              uint32(t.ready),
		Updated:            uint32(t.updated),
		Succeeded:          uint32(t.succeeded),
		Failed:             uint32(t.failed),
	}
	if g.job {
		g.jobPhase(s)
	} else {
		g.servicePhase(s)
	}
	return s
}

func (g *Group) servicePhase(s *dhowv1.WorkloadStatus) {
	t := &g.tally
	switch {
	case s.Updated >= s.Desired && t.outdated == 0 && (s.Desired > 0 || t.live == 0):
		s.Phase = dhowv1.WorkloadPhase_WORKLOAD_PHASE_READY
		return
	case t.troubled > 0 || t.unplaced > 0:
		s.Phase = dhowv1.WorkloadPhase_WORKLOAD_PHASE_DEGRADED
	default:
		s.Phase = dhowv1.WorkloadPhase_WORKLOAD_PHASE_PROGRESSING
	}
	s.Message = g.trouble(fmt.Sprintf("%d of %d ready", s.Ready, s.Desired))
	if t.outdated > 0 {
		s.Message = g.trouble(fmt.Sprintf("%d of %d updated to revision %d, %d ready", s.Updated, s.Desired, s.Revision, s.Ready))
	}
}

func (g *Group) jobPhase(s *dhowv1.WorkloadStatus) {
	t := &g.tally
	switch {
	case s.Succeeded >= s.Desired:
		s.Phase = dhowv1.WorkloadPhase_WORKLOAD_PHASE_COMPLETE
		return
	case t.exhausted > 0:
		s.Phase = dhowv1.WorkloadPhase_WORKLOAD_PHASE_FAILED
		s.Message = fmt.Sprintf("%d of %d succeeded; %d failed more often than the backoff limit of %d", s.Succeeded, s.Desired, t.exhausted, g.backoffLimit)
		if g.failure != "" {
			s.Message += "; last: " + g.failure
		}
		return
	case t.troubled > 0 || t.unplaced > 0:
		s.Phase = dhowv1.WorkloadPhase_WORKLOAD_PHASE_DEGRADED
	default:
		s.Phase = dhowv1.WorkloadPhase_WORKLOAD_PHASE_PROGRESSING
	}
	s.Message = g.trouble(fmt.Sprintf("%d of %d succeeded", s.Succeeded, s.Desired))
}

func (g *Group) trouble(head string) string {
	parts := []string{head}
	if t := &g.tally; t.unplaced > 0 {
		why := ""
		if i := g.Waiting(); i != nil {
			why = ": " + i.Obj.GetSpec().GetPendingReason()
		}
		parts = append(parts, fmt.Sprintf("no node for %d%s", t.unplaced, why))
	}
	if g.tally.troubled > 0 {
		text := fmt.Sprintf("%d failing", g.tally.troubled)
		if g.failure != "" {
			text += ": " + g.failure
		}
		parts = append(parts, text)
	}
	return strings.Join(parts, "; ")
}

// equal compares what is reported.
func equal(a, b *dhowv1.WorkloadStatus) bool {
	return b != nil && a.GetObservedGeneration() == b.GetObservedGeneration() && a.GetRevision() == b.GetRevision() &&
		a.GetDesired() == b.GetDesired() && a.GetPending() == b.GetPending() && a.GetStarting() == b.GetStarting() &&
		a.GetRunning() == b.GetRunning() && a.GetReady() == b.GetReady() && a.GetUpdated() == b.GetUpdated() &&
		a.GetSucceeded() == b.GetSucceeded() && a.GetFailed() == b.GetFailed() &&
		a.GetPhase() == b.GetPhase() && a.GetMessage() == b.GetMessage()
}

// scaled tells when the wanted number changed.
func (g *Group) scaled(env Env) {
	was := g.Workload.GetStatus()
	if was == nil || was.GetDesired() == g.replicas {
		return
	}
	e := Event{Reason: "ScaledUp", Message: fmt.Sprintf("from %d to %d instances", was.GetDesired(), g.replicas)}
	if was.GetDesired() > g.replicas {
		e.Reason = "ScaledDown"
	}
	env.Tell(g, e)
}

// tell makes an event of a phase that was reached.
func (g *Group) tell(env Env, s *dhowv1.WorkloadStatus) {
	was := g.Workload.GetStatus().GetPhase()
	if s.Phase == was {
		return
	}
	switch s.Phase {
	case dhowv1.WorkloadPhase_WORKLOAD_PHASE_READY:
		env.Tell(g, Event{Reason: "Ready", Message: fmt.Sprintf("%d of %d instances are ready, at revision %d", s.Ready, s.Desired, s.Revision)})
	case dhowv1.WorkloadPhase_WORKLOAD_PHASE_COMPLETE:
		env.Tell(g, Event{Reason: "JobComplete", Message: fmt.Sprintf("all %d indexes have succeeded", s.Desired)})
	case dhowv1.WorkloadPhase_WORKLOAD_PHASE_FAILED:
		env.Tell(g, Event{Warning: true, Reason: "JobFailed", Message: s.Message})
	case dhowv1.WorkloadPhase_WORKLOAD_PHASE_DEGRADED:
		env.Tell(g, Event{Warning: true, Reason: "Degraded", Message: s.Message})
	default:
	}
}
