package await

import (
	"testing"

	dhowv1 "dhow.dev/dhow/proto/dhow/v1"
	"dhow.dev/dhow/proto/spec"
)

func nodeEvent(name string, state dhowv1.NodeState) *dhowv1.WatchEvent {
	return &dhowv1.WatchEvent{
		Type: dhowv1.WatchEventType_WATCH_EVENT_TYPE_PUT,
		Object: spec.Wrap(&dhowv1.Node{
			Meta: &dhowv1.Meta{Name: name}, Liveness: &dhowv1.NodeLiveness{State: state},
		}),
	}
}

func TestNodesWaitsForAll(t *testing.T) {
	n := NewNodes(2)
	for _, step := range []struct {
		name  string
		state dhowv1.NodeState
		done  bool
	}{
		{"a", dhowv1.NodeState_NODE_STATE_READY, false},
		{"a", dhowv1.NodeState_NODE_STATE_READY, false},
		{"b", dhowv1.NodeState_NODE_STATE_JOINED, false},
		{"b", dhowv1.NodeState_NODE_STATE_READY, true},
		{"a", dhowv1.NodeState_NODE_STATE_LOST, false},
	} {
		n.Observe(nodeEvent(step.name, step.state))
		if n.Progress().Done != step.done {
			t.Errorf("after %s %s: done %v", step.name, step.state, !step.done)
		}
	}
	n.Reset()
	if got := n.Progress().Line; got != "nodes: 0/2 ready" {
		t.Errorf("after a reset: %q", got)
	}
}

func TestNodeWaitsForItsState(t *testing.T) {
	n := NewNode("a", dhowv1.NodeState_NODE_STATE_LOST)
	n.Observe(nodeEvent("b", dhowv1.NodeState_NODE_STATE_LOST))
	n.Observe(nodeEvent("a", dhowv1.NodeState_NODE_STATE_READY))
	if n.Progress().Done {
		t.Error("done before the node is lost")
	}
	n.Observe(nodeEvent("a", dhowv1.NodeState_NODE_STATE_LOST))
	if !n.Progress().Done {
		t.Error("not done though the node is lost")
	}
}
