package extism_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"dhow.dev/dhow/wasmrt"
	"dhow.dev/dhow/wasmrt/extism"
	"dhow.dev/dhow/wasmrt/wasmtest"
)

func engine(tb testing.TB) *wasmrt.Engine {
	tb.Helper()
	e, err := wasmrt.NewEngine(tb.Context(), wasmrt.Options{
		CacheDir: wasmtest.CodeDir(tb), Host: []wasmrt.HostModule{extism.Module()},
	})
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { _ = e.Close() })
	return e
}

func module(tb testing.TB, source string) *wasmrt.Module {
	tb.Helper()
	path, err := filepath.Abs(filepath.Join("testdata", source))
	if err != nil {
		tb.Fatal(err)
	}
	m, err := engine(tb).CompileFile(tb.Context(), wasmtest.Reactor(tb, path))
	if err != nil {
		tb.Fatal(err)
	}
	return m
}

func plugin(tb testing.TB, m *wasmrt.Module, h *extism.Host) *wasmrt.Instance {
	tb.Helper()
	i, err := m.New(h.With(tb.Context()), wasmrt.Config{})
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { _ = i.Close() })
	return i
}

func TestEcho(t *testing.T) {
	h := extism.New(extism.Config{})
	i := plugin(t, module(t, "plugin.c"), h)
	for _, n := range []int{0, 1, 7, 8, 9, 1024, 100_003, 1 << 20} {
		in := bytes.Repeat([]byte("abcdefg"), n/7+1)[:n]
		out, err := h.Call(context.Background(), i, "echo", in)
		if err != nil || !bytes.Equal(out, in) {
			t.Fatalf("%d bytes: %v, %d bytes back", n, err, len(out))
		}
	}
}

// started is a plugin in C and the host that serves it.
func started(t *testing.T, c extism.Config) (call func(function, input string) (string, error), i *wasmrt.Instance) {
	t.Helper()
	h := extism.New(c)
	i = plugin(t, module(t, "plugin.c"), h)
	return func(function, input string) (string, error) {
		out, err := h.Call(t.Context(), i, function, []byte(input))
		return string(out), err
	}, i
}

func TestConfig(t *testing.T) {
	call, _ := started(t, extism.Config{Config: map[string]string{"greeting": "ahoy"}})
	if out, err := call("config", "greeting"); err != nil || out != "ahoy" {
		t.Errorf("got %q, %v", out, err)
	}
	_, err := call("config", "other")
	if f, ok := errors.AsType[*extism.Failure](err); !ok || f.Code != 7 || f.Ended != nil {
		t.Errorf("what is not configured: %v", err)
	}
}

func TestVars(t *testing.T) {
	vars := extism.NewVars(300)
	call, _ := started(t, extism.Config{Vars: vars})
	for n := byte(1); n < 4; n++ {
		if out, err := call("count", "a"); err != nil || out[0] != n {
			t.Fatalf("got %q, %v", out, err)
		}
	}
	if v, ok := vars.Get("a"); !ok || v[0] != 3 {
		t.Errorf("the variable is %q", v)
	}
	if _, err := call("forget", "a"); err != nil {
		t.Fatal(err)
	}
	if out, err := call("count", "a"); err != nil || out[0] != 1 {
		t.Errorf("after it was deleted: %q, %v", out, err)
	}
}

func TestVarsAreBounded(t *testing.T) {
	call, i := started(t, extism.Config{Vars: extism.NewVars(200)})
	for _, name := range []string{"a", "b", "b"} {
		if _, err := call("count", name); err != nil {
			t.Fatal(err)
		}
	}
	_, err := call("count", "c")
	f, ok := errors.AsType[*extism.Failure](err)
	if !ok || f.Ended == nil || !strings.Contains(err.Error(), "the variables are full") {
		t.Errorf("a third variable of 73 bytes among 200: %v", err)
	}
	<-i.Done()
}

// What is deleted or replaced makes room.
func TestVarsMakeRoom(t *testing.T) {
	v := extism.NewVars(200)
	for range 10 {
		for range 2 {
			if err := v.Set("name", make([]byte, 100)); err != nil {
				t.Fatal(err)
			}
		}
		v.Delete("name")
		v.Delete("name")
	}
	if err := v.Set("name", make([]byte, 200)); err == nil {
		t.Error("268 bytes among 200")
	}
	if err := extism.NewVars(-1).Set("", nil); err == nil {
		t.Error("a variable where none is allowed")
	}
}

func TestFailures(t *testing.T) {
	call, i := started(t, extism.Config{})
	for _, c := range []struct {
		function, input, message string
		code                     int32
	}{
		{"fail", "out of tea", "out of tea", 3},
		{"fail", "bad \xff byte", "bad \uFFFD byte", 3},
		{"fail_silently", "", "the plugin returned code 4", 4},
		{"error_but_zero", "", "odd", 0},
	} {
		_, err := call(c.function, c.input)
		f, ok := errors.AsType[*extism.Failure](err)
		if !ok || f.Code != c.code || f.Error() != c.message || f.Ended != nil {
			t.Errorf("%s: %#v", c.function, err)
		}
		if out, err := call("echo", "still here"); err != nil || out != "still here" {
			t.Errorf("after %s: %q, %v", c.function, out, err)
		}
	}
	_, err := call("no_such", "")
	if e, ok := errors.AsType[*wasmrt.Error](err); !ok || e.Reason != wasmrt.ReasonNoExport {
		t.Errorf("a function that is not there: %v", err)
	}
	_, err = call("trap", "")
	f, ok := errors.AsType[*extism.Failure](err)
	if !ok || f.Ended == nil || f.Ended.Exit.Reason != wasmrt.TrappedReason || f.Message != "about to trap" || f.Code != wasmrt.TrappedCode {
		t.Errorf("a trap: %#v", err)
	}
	<-i.Done()
	if _, err = call("echo", ""); err == nil {
		t.Error("a plugin that ended was called")
	}
}

func TestExit(t *testing.T) {
	for code := range int32(2) {
		call, i := started(t, extism.Config{})
		_, err := call("leave", string([]byte{byte(code)}))
		<-i.Done()
		f, ok := errors.AsType[*extism.Failure](err)
		if code == 0 && err != nil || code == 1 && (!ok || f.Code != 1 || f.Ended == nil) {
			t.Errorf("exit with code %d: %v", code, err)
		}
	}
}

func TestLog(t *testing.T) {
	var got []string
	c := extism.Config{LogLevel: extism.Info, Log: func(_ context.Context, l extism.Level, m string) { got = append(got, l.String()+" "+m) }}
	call, _ := started(t, c)
	_, err := call("logs", "hello")
	if f, _ := errors.AsType[*extism.Failure](err); f == nil || f.Code != int32(extism.Info) {
		t.Errorf("the level that the plugin sees: %v", err)
	}
	if want := []string{"info hello", "warn careful"}; !slices.Equal(got, want) {
		t.Errorf("logged %q", got)
	}
	got = nil
	c.LogLevel = extism.Warn
	call, _ = started(t, c)
	_, _ = call("logs", "hello")
	if want := []string{"warn careful"}; !slices.Equal(got, want) {
		t.Errorf("logged %q at level Warn", got)
	}
	call, _ = started(t, extism.Config{})
	_, err = call("logs", "hello")
	if f, _ := errors.AsType[*extism.Failure](err); f == nil || f.Code != int32(extism.Off) {
		t.Errorf("the level without a log: %v", err)
	}
}

func TestMemory(t *testing.T) {
	call, _ := started(t, extism.Config{MaxMemory: 1 << 20})
	if _, err := call("beyond", "12345678"); err != nil {
		t.Errorf("loads and stores beyond the end: %v", err)
	}
	out, err := call("blocks", "\x00\x04\x00\x00\x00\x00\x00\x00")
	if err != nil {
		t.Fatal(err)
	}
	if got := binary.LittleEndian.Uint64([]byte(out)); got < 900<<10 || got > 1<<20 {
		t.Errorf("got %d bytes of 1 MiB in blocks of 1 KiB", got)
	}
	if out, err = call("blocks", "\x01\x00\x00\x00\x00\x00\x00\x00"); err != nil {
		t.Fatal(err)
	}
	if got := binary.LittleEndian.Uint64([]byte(out)); got > 32<<10 {
		t.Errorf("got %d blocks of a byte: their records are not counted", got)
	}
	if _, err := call("free_input", "x"); err != nil {
		t.Errorf("an input that was freed is still there: %v", err)
	}
	if _, err := call("recycle", ""); err != nil {
		t.Errorf("allocating and freeing: %v", err)
	}
	if _, err := call("echo", strings.Repeat("x", 2<<20)); err == nil {
		t.Error("an input of 2 MiB in a memory of 1 MiB")
	}
	if out, err := call("echo", "small"); err != nil || out != "small" {
		t.Errorf("after an input too large: %q, %v", out, err)
	}
	if _, err := call("bad_output", ""); err == nil || !strings.Contains(err.Error(), "not in the Extism memory") {
		t.Errorf("an output that is not there: %v", err)
	}
	call, _ = started(t, extism.Config{Log: func(context.Context, extism.Level, string) {}})
	if _, err := call("bad_handle", "\x20\x00\x00\x00\x00\x00\x00\x00"); err == nil || !strings.Contains(err.Error(), "there is no block at 32") {
		t.Errorf("a handle that is none: %v", err)
	}
}

// What one call left is not there for the next.
func TestMemoryIsEmptied(t *testing.T) {
	call, _ := started(t, extism.Config{})
	if _, err := call("echo", strings.Repeat("secret", 1000)); err != nil {
		t.Fatal(err)
	}
	out, err := call("peek", "x")
	if err != nil || len(out) != 4096 || strings.Trim(out, "\x00") != "" {
		t.Errorf("a call finds %q of another's: %v", out, err)
	}
}

// A second call at a time is refused, and does no harm to the first.
func TestInstanceInUse(t *testing.T) {
	entered, leave := make(chan struct{}), make(chan struct{})
	h := extism.New(extism.Config{Log: func(context.Context, extism.Level, string) { close(entered); <-leave }})
	i := plugin(t, module(t, "plugin.c"), h)
	type result struct {
		out []byte
		err error
	}
	done := make(chan result)
	go func() {
		out, err := h.Call(context.Background(), i, "late", []byte("first"))
		done <- result{out, err}
	}()
	<-entered
	_, err := h.Call(t.Context(), i, "echo", []byte("second"))
	if e, ok := errors.AsType[*wasmrt.Error](err); !ok || e.Reason != wasmrt.ReasonInUse {
		t.Errorf("a second call at a time: %v", err)
	}
	close(leave)
	if first := <-done; first.err != nil || string(first.out) != "first" {
		t.Errorf("the first call: %q, %v", first.out, first.err)
	}
}

// A plugin runs in guests made by a snapshot and lent by a pool as in any other.
func TestSnapshotAndPool(t *testing.T) {
	h := extism.New(extism.Config{})
	s, err := module(t, "plugin.c").Snapshot(h.With(t.Context()), wasmrt.Config{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	pool := wasmrt.NewPool(wasmrt.PoolConfig{Max: 4, New: func(ctx context.Context) (*wasmrt.Instance, error) {
		return s.New(h.With(ctx), wasmrt.Config{})
	}})
	t.Cleanup(pool.Close)
	var wg sync.WaitGroup
	for n := range 40 {
		wg.Go(func() {
			in := fmt.Appendf(nil, "input %d", n)
			err := pool.Do(t.Context(), func(ctx context.Context, i *wasmrt.Instance) error {
				out, err := h.Call(ctx, i, "echo", in)
				if string(out) != string(in) {
					t.Errorf("got %q for %q", out, in)
				}
				return err
			})
			if err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
}

func TestWithoutHost(t *testing.T) {
	i, err := module(t, "plugin.c").New(t.Context(), wasmrt.Config{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = i.Close() })
	if _, err := i.Call(t.Context(), "fail", 0); err == nil {
		t.Error("a parameter too many")
	}
	_, err = i.Call(t.Context(), "logs")
	if err == nil || !strings.Contains(err.Error(), "no plugin that an extism.Host runs") {
		t.Errorf("a call that no Host made: %v", err)
	}
}
