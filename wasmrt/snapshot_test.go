package wasmrt_test

import (
	"context"
	"path/filepath"
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
