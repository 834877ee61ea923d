package gossip

import (
	"context"
	"net"
	"runtime"
	"testing"

	"github.com/hashicorp/serf/serf"
)

// A check finds a dead member before probing can: serf itself still takes it
// for alive.
func TestCheckFindsDeadMemberAtOnce(t *testing.T) {
	t.Parallel()
	a, b, c := three(t, false)
	c.stop()
	a.Check("node/c")
	await(t, a, map[string]State{"server/a": Alive, "node/b": Alive, "node/c": Failed})
	if m, ok := a.aliveAt("node/c"); !ok {
		t.Errorf("serf was faster than the check: %v", m)
	}
	for _, m := range b.Members() {
		if m.Name == "node/c" && m.State == Failed {
			t.Error("a node checked: only servers may, or thousands would")
		}
	}
	// In the end everyone knows, and the finding gives way.
	await(t, b, map[string]State{"server/a": Alive, "node/b": Alive, "node/c": Failed})
}

func TestCheckOfLivingMemberChangesNothing(t *testing.T) {
	t.Parallel()
	a, _, c := three(t, false)
	for _, name := range []string{"node/c", "server/a", "node/unknown"} {
		a.check(t.Context(), name)
		if len(a.gone) != 0 {
			t.Errorf("%s: gone %v", name, a.gone)
		}
	}
	if a.refuses(t.Context(), c.Addr()) {
		t.Error("a living member refuses")
	}
}

// A member found gone that is back at its address is alive again, even when
// serf never noticed that it was away.
func TestGoneMemberThatReturnsIsAlive(t *testing.T) {
	t.Parallel()
	a, _, c := three(t, false)
	c.stop()
	a.Check("node/c")
	await(t, a, map[string]State{"server/a": Alive, "node/b": Alive, "node/c": Failed})
	start(t, Config{Name: "node/c", Bind: c.Addr(), Join: []string{a.Addr()}})
	await(t, a, map[string]State{"server/a": Alive, "node/b": Alive, "node/c": Alive})
}

// With all cores busy for several probe intervals nobody is taken for dead.
func TestBusyMachineFailsNobody(t *testing.T) {
	if testing.Short() {
		t.Skip("takes 6 s")
	}
	a, b, c := three(t, false)
	ctx, cancel := context.WithTimeout(t.Context(), 6*probeInterval)
	defer cancel()
	for range 2 * runtime.GOMAXPROCS(0) {
		go func() {
			for n := 0; ctx.Err() == nil; n++ {
			}
		}()
	}
	for {
		changed := make([]<-chan struct{}, 3)
		for i, m := range []*member{a, b, c} {
			ch, end := m.Subscribe()
			defer end()
			changed[i] = ch
			for _, s := range m.serf.Members() {
				if s.Status != serf.StatusAlive {
					t.Fatalf("%s takes %s for %s", m.c.Name, s.Name, s.Status)
				}
			}
		}
		select {
		case <-changed[0]:
		case <-changed[1]:
		case <-changed[2]:
		case <-ctx.Done():
			return
		}
	}
}

// Nobody has to ask for the check: the first probe that is refused does.
func TestRefusedProbeLeadsToACheck(t *testing.T) {
	t.Parallel()
	a, _, c := three(t, false)
	c.stop()
	await(t, a, map[string]State{"server/a": Alive, "node/b": Alive, "node/c": Failed})
	if _, ok := a.aliveAt("node/c"); !ok {
		t.Error("serf was faster than the check")
	}
}

// A listener that goes away while it is looked at counts as gone.
func TestCheckOutlastsADyingProcess(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	go func() {
		if conn, err := l.Accept(); err == nil {
			_ = conn.Close()
		}
		_ = l.Close()
	}()
	g := start(t, Config{Name: "a"})
	if !g.refuses(t.Context(), l.Addr().String()) {
		t.Error("taken for alive")
	}
}
