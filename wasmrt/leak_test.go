package wasmrt

import (
	"bytes"
	"context"
	"os"
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

// TestManyInstances: whatever end instances come to, no goroutine, mapping or
// file of theirs stays.
func TestManyInstances(t *testing.T) {
	wasm, err := os.ReadFile("testdata/limits.wasm")
	if err != nil {
		t.Fatal(err)
	}
	f := func(ctx context.Context, _ Caller, _ []uint64) { <-ctx.Done() }
	i64 := []ValueType{I64}
	e, err := NewEngine(t.Context(), Options{Host: []HostModule{{Name: "test", Functions: []HostFunction{
		{Name: "wait", Blocks: true, Call: f},
		{Name: "twice", Params: i64, Results: i64, Call: f},
	}}}})
	if err != nil {
		t.Fatal(err)
	}
	m, err := e.Compile(t.Context(), wasm)
	if err != nil {
		t.Fatal(err)
	}
	round := func(n int) {
		i, err := m.New(t.Context(), Config{Limits: Limits{Timeout: time.Duration(n%7+1) * 100 * time.Microsecond, CPU: uint32(n % 2 * 500)}})
		if err != nil {
			return // its time was over before it began
		}
		what := []string{"next", "spin", "wait", "trap", "explode", "tail", "fill"}[n%7]
		_, _ = i.Call(t.Context(), what)
		if n%3 == 0 {
			i.Stop()
		}
		_ = i.Close()
		if i.memory.m.buf != nil {
			t.Errorf("%s: its memory is mapped", what)
		}
	}
	round(0)
	goroutines, mappings, files := runtime.NumGoroutine(), count(t, "/proc/self/maps"), opened(t)
	var all sync.WaitGroup
	for w := range 4 {
		all.Go(func() {
			for n := range 400 {
				round(n*4 + w)
			}
		})
	}
	all.Wait()
	for runtime.NumGoroutine() > goroutines { // or the test never ends
		runtime.Gosched()
	}
	if got := opened(t); got > files {
		t.Errorf("%d files are open, and were %d", got, files)
	}
	// Go's heap may have grown meanwhile.
	if got := count(t, "/proc/self/maps"); got > mappings+20 {
		t.Errorf("%d mappings, and were %d", got, mappings)
	}
	if e.Running() != 0 {
		t.Errorf("%d instances are left", e.Running())
	}
	whole(t, e.share, e.o.MaxParallel)
	m.Close()
	if err := e.Close(); err != nil {
		t.Error(err)
	}
}

// count is the number of lines of a file of the system's.
func count(t *testing.T, path string) int {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Skip(err)
	}
	return bytes.Count(b, []byte("\n"))
}

func opened(t *testing.T) int {
	t.Helper()
	all, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Skip(err)
	}
	return len(all)
}
