package wasmrt

import (
	"context"
	goruntime "runtime"
	"testing"
	"testing/synctest"
	"time"

	"dhow.dev/dhow/wasmrt/wasmtest"
)

func TestGateLetsAFewInAtATime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGate()
		var leave []func()
		for range cap(g) {
			l, err := g.enter(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			leave = append(leave, l)
		}
		began := time.Now()
		ended, cancel := context.WithCancel(t.Context())
		cancel()
		if _, err := g.enter(ended); err == nil {
			t.Error("one too many came in")
		}
		leave[0]()
		leave[0]()
		if len(g) != cap(g)-1 {
			t.Errorf("one left, and %d of %d are in", len(g), cap(g))
		}
		// Those that compute on and on keep nobody out for long.
		for range cap(g) {
			if _, err := g.enter(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		if took := time.Since(began); took != freshFor {
			t.Errorf("the next came in after %v", took)
		}
		time.Sleep(freshFor)
		synctest.Wait()
	})
}

// TestGuestsLeaveTheGate when they wait, when they end, and when they cannot
// start.
func TestGuestsLeaveTheGate(t *testing.T) {
	e, err := NewEngine(t.Context(), Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	m, err := e.Compile(t.Context(), wasmtest.Bytes(t, "c/probe.c"))
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	for _, what := range []string{"exit", "sleep", "trap"} {
		for range 3 * cap(e.gate) {
			i, err := m.Start(t.Context(), Config{Args: []string{"probe", what, "7"}})
			if err != nil {
				t.Fatal(err)
			}
			defer i.Stop()
		}
	}
	for range 3 * cap(e.gate) {
		if _, err := m.Start(t.Context(), Config{Limits: Limits{Memory: 1}}); err == nil {
			t.Error("started without memory")
		}
	}
	for len(e.gate) > 0 { // or the test never ends
		goruntime.Gosched()
	}
}
