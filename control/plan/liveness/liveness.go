// Package liveness decides from gossip and sessions which nodes live. It is
// pure.
package liveness

import (
	"fmt"
	"time"

	dhowv1 "dhow.dev/dhow/proto/dhow/v1"
)

// Gossip is what gossip knows of a machine.
type Gossip uint8

// The values, in no order.
const (
	Unknown Gossip = iota // never seen, or not taking part
	Alive
	Failed
	Left
)

// String is the value for people.
func (g Gossip) String() string {
	return [...]string{"unknown", "alive", "failed", "left"}[g&3]
}

// Facts is what gossip knows of all machines at one moment. It is not changed
// after it was handed over.
type Facts struct {
	Nodes   map[string]Gossip // by name; missing is Unknown
	Servers map[string]Gossip // by name; missing is Unknown
}

// Grace is how long a node of which gossip knows nothing may be without a
// session before it is lost. It counts from when this leader first saw it so:
// sessions move when a server dies, and a new leader knows little at first.
const Grace = 5 * time.Second

// Tracker remembers since when nodes are without a session.
type Tracker struct {
	facts Facts
	down  map[string]time.Time
}

// NewTracker makes a Tracker at the start of a leadership.
func NewTracker() *Tracker { return &Tracker{down: map[string]time.Time{}} }

// SetFacts replaces the facts and calls changed for each node that they say
// something else of, and all when a server's changed.
func (t *Tracker) SetFacts(f Facts, changed func(node string), all func()) {
	old := t.facts
	t.facts = f
	if differ(old.Servers, f.Servers, nil) {
		all()
		return
	}
	differ(old.Nodes, f.Nodes, changed)
}

// differ tells whether two maps differ, and calls each, if not nil, with all
// keys that do.
func differ(a, b map[string]Gossip, each func(string)) bool {
	found := false
	for k, v := range b {
		if a[k] != v {
			found = true
			if each != nil {
				each(k)
			}
		}
	}
	for k, v := range a {
		if _, ok := b[k]; !ok && v != Unknown {
			found = true
			if each != nil {
				each(k)
			}
		}
	}
	return found
}

// Forget drops what is remembered of a node that was removed.
func (t *Tracker) Forget(node string) { delete(t.down, node) }

// Verdict is what is to be thought of a node.
type Verdict struct {
	State   dhowv1.NodeState
	Message string
	// When to judge again even if nothing changes; zero: not before a change.
	Wake time.Time
}

// Judge decides whether a node lives. Gossip alone or the session alone may be
// the network's fault; both together are not.
func (t *Tracker) Judge(n *dhowv1.Node, now time.Time) Verdict {
	name := n.GetMeta().GetName()
	gossip := Unknown
	if n.GetInfo().GetGossip() {
		gossip = t.facts.Nodes[name]
	}
	up, why := t.session(n.GetSession())
	if up {
		delete(t.down, name)
		if gossip == Failed || gossip == Left {
			return Verdict{State: dhowv1.NodeState_NODE_STATE_SUSPECT, Message: fmt.Sprintf("it has a session, but gossip says it has %s", gossip)}
		}
		return Verdict{State: dhowv1.NodeState_NODE_STATE_READY}
	}
	if n.GetSession().GetId() == "" {
		return Verdict{State: dhowv1.NodeState_NODE_STATE_JOINED, Message: "it has had no session yet"}
	}
	switch gossip {
	case Alive:
		delete(t.down, name)
		return Verdict{State: dhowv1.NodeState_NODE_STATE_SUSPECT, Message: why + ", but gossip says it is alive"}
	case Failed, Left:
		delete(t.down, name)
		return Verdict{State: dhowv1.NodeState_NODE_STATE_LOST, Message: fmt.Sprintf("%s, and gossip says it has %s", why, gossip)}
	case Unknown:
	}
	since, seen := t.down[name]
	if !seen || since.After(now) { // a clock that went back must not keep it alive
		since = now
		t.down[name] = now
	}
	if n.GetLiveness().GetState() == dhowv1.NodeState_NODE_STATE_LOST {
		return Verdict{State: dhowv1.NodeState_NODE_STATE_LOST, Message: n.GetLiveness().GetMessage()}
	}
	if due := since.Add(Grace); now.Before(due) {
		return Verdict{State: dhowv1.NodeState_NODE_STATE_SUSPECT, Message: why + "; gossip knows nothing of it", Wake: due}
	}
	return Verdict{State: dhowv1.NodeState_NODE_STATE_LOST, Message: why + "; gossip knows nothing of it"}
}

// session tells whether the node's session stands, and if not, why.
func (t *Tracker) session(s *dhowv1.NodeSession) (up bool, why string) {
	if !s.GetConnected() {
		return false, "it has no session"
	}
	if g := t.facts.Servers[s.GetServer()]; g == Failed || g == Left {
		return false, fmt.Sprintf("server %s, which held its session, has %s", s.GetServer(), g)
	}
	return true, ""
}
