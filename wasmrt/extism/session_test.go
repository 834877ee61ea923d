package extism

import (
	"context"
	"path/filepath"
	"testing"

	"dhow.dev/dhow/wasmrt"
	"dhow.dev/dhow/wasmrt/wasmtest"
)

// A plugin that is closed before its output was taken has not succeeded.
func TestLostOutput(t *testing.T) {
	e, err := wasmrt.NewEngine(t.Context(), wasmrt.Options{CacheDir: wasmtest.CodeDir(t), Host: []wasmrt.HostModule{Module()}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = e.Close() })
	path, err := filepath.Abs("testdata/plugin.c")
	if err != nil {
		t.Fatal(err)
	}
	m, err := e.CompileFile(t.Context(), wasmtest.Reactor(t, path))
	if err != nil {
		t.Fatal(err)
	}
	h := New(Config{})
	for _, close := range []bool{false, true} {
		i, err := m.New(h.With(t.Context()), wasmrt.Config{})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = i.Close() })
		s := sessionOf(i)
		if err := s.begin(h, []byte("in"), false); err != nil {
			t.Fatal(err)
		}
		if _, err := i.Call(h.With(context.Background()), "echo"); err != nil {
			t.Fatal(err)
		}
		if close {
			_ = i.Close()
		}
		if out, _, err := s.finish(); (err != nil) != close || string(out) == "in" == close {
			t.Errorf("closed %v: got %q, %v", close, out, err)
		}
	}
}
