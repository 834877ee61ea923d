package liveness

import (
	"testing"
	"time"

	dhowv1 "dhow.dev/dhow/proto/dhow/v1"
)

func TestJudge(t *testing.T) {
	const (
		joined  = dhowv1.NodeState_NODE_STATE_JOINED
		ready   = dhowv1.NodeState_NODE_STATE_READY
		suspect = dhowv1.NodeState_NODE_STATE_SUSPECT
		lost    = dhowv1.NodeState_NODE_STATE_LOST
	)
	for _, c := range []struct {
		name      string
		gossip    bool // takes part
		node      Gossip
		server    Gossip // of the session
		session   bool   // there was one
		connected bool
		now, late dhowv1.NodeState // at once, and after the grace
	}{
		{"just joined", true, Unknown, Alive, false, false, joined, joined},
		{"joined, gossip knows it", true, Alive, Alive, false, false, joined, joined},
		{"all well", true, Alive, Alive, true, true, ready, ready},
		{"gossip knows nothing of its server", true, Alive, Unknown, true, true, ready, ready},
		{"gossip knows nothing of it", true, Unknown, Alive, true, true, ready, ready},
		{"gossip alone says it failed", true, Failed, Alive, true, true, suspect, suspect},
		{"the session alone", true, Alive, Alive, true, false, suspect, suspect},
		{"its server died", true, Alive, Failed, true, true, suspect, suspect},
		{"both", true, Failed, Alive, true, false, lost, lost},
		{"it left", true, Left, Alive, true, false, lost, lost},
		{"it died with its server", true, Failed, Failed, true, true, lost, lost},
		{"a new leader that knows nothing", true, Unknown, Alive, true, false, suspect, lost},
		{"no gossip, session", false, Failed, Alive, true, true, ready, ready},
		{"no gossip, no session", false, Alive, Alive, true, false, suspect, lost},
		{"no gossip, its server died", false, Unknown, Failed, true, true, suspect, lost},
	} {
		t.Run(c.name, func(t *testing.T) {
			tr := NewTracker()
			tr.SetFacts(Facts{Nodes: map[string]Gossip{"n": c.node}, Servers: map[string]Gossip{"s": c.server}}, func(string) {}, func() {})
			n := &dhowv1.Node{Meta: &dhowv1.Meta{Name: "n"}, Info: &dhowv1.NodeInfo{Gossip: c.gossip}}
			if c.session {
				n.Session = &dhowv1.NodeSession{Server: "s", Id: "1", Connected: c.connected}
			}
			now := time.Unix(1_000_000, 0)
			v := tr.Judge(n, now)
			if v.State != c.now {
				t.Errorf("at once: %v (%s), want %v", v.State, v.Message, c.now)
			}
			if c.now != c.late {
				if v.Wake.IsZero() {
					t.Fatal("nobody will look again")
				}
				now = v.Wake
			}
			if v = tr.Judge(n, now); v.State != c.late {
				t.Errorf("later: %v (%s), want %v", v.State, v.Message, c.late)
			}
		})
	}
}

func TestGraceBeginsAnewAfterASession(t *testing.T) {
	tr := NewTracker()
	down := &dhowv1.Node{Meta: &dhowv1.Meta{Name: "n"}, Session: &dhowv1.NodeSession{Id: "1"}}
	up := &dhowv1.Node{Meta: &dhowv1.Meta{Name: "n"}, Session: &dhowv1.NodeSession{Id: "2", Connected: true}}
	now := time.Unix(1_000_000, 0)
	tr.Judge(down, now)
	tr.Judge(up, now.Add(Grace-1))
	if v := tr.Judge(down, now.Add(Grace)); v.State != dhowv1.NodeState_NODE_STATE_SUSPECT {
		t.Errorf("got %v", v.State)
	}
	// A clock that goes back must not keep it alive for ever.
	v := tr.Judge(down, now.Add(-time.Hour))
	if v = tr.Judge(down, v.Wake); v.State != dhowv1.NodeState_NODE_STATE_LOST {
		t.Errorf("got %v", v.State)
	}
}

func TestSetFactsTellsWhatChanged(t *testing.T) {
	tr := NewTracker()
	var nodes []string
	all := 0
	set := func(f Facts) {
		nodes, all = nil, 0
		tr.SetFacts(f, func(n string) { nodes = append(nodes, n) }, func() { all++ })
	}
	set(Facts{Nodes: map[string]Gossip{"a": Alive, "b": Alive}})
	if len(nodes) != 2 {
		t.Errorf("%v", nodes)
	}
	set(Facts{Nodes: map[string]Gossip{"a": Alive, "b": Failed}})
	if len(nodes) != 1 || nodes[0] != "b" {
		t.Errorf("%v", nodes)
	}
	set(Facts{Nodes: map[string]Gossip{"b": Failed}})
	if len(nodes) != 1 || nodes[0] != "a" {
		t.Errorf("%v", nodes)
	}
	set(Facts{Nodes: map[string]Gossip{"b": Failed}, Servers: map[string]Gossip{"s": Failed}})
	if all != 1 {
		t.Errorf("all was told %d times", all)
	}
}
