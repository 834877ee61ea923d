package plan

import (
	"fmt"
	"strings"

	"dhow.dev/dhow/control/plan/heal"
	dhowv1 "dhow.dev/dhow/proto/dhow/v1"
)

// mostExplained is how many of a workload's instances are explained.
const mostExplained = 20

// Why explains, node by node, where an instance or a workload's instances
// could not go.
func (s *State) Why(ref *dhowv1.Ref) []*dhowv1.Explanation {
	k := key{ref.GetNamespace(), ref.GetName()}
	if ref.GetKind() == dhowv1.Kind_KIND_INSTANCE {
		if i := s.instances[k]; i != nil {
			return []*dhowv1.Explanation{s.explain(i, true)}
		}
		return nil
	}
	g := s.workloads[k]
	if g == nil {
		return nil
	}
	// All instances of a revision are refused for the same reasons: they are
	// given once.
	var pending, rest []*dhowv1.Explanation
	for i := range g.Live() {
		if len(pending)+len(rest) >= mostExplained {
			break
		}
		if i.Node() == "" {
			pending = append(pending, s.explain(i, len(pending) == 0))
		} else {
			rest = append(rest, s.explain(i, false))
		}
	}
	return append(pending, rest...)
}

func (s *State) explain(i *heal.Instance, nodes bool) *dhowv1.Explanation {
	m, sp, g := i.Obj.GetMeta(), i.Obj.GetSpec(), i.Slot.Group
	e := &dhowv1.Explanation{
		Ref:  &dhowv1.Ref{Kind: dhowv1.Kind_KIND_INSTANCE, Namespace: m.GetNamespace(), Name: m.GetName(), Uid: m.GetUid()},
		Node: sp.GetNode(),
	}
	r := g.Revision(sp.GetRevision())
	switch {
	case sp.GetNode() != "":
		e.Summary = fmt.Sprintf("it is on node %s", sp.GetNode())
		if sp.GetStopReason() != "" {
			e.Summary += "; it was told to stop: " + sp.GetStopReason()
		}
	case r == nil:
		e.Summary = sp.GetPendingReason()
	default:
		sh := s.cluster.Shape(r.GetTemplate())
		e.Summary = s.cluster.Summary(sh)
		if sp.GetNotBefore() != nil && strings.HasPrefix(sp.GetPendingReason(), backingOff) {
			e.Summary = fmt.Sprintf("%s, until %s", sp.GetPendingReason(), i.NotBefore().UTC().Format("2006-01-02 15:04:05Z"))
		}
		s.cluster.Drop(sh)
	}
	if r != nil && nodes {
		sh := s.cluster.Shape(r.GetTemplate())
		e.Refusals = s.cluster.Explain(sh, sp.GetNode())
		s.cluster.Drop(sh)
	}
	return e
}
