package hostile_test

import (
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"testing"
	"time"

	"dhow.dev/dhow/wasmrt"
	"dhow.dev/dhow/wasmrt/wasmtest"
)

// endless is how long those get that would never end.
const endless = 50 * time.Millisecond

// guest is one that means harm, and how it has to end.
type guest struct {
	name   string
	reason string        // of its Exit
	notice string        // that its owner gets; "" for none
	limits wasmrt.Limits // Timeout is endless where it is 0
}

func guests() []guest {
	const (
		timedOut = wasmrt.TimedOutReason
		trapped  = wasmrt.TrappedReason
		stack    = wasmrt.StackReason
	)
	small := wasmrt.Limits{Memory: 16 << 20, Tables: 100_000, Timeout: time.Minute}
	return []guest{
		{name: "spin", reason: timedOut},
		{name: "doubling", reason: timedOut},
		{name: "chain", reason: timedOut},
		{name: "tail", reason: timedOut},
		{name: "tail-indirect", reason: timedOut},
		{name: "deep", reason: stack, limits: wasmrt.Limits{Timeout: time.Minute}},
		{name: "deep-indirect", reason: stack, limits: wasmrt.Limits{Timeout: time.Minute}},
		{name: "deep-wide", reason: stack, limits: wasmrt.Limits{Timeout: time.Minute}},
		{name: "memory", reason: wasmrt.OutOfMemoryReason, notice: wasmrt.NoticeMemoryLimit, limits: small},
		{name: "memory-huge", reason: timedOut, notice: wasmrt.NoticeMemoryLimit, limits: wasmrt.Limits{Memory: 16 << 20}},
		{name: "table", reason: trapped, notice: wasmrt.NoticeTableLimit, limits: small},
		{name: "table-huge", reason: timedOut, notice: wasmrt.NoticeTableLimit},
		{name: "table-fill", reason: timedOut},
		{name: "fill", reason: timedOut},
		{name: "copy", reason: timedOut},
		{name: "start-loop", reason: timedOut},
		{name: "start-trap", reason: trapped},
		{name: "outside", reason: trapped},
		{name: "wrong-function", reason: trapped},
		{name: "pointers", reason: trapped, limits: small},
		{name: "poll", reason: timedOut},
		{name: "poll-wait", reason: timedOut},
		{name: "poll-many", reason: timedOut},
		{name: "log", reason: timedOut},
		{name: "write-bomb", reason: timedOut},
		{name: "random", reason: timedOut},
		{name: "yield", reason: timedOut},
		{name: "clock", reason: timedOut},
	}
}

// engines are the ways to run guests: all promises hold for each.
func engines() map[string]wasmrt.Options {
	return map[string]wasmrt.Options{"compiler": {}, "interpreter": {Interpret: true}}
}

func newEngine(t *testing.T, o wasmrt.Options) *wasmrt.Engine {
	t.Helper()
	e, err := wasmrt.NewEngine(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := e.Close(); err != nil {
			t.Error(err)
		}
	})
	return e
}

func module(t *testing.T, name string) []byte {
	t.Helper()
	source, err := filepath.Abs(filepath.Join("guests", name+".wat"))
	if err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(wasmtest.Build(t, source))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func compile(t *testing.T, e *wasmrt.Engine, name string) *wasmrt.Module {
	t.Helper()
	m, err := e.Compile(t.Context(), module(t, name))
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	t.Cleanup(m.Close)
	return m
}

// run is the guest's end, and the notices on its way.
func (g guest) run(ctx context.Context, m *wasmrt.Module) (wasmrt.Exit, []string, error) {
	limits := g.limits
	if limits.Timeout == 0 {
		limits.Timeout = endless
	}
	var notices []string
	exit, err := m.Run(ctx, wasmrt.Config{
		Limits: limits, Stdout: io.Discard, Stderr: io.Discard,
		Notify: func(n wasmrt.Notice) { notices = append(notices, n.Reason) },
	})
	if ended := (*wasmrt.ExitError)(nil); errors.As(err, &ended) {
		return ended.Exit, notices, nil // in its start function
	}
	return exit, notices, err
}

// TestGuests runs each that means harm next to a neighbour, whose call while the
// guest runs is answered as ever.
func TestGuests(t *testing.T) {
	for kind, o := range engines() {
		t.Run(kind, func(t *testing.T) {
			e := newEngine(t, o)
			neighbour, err := compile(t, e, "neighbour").New(t.Context(), wasmrt.Config{})
			if err != nil {
				t.Fatal(err)
			}
			calls := uint64(0)
			for _, g := range guests() {
				t.Run(g.name, func(t *testing.T) {
					m := compile(t, e, g.name)
					before := e.Running()
					done := make(chan struct{})
					go func() {
						defer close(done)
						g.expect(t, m)
					}()
					for ended := false; !ended; {
						select {
						case <-done:
							ended = true
						default:
						}
						calls++
						if got, err := neighbour.Call(t.Context(), "next"); err != nil || got[0] != calls {
							t.Fatalf("the neighbour answered %v, %v; it was called %d times", got, err, calls)
						}
					}
					if now := e.Running(); now != before {
						t.Errorf("%d instances run, and %d did before", now, before)
					}
				})
			}
		})
	}
}

// expect runs the guest to its end.
func (g guest) expect(t *testing.T, m *wasmrt.Module) {
	exit, notices, err := g.run(t.Context(), m)
	switch {
	case err != nil:
		t.Errorf("it did not run: %v", err)
	case exit.Reason != g.reason:
		t.Errorf("it ended: %s, %s; it should have ended: %s", exit.Reason, exit.Message, g.reason)
	case exit.Code == 0:
		t.Error("it ended with code 0, as if all was well")
	case g.notice != "" && (len(notices) != 1 || notices[0] != g.notice):
		t.Errorf("its owner was told %v, and should have been told %s once", notices, g.notice)
	}
}

// TestStop stops each that would not end by itself, many times at many moments.
func TestStop(t *testing.T) {
	e := newEngine(t, wasmrt.Options{})
	for _, g := range guests() {
		if g.reason != wasmrt.TimedOutReason || g.name == "start-loop" {
			continue
		}
		t.Run(g.name, func(t *testing.T) {
			m := compile(t, e, g.name)
			for n := range 5 {
				i, err := m.Start(t.Context(), wasmrt.Config{Limits: g.limits, Stdout: io.Discard, Stderr: io.Discard})
				if err != nil {
					t.Fatal(err)
				}
				if n%2 == 1 { // it computes by now
					for i.Usage().CPU == 0 {
					}
				}
				i.Stop()
				<-i.Done()
				if exit := i.Wait(); exit.Reason != wasmrt.StoppedReason {
					t.Errorf("it ended: %s, %s", exit.Reason, exit.Message)
				}
			}
		})
	}
}
