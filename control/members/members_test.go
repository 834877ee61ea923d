package members

import (
	"context"
	"log/slog"
	"sync"
	"testing"
	"testing/synctest"

	"dhow.dev/dhow/internal/gossip"
)

var _ Source = (*gossip.Gossip)(nil)

// fakeSource is a gossip that says what it is told.
type fakeSource struct {
	mu      sync.Mutex
	members []gossip.Member
	subs    []chan struct{}
	checked []string
}

func (s *fakeSource) set(ms ...gossip.Member) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.members = ms
	for _, ch := range s.subs {
		select {
		case ch <- struct{}{}:
		default:
		}
	}
}

func (s *fakeSource) Members() []gossip.Member {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.members
}

func (s *fakeSource) Subscribe() (<-chan struct{}, func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	ch := make(chan struct{}, 1)
	s.subs = append(s.subs, ch)
	return ch, func() {}
}

func (s *fakeSource) Check(name string) { s.checked = append(s.checked, name) }

func server(name string, state gossip.State) gossip.Member {
	return gossip.Member{
		Name: "server/" + name, Addr: name + ":7402", State: state,
		Tags: map[string]string{gossip.TagRole: gossip.RoleServer, gossip.TagName: name, gossip.TagAPI: name + ":7400"},
	}
}

func node(name string, state gossip.State) gossip.Member {
	return gossip.Member{Name: "node/" + name, State: state, Tags: map[string]string{gossip.TagRole: gossip.RoleNode, gossip.TagName: name}}
}

func TestFactsFollowGossip(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		source := &fakeSource{}
		source.set(server("s", gossip.Alive), node("n", gossip.Alive))
		m := New(source, slog.New(slog.DiscardHandler))
		before := m.Facts()
		if before.Nodes["n"] != Alive || before.Servers["s"].API != "s:7400" || before.Servers["s"].Gossip != "s:7402" {
			t.Errorf("facts before Run: %+v", before)
		}
		ctx, cancel := context.WithCancel(t.Context())
		var wg sync.WaitGroup
		defer wg.Wait()
		defer cancel()
		wg.Go(func() { _ = m.Run(ctx) })
		synctest.Wait()
		changed, end := m.Subscribe()
		defer end()

		source.set(server("s", gossip.Failed), node("n", gossip.Left), node("x", gossip.Failed))
		synctest.Wait()
		select {
		case <-changed:
		default:
			t.Error("subscribers were not told")
		}
		f := m.Facts()
		if f.Nodes["n"] != Left || f.Nodes["x"] != Failed || f.Nodes["never seen"] != Unknown || f.Servers["s"].State != Failed {
			t.Errorf("facts: %+v", f)
		}
		if before.Nodes["n"] != Alive {
			t.Error("facts that were handed out changed")
		}
		source.set(source.Members()...)
		synctest.Wait()
		select {
		case <-changed:
			t.Error("subscribers were told of nothing")
		default:
		}
	})
}

// Who carries another's name in its tags is not taken for it.
func TestFactsIgnoreImpostors(t *testing.T) {
	impostor := node("n", gossip.Failed)
	impostor.Name = "node/evil"
	asServer := node("n", gossip.Failed)
	asServer.Tags = map[string]string{gossip.TagRole: gossip.RoleServer, gossip.TagName: "s"}
	f := factsOf([]gossip.Member{node("n", gossip.Alive), impostor, asServer, {Name: "no tags"}})
	if f.Nodes["n"] != Alive || len(f.Nodes) != 1 || len(f.Servers) != 0 {
		t.Errorf("facts: %+v", f)
	}
}

func TestCheckNodeAsksOnlyAboutTheLiving(t *testing.T) {
	source := &fakeSource{}
	source.set(node("up", gossip.Alive), node("down", gossip.Failed))
	m := New(source, slog.New(slog.DiscardHandler))
	m.CheckNode("up")
	m.CheckNode("down")
	m.CheckNode("unknown")
	if len(source.checked) != 1 || source.checked[0] != "node/up" {
		t.Errorf("checked %v", source.checked)
	}
}
