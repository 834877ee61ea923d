package wasmrt_test

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"

	"dhow.dev/dhow/wasmrt"
	"dhow.dev/dhow/wasmrt/wasmtest"
)

const states = "testdata/reactor/state"

// reactor compiles a guest that is called, not run.
func reactor(tb testing.TB, e *wasmrt.Engine, source string) *wasmrt.Module {
	tb.Helper()
	path, err := filepath.Abs(source)
	if err != nil {
		tb.Fatal(err)
	}
	m, err := e.CompileFile(context.Background(), wasmtest.Reactor(tb, path))
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(m.Close)
	return m
}

func call(tb testing.TB, i *wasmrt.Instance, name string, args ...uint64) int64 {
	tb.Helper()
	r, err := i.Call(context.Background(), name, args...)
	if err != nil {
		tb.Fatalf("%s: %v", name, err)
	}
	return int64(r[0]) //nolint:gosec // an i64
}

func snapshot(tb testing.TB, m *wasmrt.Module, warm ...func(context.Context, *wasmrt.Instance) error) *wasmrt.Snapshot {
	tb.Helper()
	s, err := m.Snapshot(context.Background(), wasmrt.Config{}, warm...)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(s.Close)
	if shared, why := s.Shared(); !shared {
		tb.Fatal("not shared: ", why)
	}
	return s
}

func clone(tb testing.TB, s *wasmrt.Snapshot) *wasmrt.Instance {
	tb.Helper()
	i, err := s.New(context.Background(), wasmrt.Config{})
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { _ = i.Close() })
	return i
}

// TestSnapshotOfLanguages: copies have what initialisation made, and what one
// does no other sees.
func TestSnapshotOfLanguages(t *testing.T) {
	e := newEngine(t, wasmrt.Options{CacheDir: wasmtest.CodeDir(t)})
	for _, language := range []string{".go", ".c", ".rs"} {
		t.Run(language, func(t *testing.T) {
			m := reactor(t, e, states+language)
			plain, err := m.New(t.Context(), wasmrt.Config{})
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = plain.Close() }()
			s := snapshot(t, m)
			a, b := clone(t, s), clone(t, s)
			for n := range uint64(3) {
				want := call(t, plain, "add", n+1)
				if got := call(t, a, "add", n+1); got != want {
					t.Errorf("it counts %d instead of %d", got, want)
				}
			}
			if got := call(t, b, "add", 1); got != 1 {
				t.Errorf("a copy has counted to %d before", got)
			}
			for _, n := range []uint64{0, 7, 999, 1 << 40} {
				want := call(t, plain, "word", n)
				if got := call(t, a, "word", n); got != want {
					t.Errorf("word %d is %d instead of %d", n, got, want)
				}
			}
		})
	}
}

// TestCopiesDrawOtherRandomNumbers: with Go's generators, and those of guests
// that export the hook.
func TestCopiesDrawOtherRandomNumbers(t *testing.T) {
	e := newEngine(t, wasmrt.Options{CacheDir: wasmtest.CodeDir(t)})
	for language, functions := range map[string][]string{".go": {"random", "seed"}, ".c": {"random"}} {
		m := reactor(t, e, states+language)
		// Some numbers were drawn before, as a warmed guest does.
		s := snapshot(t, m, func(ctx context.Context, i *wasmrt.Instance) error {
			for range 20 {
				if _, err := i.Call(ctx, "random"); err != nil {
					return err
				}
			}
			return nil
		})
		for _, f := range functions {
			seen := map[int64]bool{}
			for range 5 {
				i := clone(t, s)
				for range 50 {
					n := call(t, i, f)
					if seen[n] {
						t.Fatalf("%s: %s gave %d twice", language, f, n)
					}
					seen[n] = true
				}
			}
		}
	}
}

// TestSnapshotIsWarm: what warm did, copies have.
func TestSnapshotIsWarm(t *testing.T) {
	e := newEngine(t, wasmrt.Options{CacheDir: wasmtest.CodeDir(t)})
	m := reactor(t, e, states+".c")
	s := snapshot(t, m, func(ctx context.Context, i *wasmrt.Instance) error {
		_, err := i.Call(ctx, "add", 41)
		return err
	})
	if got := call(t, clone(t, s), "add", 1); got != 42 {
		t.Errorf("it counts from %d", got)
	}
	failed := errors.New("it is cold")
	_, err := m.Snapshot(t.Context(), wasmrt.Config{}, func(context.Context, *wasmrt.Instance) error { return failed })
	if !errors.Is(err, failed) {
		t.Errorf("a warm-up that failed: %v", err)
	}
}

// TestSnapshotInitialisesOnce: a guest says what it says once, though Go's are
// initialised twice; and copies say nothing.
func TestSnapshotInitialisesOnce(t *testing.T) {
	e := newEngine(t, wasmrt.Options{CacheDir: wasmtest.CodeDir(t)})
	m := reactor(t, e, states+".go")
	var stderr bytes.Buffer
	c := wasmrt.Config{Stderr: &stderr}
	s, err := m.Snapshot(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	i, err := s.New(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = i.Close() }()
	if got := stderr.String(); got != "initialised\n" {
		t.Errorf("it said %q", got)
	}
}

// TestCopiesGrowAndFailAlone: a copy may grow up to its own limit, and its end
// is its own.
func TestCopiesGrowAndFailAlone(t *testing.T) {
	e := newEngine(t, wasmrt.Options{CacheDir: wasmtest.CodeDir(t)})
	m := reactor(t, e, states+".c")
	s := snapshot(t, m)
	small, err := s.New(t.Context(), wasmrt.Config{Limits: wasmrt.Limits{Memory: 1 << 20}})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = small.Close() }()
	const large = 50 << 20 // more than the room, so that it moves
	if got := call(t, small, "grow", large); got != 0 {
		t.Errorf("past its limit it got %d", got)
	}
	other := clone(t, s)
	call(t, other, "add", 5)
	if got := call(t, other, "grow", large); got != large {
		t.Errorf("it got %d", got)
	}
	if a, b := call(t, other, "add", 1), call(t, other, "word", 7); a != 6 || b != call(t, small, "word", 7) {
		t.Errorf("after it grew: %d, %d", a, b)
	}
	if _, err := small.Call(t.Context(), "fail"); err == nil {
		t.Error("it did not fail")
	}
	if got := call(t, other, "add", 1); got != 7 {
		t.Errorf("after another's end: %d", got)
	}
	if _, err := s.New(t.Context(), wasmrt.Config{Limits: wasmrt.Limits{Memory: 64 << 10}}); reason(err) != wasmrt.ReasonMemoryLimit {
		t.Errorf("with less memory than it has: %v", err)
	}
}

// TestSnapshotThatCannotBeShared works, and says why it does not share.
func TestSnapshotThatCannotBeShared(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "file"), []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	e := newEngine(t, wasmrt.Options{CacheDir: wasmtest.CodeDir(t)})
	m := reactor(t, e, states+".go")
	c := wasmrt.Config{Mounts: []wasmrt.Mount{{Host: dir, Guest: "/data"}}}
	s, err := m.Snapshot(t.Context(), c, func(ctx context.Context, i *wasmrt.Instance) error {
		_, err := i.Call(ctx, "open")
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if shared, why := s.Shared(); shared || reason(why) != wasmrt.ReasonCannotCopy || !strings.Contains(why.Error(), "an open file") {
		t.Errorf("shared: %v, %v", shared, why)
	}
	i, err := s.New(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = i.Close() }()
	if got := call(t, i, "add", 1); got != 1 {
		t.Errorf("it counts %d", got)
	}
}

// TestSnapshotCloses: copies live on, and no new ones are made.
func TestSnapshotCloses(t *testing.T) {
	e := newEngine(t, wasmrt.Options{CacheDir: wasmtest.CodeDir(t)})
	s := snapshot(t, reactor(t, e, states+".rs"))
	i := clone(t, s)
	s.Close()
	s.Close()
	if got := call(t, i, "word", 5); got != 5 {
		t.Errorf("a copy has %d", got)
	}
	if _, err := s.New(t.Context(), wasmrt.Config{}); reason(err) != wasmrt.ReasonClosed {
		t.Errorf("a new one: %v", err)
	}
}

// TestCopiesLeaveNothing: made, called and closed by many at once, they leave
// no instance, mapping, file or goroutine.
func TestCopiesLeaveNothing(t *testing.T) {
	number := 10_000
	if testing.Short() {
		number = 500
	}
	e := newEngine(t, wasmrt.Options{CacheDir: wasmtest.CodeDir(t)})
	s := snapshot(t, reactor(t, e, states+".c"))
	round := func(n int) {
		var users sync.WaitGroup
		for range 4 {
			users.Go(func() {
				for k := range n / 4 {
					i, err := s.New(context.Background(), wasmrt.Config{})
					if err != nil {
						t.Error(err)
						return
					}
					if k%3 == 0 {
						_, _ = i.Call(context.Background(), "fail")
					} else if r, err := i.Call(context.Background(), "add", 1); err != nil || r[0] != 1 {
						t.Error(r, err)
					}
					_ = i.Close()
				}
			})
		}
		users.Wait()
	}
	round(100)
	before := holdings(t)
	round(number)
	if after := holdings(t); after.areas > before.areas+20 || after.files > before.files || after.goroutines > before.goroutines {
		t.Errorf("before %+v, after %+v", before, after)
	}
	if n := e.Running(); n != 0 {
		t.Errorf("%d instances are left", n)
	}
}

type held struct{ areas, files, goroutines int }

func holdings(t *testing.T) held {
	t.Helper()
	maps, err := os.ReadFile("/proc/self/maps")
	if err != nil {
		t.Skip(err)
	}
	files, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Skip(err)
	}
	return held{bytes.Count(maps, []byte("\n")), len(files), runtime.NumGoroutine()}
}

// TestPoolOfCopies: those that fail are replaced, those that live are used
// again, and with one use each none has another's state.
func TestPoolOfCopies(t *testing.T) {
	e := newEngine(t, wasmrt.Options{CacheDir: wasmtest.CodeDir(t)})
	s := snapshot(t, reactor(t, e, states+".c"))
	make := func(ctx context.Context) (*wasmrt.Instance, error) { return s.New(ctx, wasmrt.Config{}) }
	count := func(p *wasmrt.Pool) (n int64) {
		err := p.Do(t.Context(), func(ctx context.Context, i *wasmrt.Instance) error {
			r, err := i.Call(ctx, "add", 1)
			if err == nil {
				n = int64(r[0]) //nolint:gosec // an i64
			}
			return err
		})
		if err != nil {
			t.Error(err)
		}
		return n
	}
	reused, fresh := wasmrt.NewPool(wasmrt.PoolConfig{New: make, Max: 1}), wasmrt.NewPool(wasmrt.PoolConfig{New: make, Max: 1, MaxUses: 1})
	for n := range int64(3) {
		if got := count(reused); got != n+1 {
			t.Errorf("it counts %d", got)
		}
		if got := count(fresh); got != 1 {
			t.Errorf("a fresh one counts %d", got)
		}
	}
	err := reused.Do(t.Context(), func(ctx context.Context, i *wasmrt.Instance) error {
		_, err := i.Call(ctx, "fail")
		return err
	})
	if _, ok := errors.AsType[*wasmrt.ExitError](err); !ok {
		t.Errorf("it failed with %v", err)
	}
	if got := count(reused); got != 1 {
		t.Errorf("after a failure it counts %d", got)
	}
	if st := reused.Stats(); st.Made != 2 || st.Replaced != 1 || st.Idle != 1 {
		t.Errorf("%+v", st)
	}
	reused.Close()
	fresh.Close()
	if n := e.Running(); n != 0 {
		t.Errorf("%d instances are left", n)
	}
}
