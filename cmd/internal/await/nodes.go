package await

import (
	"fmt"

	dhowv1 "dhow.dev/dhow/proto/dhow/v1"
)

// Nodes follows nodes until so many are ready, or until one of a name is in
// a state.
type Nodes struct {
	want  int
	name  string
	state dhowv1.NodeState
	seen  map[string]dhowv1.NodeState
}

// NewNodes follows all nodes until n are ready.
func NewNodes(n int) *Nodes {
	return &Nodes{want: n, state: dhowv1.NodeState_NODE_STATE_READY, seen: map[string]dhowv1.NodeState{}}
}

// NewNode follows the named node until it is in the state.
func NewNode(name string, state dhowv1.NodeState) *Nodes {
	return &Nodes{want: 1, name: name, state: state, seen: map[string]dhowv1.NodeState{}}
}

// Reset forgets what was seen.
func (n *Nodes) Reset() { clear(n.seen) }

// Observe takes one event.
func (n *Nodes) Observe(ev *dhowv1.WatchEvent) {
	node := ev.GetObject().GetNode()
	name := node.GetMeta().GetName()
	if node == nil || n.name != "" && name != n.name {
		return
	}
	if ev.GetType() == dhowv1.WatchEventType_WATCH_EVENT_TYPE_DELETE {
		delete(n.seen, name)
		return
	}
	n.seen[name] = node.GetLiveness().GetState()
}

// Progress judges what was seen.
func (n *Nodes) Progress() Progress {
	count := 0
	for _, state := range n.seen {
		if state == n.state {
			count++
		}
	}
	done := count >= n.want
	if n.name != "" {
		return Progress{Done: done, Line: fmt.Sprintf("node %s: waiting", n.name)}
	}
	return Progress{Done: done, Line: fmt.Sprintf("nodes: %d/%d ready", count, n.want)}
}
