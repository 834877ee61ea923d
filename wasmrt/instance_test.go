package wasmrt_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"testing"
	"time"

	"dhow.dev/dhow/wasmrt"
	"dhow.dev/dhow/wasmrt/wasmtest"
)

// Sources of the same guest in three languages.
var probes = []string{"go/probe.go", "c/probe.c", "rust/probe.rs"}

func newEngine(tb testing.TB, o wasmrt.Options) *wasmrt.Engine {
	tb.Helper()
	e, err := wasmrt.NewEngine(tb.Context(), o)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		if err := e.Close(); err != nil {
			tb.Error(err)
		}
	})
	return e
}

func load(tb testing.TB, e *wasmrt.Engine, source string) *wasmrt.Module {
	tb.Helper()
	m, err := e.CompileFile(tb.Context(), wasmtest.Guest(tb, source))
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(m.Close)
	return m
}

// eachProbe runs a test on the guest in each language, on one engine.
func eachProbe(t *testing.T, f func(t *testing.T, m *wasmrt.Module)) {
	t.Helper()
	e := newEngine(t, wasmrt.Options{CacheDir: wasmtest.CodeDir(t)})
	for _, source := range probes {
		m := load(t, e, source)
		t.Run(strings.TrimSuffix(source, "/probe"), func(t *testing.T) { f(t, m) })
	}
}

// run runs the guest with what to do, and returns its output.
func run(t *testing.T, m *wasmrt.Module, c wasmrt.Config, args ...string) (wasmrt.Exit, string, string) {
	t.Helper()
	var stdout, stderr bytes.Buffer
	c.Args = append([]string{"probe"}, args...)
	c.Stdout, c.Stderr = &stdout, &stderr
	exit, err := m.Run(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	return exit, stdout.String(), stderr.String()
}

func TestCommand(t *testing.T) {
	eachProbe(t, func(t *testing.T, m *wasmrt.Module) {
		for _, c := range []struct {
			name, out, err string
			config         wasmrt.Config
			args           []string
			code           uint32
		}{
			{name: "nothing"},
			{name: "args", args: []string{"args", "a b", "", "ü"}, out: "probe\nargs\na b\n\nü\n"},
			{name: "env", args: []string{"env", "NAME"}, config: wasmrt.Config{Env: []string{"A=1", "NAME=with = and space"}}, out: "with = and space\n"},
			{name: "stdin", args: []string{"cat"}, config: wasmrt.Config{Stdin: strings.NewReader("one\ntwo")}, out: "one\ntwo"},
			{name: "slow stdin", args: []string{"cat"}, config: wasmrt.Config{Stdin: io.MultiReader(strings.NewReader("one\n"), strings.NewReader("two"))}, out: "one\ntwo"},
			{name: "no stdin", args: []string{"cat"}},
			{name: "stderr", args: []string{"err", "problem"}, err: "problem\n"},
			{name: "exit 0", args: []string{"exit", "0"}},
			{name: "exit 42", args: []string{"exit", "42"}, code: 42},
			{name: "exit 255", args: []string{"exit", "255"}, code: 255},
		} {
			exit, stdout, stderr := run(t, m, c.config, c.args...)
			if want := (wasmrt.Exit{Code: c.code, Reason: wasmrt.ExitedReason}); exit != want {
				t.Errorf("%s: exit is %+v, want %+v", c.name, exit, want)
			}
			if stdout != c.out || stderr != c.err {
				t.Errorf("%s: wrote %q and %q, want %q and %q", c.name, stdout, stderr, c.out, c.err)
			}
		}
	})
}

func TestClocksAndRandomness(t *testing.T) {
	eachProbe(t, func(t *testing.T, m *wasmrt.Module) {
		before := time.Now().Unix()
		_, out, _ := run(t, m, wasmrt.Config{}, "clock")
		if got, err := strconv.ParseInt(strings.TrimSpace(out), 10, 64); err != nil || got < before || got > time.Now().Unix() {
			t.Errorf("the guest's clock says %q, the host's %d", out, before)
		}
		_, a, _ := run(t, m, wasmrt.Config{}, "random")
		_, b, _ := run(t, m, wasmrt.Config{}, "random")
		if len(a) != 33 || a == b {
			t.Errorf("random bytes are %q and %q", a, b)
		}
		_, out, _ = run(t, m, wasmrt.Config{}, "sleep", "20")
		fields := strings.Fields(out)
		if ms, err := strconv.Atoi(fields[len(fields)-1]); err != nil || ms < 20 {
			t.Errorf("a sleep of 20 ms took %q", out)
		}
	})
}

// TestPoll covers what wazero's own poll_oneoff cannot.
func TestPoll(t *testing.T) {
	e := newEngine(t, wasmrt.Options{CacheDir: wasmtest.CodeDir(t)})
	m := load(t, e, "c/probe.c")
	if _, out, _ := run(t, m, wasmrt.Config{}, "sleep-until"); out != "0 0 early=0\n" {
		t.Errorf("absolute sleeps: %q", out)
	}
	silent, w := io.Pipe()
	t.Cleanup(func() { w.Close() })
	if _, out, _ := run(t, m, wasmrt.Config{Stdin: silent}, "poll", "1"); out != "0 in=0 out=0\n" {
		t.Errorf("silent input: %q", out)
	}
	if _, out, _ := run(t, m, wasmrt.Config{Stdin: strings.NewReader("x")}, "poll", "1"); out != "1 in=1 out=0\n" {
		t.Errorf("input there: %q", out)
	}
	if _, out, _ := run(t, m, wasmrt.Config{Stdin: silent}, "poll", "2"); out != "1 in=0 out=1\n" {
		t.Errorf("output beside silent input: %q", out)
	}
	r, w2 := io.Pipe()
	go func() { _, _ = w2.Write([]byte("late")); w2.Close() }()
	if _, out, _ := run(t, m, wasmrt.Config{Stdin: r}, "cat"); out != "late" {
		t.Errorf("late input: %q", out)
	}
}

func TestTrapTellsTheGuestsStack(t *testing.T) {
	eachProbe(t, func(t *testing.T, m *wasmrt.Module) {
		exit, _, stderr := run(t, m, wasmrt.Config{}, "trap")
		if strings.Contains(stderr, "goroutine") { // Go turns traps into a panic and exit code 2.
			if exit.Code != 2 || exit.Reason != wasmrt.ExitedReason {
				t.Errorf("exit is %+v", exit)
			}
			return
		}
		if exit.Code != wasmrt.TrappedCode || exit.Reason != wasmrt.TrappedReason || !strings.Contains(exit.Message, "unreachable") || !strings.Contains(exit.Message, "_start") {
			t.Errorf("exit is %+v", exit)
		}
	})
}

func TestDeepRecursionEnds(t *testing.T) {
	e := newEngine(t, wasmrt.Options{CacheDir: wasmtest.CodeDir(t)})
	m := load(t, e, "c/probe.c")
	exit, _, _ := run(t, m, wasmrt.Config{}, "recurse")
	if exit.Reason != wasmrt.TrappedReason {
		t.Errorf("exit is %+v", exit)
	}
}

func TestMemoryLimit(t *testing.T) {
	const limit = 16 << 20
	eachProbe(t, func(t *testing.T, m *wasmrt.Module) {
		exit, out, _ := run(t, m, wasmrt.Config{Limits: wasmrt.Limits{Memory: limit}}, "grow")
		if exit.Reason != wasmrt.OutOfMemoryReason || exit.Code == 0 || !strings.Contains(exit.Message, strconv.Itoa(limit)) {
			t.Errorf("exit is %+v", exit)
		}
		if n := strings.Count(out, "\n"); n == 0 || n >= 16 {
			t.Errorf("got %d MiB of %d bytes", n, limit)
		}
		_, err := m.Start(t.Context(), wasmrt.Config{Limits: wasmrt.Limits{Memory: 64 << 10}})
		if e, ok := errors.AsType[*wasmrt.Error](err); !ok || e.Reason != wasmrt.ReasonMemoryLimit || !e.Permanent() {
			t.Errorf("a limit below the module's minimum gives %v", err)
		}
	})
}

// lineWriter says when the guest has written.
type lineWriter struct{ wrote chan struct{} }

func (w lineWriter) Write(p []byte) (int, error) {
	select {
	case w.wrote <- struct{}{}:
	default:
	}
	return len(p), nil
}

// TestStop interrupts guests in a tight loop, in sleep, and in a blocked read.
func TestStop(t *testing.T) {
	eachProbe(t, func(t *testing.T, m *wasmrt.Module) {
		for _, args := range [][]string{{"spin"}, {"sleep", "3600000"}} {
			w := lineWriter{make(chan struct{}, 1)}
			i, err := m.Start(t.Context(), wasmrt.Config{Args: append([]string{"probe"}, args...), Stdout: w})
			if err != nil {
				t.Fatal(err)
			}
			<-w.wrote
			if i.Memory() == 0 {
				t.Errorf("%s: a running guest has no memory", args[0])
			}
			i.Stop()
			i.Stop()
			if got := i.Wait(); got.Reason != wasmrt.StoppedReason || got.Code != wasmrt.StoppedCode {
				t.Errorf("%s: exit is %+v", args[0], got)
			}
			if i.Memory() != 0 {
				t.Errorf("%s: an ended guest holds %d bytes", args[0], i.Memory())
			}
		}
		r, w := io.Pipe()
		reading := &readSignal{Reader: r, reading: make(chan struct{}, 8)}
		i, err := m.Start(t.Context(), wasmrt.Config{Args: []string{"probe", "cat"}, Stdin: reading})
		if err != nil {
			t.Fatal(err)
		}
		<-reading.reading
		i.Stop()
		if got := i.Wait(); got.Reason != wasmrt.StoppedReason {
			t.Errorf("cat: exit is %+v", got)
		}
		w.Close()
	})
}

type readSignal struct {
	io.Reader
	reading chan struct{}
}

func (r *readSignal) Read(p []byte) (int, error) {
	r.reading <- struct{}{}
	return r.Reader.Read(p)
}

func TestStopByContext(t *testing.T) {
	e := newEngine(t, wasmrt.Options{CacheDir: wasmtest.CodeDir(t)})
	m := load(t, e, "c/probe.c")
	ctx, cancel := context.WithCancel(t.Context())
	w := lineWriter{make(chan struct{}, 1)}
	i, err := m.Start(ctx, wasmrt.Config{Args: []string{"probe", "spin"}, Stdout: w})
	if err != nil {
		t.Fatal(err)
	}
	<-w.wrote
	cancel()
	if got := i.Wait(); got.Reason != wasmrt.StoppedReason {
		t.Errorf("exit is %+v", got)
	}
}

// TestSleepIsNotBusy: a sleeping guest's busy time stands still.
func TestSleepIsNotBusy(t *testing.T) {
	now := make(chan time.Time, 1)
	base := time.Now()
	now <- base
	e := newEngine(t, wasmrt.Options{CacheDir: wasmtest.CodeDir(t), Now: func() time.Time { n := <-now; now <- n; return n }})
	m := load(t, e, "c/probe.c")
	r, in := io.Pipe()
	reading := &readSignal{Reader: r, reading: make(chan struct{}, 8)}
	i, err := m.Start(t.Context(), wasmrt.Config{Args: []string{"probe", "cat"}, Stdin: reading})
	if err != nil {
		t.Fatal(err)
	}
	<-reading.reading
	for i.Busy() != 0 { // it reads, but may not wait yet
	}
	<-now
	now <- base.Add(time.Hour)
	_ = in.Close()
	i.Wait()
	if got := i.Busy(); got >= time.Hour {
		t.Errorf("an hour of waiting counts as %v", got)
	}
}

func TestManyAtOnce(t *testing.T) {
	eachProbe(t, func(t *testing.T, m *wasmrt.Module) {
		const n = 50
		results := make(chan error, n)
		for k := range n {
			go func() {
				var out bytes.Buffer
				_, err := m.Run(t.Context(), wasmrt.Config{Args: []string{"probe", "env", "N"}, Env: []string{fmt.Sprint("N=", k)}, Stdout: &out})
				if err == nil && out.String() != fmt.Sprintln(k) {
					err = fmt.Errorf("instance %d wrote %q", k, out.String())
				}
				results <- err
			}()
		}
		for range n {
			if err := <-results; err != nil {
				t.Error(err)
			}
		}
	})
}

func TestBadConfig(t *testing.T) {
	e := newEngine(t, wasmrt.Options{CacheDir: wasmtest.CodeDir(t)})
	m := load(t, e, "c/probe.c")
	for name, c := range map[string]wasmrt.Config{
		"NUL in an argument": {Args: []string{"a\x00b"}},
		"NUL in a variable":  {Env: []string{"A=a\x00b"}},
	} {
		_, err := m.Run(t.Context(), c)
		if e, ok := errors.AsType[*wasmrt.Error](err); !ok || e.Reason != wasmrt.ReasonBadConfig {
			t.Errorf("%s: %v", name, err)
		}
	}
	if e.Running() != 0 {
		t.Errorf("%d instances left", e.Running())
	}
}
