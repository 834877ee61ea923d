package extism_test

import (
	"bytes"
	"context"
	"path/filepath"
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

func BenchmarkEcho(b *testing.B) {
	for _, guest := range []string{"plugin.c"} {
		b.Run(guest, func(b *testing.B) {
			h := extism.New(extism.Config{})
			i := plugin(b, module(b, guest), h)
			in := bytes.Repeat([]byte("abcdefgh"), 128)
			for b.Loop() {
				out, err := h.Call(context.Background(), i, "echo", in)
				if err != nil || len(out) != len(in) {
					b.Fatal(err)
				}
			}
		})
	}
}
