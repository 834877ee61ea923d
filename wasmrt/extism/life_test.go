package extism_test

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"dhow.dev/dhow/wasmrt"
	"dhow.dev/dhow/wasmrt/extism"
	"dhow.dev/dhow/wasmrt/wasmtest"
)

// The instance's memory limit holds for the Extism memory too.
func TestMemoryLimit(t *testing.T) {
	h := extism.New(extism.Config{})
	i, err := module(t, "plugin.c").New(h.With(t.Context()), wasmrt.Config{Limits: wasmrt.Limits{Memory: 2 << 20}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = i.Close() })
	if _, err := h.Call(t.Context(), i, "echo", make([]byte, 3<<20)); err == nil || !strings.Contains(err.Error(), "no room") {
		t.Errorf("an input of 3 MiB where the limit is 2: %v", err)
	}
	if _, err := h.Call(t.Context(), i, "echo", make([]byte, 900<<10)); err != nil {
		t.Errorf("an input of 900 KiB: %v", err)
	}
}

// A plugin may be closed at any moment of a call.
func TestCloseInCall(t *testing.T) {
	h := extism.New(extism.Config{})
	m := module(t, "plugin.c")
	in := bytes.Repeat([]byte("x"), 100_000)
	for range 50 {
		i := plugin(t, m, h)
		calling, done := make(chan struct{}), make(chan struct{})
		go func() {
			defer close(done)
			close(calling)
			for {
				out, err := h.Call(context.Background(), i, "echo", in)
				if err != nil {
					return
				}
				if len(out) != len(in) {
					t.Errorf("got %d bytes", len(out))
				}
			}
		}()
		<-calling
		if err := i.Close(); err != nil {
			t.Error(err)
		}
		<-done
	}
}

// No memory is left of instances that ended, whichever way.
func TestNothingIsLeft(t *testing.T) {
	h := extism.New(extism.Config{})
	m := module(t, "plugin.c")
	before, ok := mapped()
	if !ok {
		t.Skip("this system does not tell how much is mapped")
	}
	const each = 1 << 20 // at the least, what one instance maps
	const instances = 300
	for n := range instances {
		i, err := m.New(h.With(t.Context()), wasmrt.Config{})
		if err != nil {
			t.Fatal(err)
		}
		if n%2 == 0 {
			_, _ = h.Call(t.Context(), i, "trap", nil)
			<-i.Done()
		} else if err := i.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if after, _ := mapped(); after > before+instances/2*each {
		t.Errorf("%d MiB are mapped, %d before %d instances", after>>20, before>>20, instances)
	}
}

// mapped is the size of the process's address space in bytes.
func mapped() (int64, bool) {
	b, err := os.ReadFile("/proc/self/statm")
	if err != nil {
		return 0, false
	}
	var pages int64
	_, err = fmt.Sscan(string(b), &pages)
	return pages * int64(os.Getpagesize()), err == nil
}

// Plugins run where there is no compiler.
func TestInterpreter(t *testing.T) {
	e, err := wasmrt.NewEngine(t.Context(), wasmrt.Options{Interpret: true, Host: []wasmrt.HostModule{extism.Module()}})
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
	h := extism.New(extism.Config{})
	i := plugin(t, m, h)
	in := strings.Repeat("interpreted ", 1000)
	if out, err := h.Call(t.Context(), i, "echo", []byte(in)); err != nil || string(out) != in {
		t.Errorf("got %d bytes, %v", len(out), err)
	}
	if _, err := h.Call(t.Context(), i, "beyond", []byte("12345678")); err != nil {
		t.Errorf("loads and stores beyond the end: %v", err)
	}
}
