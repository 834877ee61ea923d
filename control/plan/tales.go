package plan

import (
	"fmt"
	"strings"

	"dhow.dev/dhow/control/plan/heal"
	"dhow.dev/dhow/control/plan/schedule"
	dhowv1 "dhow.dev/dhow/proto/dhow/v1"
	"dhow.dev/dhow/proto/spec"
)

// tales gathers what one plan does, to tell it in few events: one for each
// workload and kind of thing, not one for each instance.
type tales struct {
	list  []*tale
	by    map[*heal.Group]*tale
	nodes []nodeTale
}

type tale struct {
	group            *heal.Group
	placed, unplaced int
	failed, lost     int
	drained          int
	lostOn, failure  string
	events           []heal.Event
}

type nodeTale struct {
	node     *dhowv1.Node
	was      dhowv1.NodeState
	liveness *dhowv1.NodeLiveness
}

func newTales() tales { return tales{by: map[*heal.Group]*tale{}} }

func (t *tales) of(g *heal.Group) *tale {
	if k := len(t.list); k > 0 && t.list[k-1].group == g {
		return t.list[k-1]
	}
	a := t.by[g]
	if a == nil {
		a = &tale{group: g}
		t.by[g] = a
		t.list = append(t.list, a)
	}
	return a
}

func (t *tales) node(n *dhowv1.Node, was dhowv1.NodeState, l *dhowv1.NodeLiveness) {
	t.nodes = append(t.nodes, nodeTale{n, was, l})
}

// born notes what a new instance replaces.
func (t *tale) born(b heal.Birth) {
	if b.Replaces == nil {
		return
	}
	switch b.Why {
	case heal.Lost:
		t.lost++
		t.lostOn = b.Replaces.Node()
	case heal.Drained:
		t.drained++
	case heal.Ended:
		t.failed++
		st := b.Replaces.Obj.GetStatus()
		t.failure = st.GetReason()
		if st.GetMessage() != "" {
			t.failure += ": " + st.GetMessage()
		}
	default:
	}
}

// tell makes events of the tales.
func (p *pass) tell() {
	for _, t := range p.tales.nodes {
		p.tellNode(t)
	}
	for _, t := range p.tales.list {
		for _, e := range t.all() {
			p.event(t.group.Namespace, &dhowv1.Ref{
				Kind: dhowv1.Kind_KIND_WORKLOAD, Namespace: t.group.Namespace, Name: t.group.Name, Uid: t.group.UID,
			}, e)
		}
	}
}

// all words the tale.
func (t *tale) all() []heal.Event {
	out := t.events
	if n := t.failed + t.lost + t.drained; n > 0 {
		var parts []string
		if t.failed > 0 {
			parts = append(parts, fmt.Sprintf("%d ended (last: %s)", t.failed, clip(t.failure)))
		}
		if t.lost > 0 {
			parts = append(parts, fmt.Sprintf("%d lost with node %s", t.lost, t.lostOn))
		}
		if t.drained > 0 {
			parts = append(parts, fmt.Sprintf("%d on draining nodes", t.drained))
		}
		out = append(out, heal.Event{Warning: t.failed+t.lost > 0, Reason: "Replaced", Message: "replaces " + strings.Join(parts, ", ")})
	}
	if t.placed > 0 {
		out = append(out, heal.Event{Reason: "Scheduled", Message: fmt.Sprintf("placed %d %s", t.placed, plural(t.placed, "instance"))})
	}
	if t.unplaced > 0 {
		why := "no node can take it"
		if i := t.group.Waiting(); i != nil {
			why = i.Obj.GetSpec().GetPendingReason()
		}
		out = append(out, heal.Event{
			Warning: true, Reason: "FailedPlacement",
			Message: fmt.Sprintf("no node for %d %s: %s", t.unplaced, plural(t.unplaced, "instance"), why),
		})
	}
	return out
}

func plural(n int, s string) string {
	if n == 1 {
		return s
	}
	return s + "s"
}

func clip(s string) string {
	const most = 200
	if len(s) > most {
		s = strings.ToValidUTF8(s[:most], "") + "…"
	}
	return s
}

func (p *pass) tellNode(t nodeTale) {
	m := t.node.GetMeta()
	e := heal.Event{Message: t.liveness.GetMessage()}
	switch t.liveness.GetState() {
	case dhowv1.NodeState_NODE_STATE_LOST:
		e.Reason, e.Warning = "NodeLost", true
	case dhowv1.NodeState_NODE_STATE_SUSPECT:
		e.Reason, e.Warning = "NodeSuspect", true
	case dhowv1.NodeState_NODE_STATE_READY:
		e.Reason = "NodeReady"
		if t.was != dhowv1.NodeState_NODE_STATE_UNSPECIFIED {
			e.Message = "it was " + schedule.StateName(t.was)
		}
	default:
		return
	}
	p.event(spec.DefaultNamespace, &dhowv1.Ref{Kind: dhowv1.Kind_KIND_NODE, Name: m.GetName(), Uid: m.GetUid()}, e)
}

// event writes an event. Its name follows from what it says and the seed.
func (p *pass) event(namespace string, about *dhowv1.Ref, e heal.Event) {
	typ := dhowv1.EventType_EVENT_TYPE_NORMAL
	if e.Warning {
		typ = dhowv1.EventType_EVENT_TYPE_WARNING
	}
	id := uid(hash(p.seed, about.GetUid()+e.Reason), uint64(about.GetKind()), uint64(p.now.UnixNano()))
	name := about.GetName()[:min(len(about.GetName()), spec.MaxWorkloadName)] + "-" + id[:10]
	ev := &dhowv1.Event{
		Meta:      &dhowv1.Meta{Name: name, Namespace: namespace, Uid: id, CreatedAt: p.stamp},
		Regarding: about, Type: typ, Reason: e.Reason, Message: e.Message, Source: "control", Time: p.stamp,
	}
	p.change(&dhowv1.Change{Op: &dhowv1.Change_Put{Put: &dhowv1.Object{Kind: &dhowv1.Object_Event{Event: ev}}}})
	p.s.events.put(key{namespace, name}, p.now)
}
