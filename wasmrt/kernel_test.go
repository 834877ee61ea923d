package wasmrt_test

import (
	"context"
	"errors"
	"strings"
	"testing"

	"dhow.dev/dhow/wasmrt"
	"dhow.dev/dhow/wasmrt/wasmtest"
)

// A kernel that is broken, or imports what is not its host module's, is refused
// when it is provided.
func TestKernelIsRefused(t *testing.T) {
	e := newEngine(t, wasmrt.Options{})
	imports := func(module, name string) []byte {
		const types = "\x01\x04\x01\x60\x00\x00" // one: no parameters, no results
		entry := string(rune(len(module))) + module + "\x01" + name + "\x00\x00"
		return []byte("\x00asm\x01\x00\x00\x00" + types + "\x02" + string(rune(len(entry)+1)) + "\x01" + entry)
	}
	for _, c := range []struct {
		kernel []byte
		want   string
	}{
		{[]byte("no module"), "the kernel of the host module kept is not valid"},
		{imports("other", "g"), "the kernel of the host module kept imports other.g, which is not of that module"},
		{imports("kept", "f"), "the kernel of the host module kept imports kept.f, which is not of that module"},
	} {
		err := e.Provide(wasmrt.HostModule{Name: "kept", Kernel: c.kernel, Functions: []wasmrt.HostFunction{
			{Name: "g", Call: func(context.Context, wasmrt.Caller, []uint64) {}},
		}})
		if e, ok := errors.AsType[*wasmrt.Error](err); !ok || e.Reason != wasmrt.ReasonBadConfig || !strings.Contains(err.Error(), c.want) {
			t.Errorf("got %v, want %q", err, c.want)
		}
	}
}

// A guest has kernels only of the host modules that it imports.
func TestNoKernel(t *testing.T) {
	e := newEngine(t, wasmrt.Options{CacheDir: wasmtest.CodeDir(t)})
	i, err := load(t, e, "c/probe.c").New(t.Context(), wasmrt.Config{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = i.Close() })
	if i.Kernel("kept") != nil {
		t.Error("there is a kernel")
	}
}
