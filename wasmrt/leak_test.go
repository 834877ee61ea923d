package wasmrt

import (
	"context"
	"runtime"
	"sync"
	"testing"
	"time"

	"dhow.dev/dhow/wasmrt/wasmtest"
)

// TestNothingLeaks stops guests at every moment of their lives, from several
// goroutines: their memory is unmapped after they have returned, each, and no
// goroutine stays.
func TestNothingLeaks(t *testing.T) {
	before := runtime.NumGoroutine()
	e, err := NewEngine(t.Context(), Options{})
	if err != nil {
		t.Fatal(err)
	}
	m, err := e.Compile(t.Context(), wasmtest.Bytes(t, "c/probe.c"))
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	for w := range 4 {
		wg.Go(func() {
			for n := range 100 {
				ctx, cancel := context.WithTimeout(t.Context(), time.Duration(n*(w+1))*3*time.Microsecond)
				what := []string{"exit", "spin", "sleep", "trap", "lines"}[n%5]
				i, err := m.Start(ctx, Config{Args: []string{"probe", what, "7"}})
				if err != nil {
					if ctx.Err() == nil {
						t.Error(err)
					}
					cancel()
					continue
				}
				<-i.Done()
				if i.memory.m.buf != nil || i.Memory() != 0 {
					t.Errorf("%s: the guest has ended and its memory is mapped", what)
				}
				cancel()
			}
		})
	}
	wg.Wait()
	if e.Running() != 0 {
		t.Errorf("%d instances left", e.Running())
	}
	m.Close()
	if len(e.idle) != 1 || m.code.refs != 0 {
		t.Errorf("%d uses of the module are left", m.code.refs)
	}
	if err := e.Close(); err != nil {
		t.Error(err)
	}
	for runtime.NumGoroutine() > before { // or the test never ends
		runtime.Gosched()
	}
}
