package hostile_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"dhow.dev/dhow/wasmrt"
)

// left is what a process has that guests could have left in it.
type left struct{ goroutines, mappings, files int }

func count(t *testing.T) left {
	t.Helper()
	maps, err := os.ReadFile("/proc/self/maps")
	if err != nil {
		t.Skip("no /proc here:", err)
	}
	files, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return left{runtime.NumGoroutine(), bytes.Count(maps, []byte("\n")), len(files)}
}

// TestNothingIsLeft has 10,000 instances of all kinds end, each in its own bad
// way: no goroutine, no mapping and no file stays, be it with the engine open.
func TestNothingIsLeft(t *testing.T) {
	const warm, all, at = 200, 10_000, 8
	e := newEngine(t, wasmrt.Options{})
	var quick []guest // and of the endless ones those that hold little
	for _, g := range guests() {
		switch g.name {
		case "fill", "copy", "random", "deep-wide", "poll-many", "write-bomb", "table-fill", "table", "table-huge", "memory":
			continue
		}
		if g.limits.Timeout == 0 {
			g.limits.Timeout = time.Millisecond
		}
		g.limits.Stack = 64 << 10
		quick = append(quick, g)
	}
	modules := make([]*wasmrt.Module, len(quick))
	for n, g := range quick {
		modules[n] = compile(t, e, g.name)
	}
	run := func(from, to int) {
		var wg sync.WaitGroup
		for w := range at {
			wg.Go(func() {
				for n := from + w; n < to; n += at {
					g := quick[n%len(quick)]
					_, _, err := g.run(t.Context(), modules[n%len(quick)])
					if err != nil && !errors.Is(err, context.DeadlineExceeded) { // over before it began
						t.Errorf("%s: %v", g.name, err)
					}
				}
			})
		}
		wg.Wait()
	}
	run(0, warm) // the runtime's own threads and arenas
	before := count(t)
	run(warm, warm+all)
	if n := e.Running(); n != 0 {
		t.Errorf("%d instances run", n)
	}
	// What waits for a guest's end may take a moment longer than the guest.
	for runtime.NumGoroutine() > before.goroutines { // or the test never ends
		runtime.Gosched()
	}
	runtime.GC()
	after := count(t)
	const arenas = 64 // the Go runtime maps some as it likes
	if after.mappings > before.mappings+arenas || after.files > before.files {
		t.Errorf("after %d instances: %+v, before them: %+v", all, after, before)
	}
}

// TestBadStartsLeaveNothing is the same for instances that never came to be.
func TestBadStartsLeaveNothing(t *testing.T) {
	e := newEngine(t, wasmrt.Options{})
	var modules []*wasmrt.Module
	for _, name := range []string{"init-trap", "start-trap", "data-outside"} {
		modules = append(modules, compile(t, e, name))
	}
	run := func(times int) {
		for n := range times {
			if i, err := modules[n%len(modules)].New(t.Context(), wasmrt.Config{}); err == nil {
				t.Fatalf("%v was made", i)
			}
		}
	}
	run(100)
	before := count(t)
	run(3000)
	if n := e.Running(); n != 0 {
		t.Errorf("%d instances run", n)
	}
	runtime.GC()
	if after := count(t); after.goroutines > before.goroutines || after.files > before.files || after.mappings > before.mappings+64 {
		t.Errorf("after: %+v, before: %+v", after, before)
	}
}

// slow is a writer that never takes what it is given, until it is closed.
type slow struct{ closed chan struct{} }

func (s slow) Write([]byte) (int, error) {
	<-s.closed
	return 0, io.ErrClosedPipe
}

// TestBlockedWriter has guests log to who does not listen: others run as many
// as there are places on the CPU, and more.
func TestBlockedWriter(t *testing.T) {
	e := newEngine(t, wasmrt.Options{MaxParallel: 1})
	stuck := slow{make(chan struct{})}
	m := compile(t, e, "log")
	var loggers []*wasmrt.Instance
	for range 4 {
		i, err := m.Start(t.Context(), wasmrt.Config{Stdout: stuck, Stderr: stuck})
		if err != nil {
			t.Fatal(err)
		}
		loggers = append(loggers, i)
	}
	neighbour, err := compile(t, e, "neighbour").New(t.Context(), wasmrt.Config{})
	if err != nil {
		t.Fatal(err)
	}
	for n := range uint64(1000) {
		if got, err := neighbour.Call(t.Context(), "next"); err != nil || got[0] != n+1 {
			t.Fatalf("the neighbour answered %v, %v to call %d", got, err, n+1)
		}
	}
	for _, i := range loggers {
		i.Stop()
	}
	close(stuck.closed)
	for _, i := range loggers {
		if exit := i.Wait(); exit.Reason != wasmrt.StoppedReason {
			t.Errorf("a logger ended: %s, %s", exit.Reason, exit.Message)
		}
	}
}

// bounded keeps the first bytes and takes the rest.
type bounded struct {
	mu   sync.Mutex
	text strings.Builder
	more int
}

func (b *bounded) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.text.Len() < 1000 {
		return b.text.Write(p)
	}
	b.more += len(p)
	return len(p), nil
}

// TestLogsWithoutEnd: a guest that logs all the time ends on time, and what it
// wrote is what it meant to.
func TestLogsWithoutEnd(t *testing.T) {
	e := newEngine(t, wasmrt.Options{})
	var out bounded
	exit, err := compile(t, e, "log").Run(t.Context(), wasmrt.Config{Stdout: &out, Limits: wasmrt.Limits{Timeout: endless}})
	if err != nil || exit.Reason != wasmrt.TimedOutReason {
		t.Fatalf("%+v, %v", exit, err)
	}
	if text := out.text.String(); out.more == 0 || strings.Trim(text, "helo, g\n") != "" {
		t.Errorf("it wrote %q and %d bytes more", text, out.more)
	}
}

// TestForkBomb has each call make two more through the host, each in an
// instance of its own. The pool bounds them, and who asks for one more is told
// so.
func TestForkBomb(t *testing.T) {
	const most = 8
	e := newEngine(t, wasmrt.Options{})
	var (
		pool    *wasmrt.Pool
		peak    int
		mu      sync.Mutex
		refused *wasmrt.Error
	)
	err := e.Provide(wasmrt.HostModule{Name: "bomb", Functions: []wasmrt.HostFunction{{
		Name: "fork", Blocks: true,
		Call: func(ctx context.Context, c wasmrt.Caller, _ []uint64) {
			mu.Lock()
			peak = max(peak, e.Running())
			mu.Unlock()
			err := pool.Do(ctx, func(ctx context.Context, i *wasmrt.Instance) error {
				_, err := i.Call(ctx, "boom")
				return err
			})
			if err != nil {
				c.Fail(err)
			}
		},
	}}})
	if err != nil {
		t.Fatal(err)
	}
	m := compile(t, e, "fork")
	pool = wasmrt.NewPool(wasmrt.PoolConfig{
		New: func(ctx context.Context) (*wasmrt.Instance, error) { return m.New(ctx, wasmrt.Config{}) },
		Max: most, Queue: -1,
	})
	defer pool.Close()
	err = pool.Do(t.Context(), func(ctx context.Context, i *wasmrt.Instance) error {
		_, err := i.Call(ctx, "boom")
		return err
	})
	if !errors.As(err, &refused) || refused.Reason != wasmrt.ReasonBusy {
		t.Errorf("the bomb ended with %v, and should have been refused an instance", err)
	}
	if peak > most {
		t.Errorf("%d instances ran, and the bound is %d", peak, most)
	}
	if n := e.Running(); n != 0 {
		t.Errorf("%d instances are left", n)
	}
}
