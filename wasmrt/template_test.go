package wasmrt

import (
	"context"
	"strings"
	"testing"

	"dhow.dev/dhow/wasmrt/internal/wasmbin"
)

// TestCopyOfAGuestWithAKernel: it gets a new kernel, which is allowed as long as
// that of the one it is copied from is as new.
func TestCopyOfAGuestWithAKernel(t *testing.T) {
	counter := entriesIn(wasmbin.Global, []byte{wasmbin.I32, 1, byte(wasmbin.OpI32Const), 0, byte(wasmbin.OpEnd)})
	count := []byte{0, byte(wasmbin.OpGlobalGet), 0, byte(wasmbin.OpI32Const), 1, byte(wasmbin.OpI32Add), byte(wasmbin.OpGlobalSet), 0, byte(wasmbin.OpEnd)}
	kernel := moduleOf(oneType, oneFunc, oneMemory, counter, entriesIn(wasmbin.Export, export("count", wasmbin.ExternFunc, 0), export("memory", wasmbin.ExternMemory, 0)), codeOf(count))
	guest := moduleOf(oneType,
		entriesIn(wasmbin.Import, append(wasmbin.AppendName(wasmbin.AppendName(nil, "kernel"), "count"), wasmbin.ExternFunc, 0)),
		oneFunc, oneMemory,
		entriesIn(wasmbin.Export, export("go", wasmbin.ExternFunc, 1), export("memory", wasmbin.ExternMemory, 0)),
		codeOf([]byte{0, byte(wasmbin.OpCall), 0, byte(wasmbin.OpEnd)}))
	e, err := NewEngine(t.Context(), Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = e.Close() }()
	none := HostFunction{Name: "none", Call: func(context.Context, Caller, []uint64) {}}
	if err := e.Provide(HostModule{Name: "kernel", Kernel: kernel, Functions: []HostFunction{none}}); err != nil {
		t.Fatal(err)
	}
	m, err := e.Compile(t.Context(), guest)
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	s, err := m.Snapshot(t.Context(), Config{})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if shared, why := s.Shared(); !shared {
		t.Error(why)
	}
	i, err := s.New(t.Context(), Config{})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = i.Close() }()
	used := func(ctx context.Context, i *Instance) error { _, err := i.Call(ctx, "go"); return err }
	if err := used(t.Context(), i); err != nil {
		t.Error(err)
	}
	warmed, err := m.Snapshot(t.Context(), Config{}, used)
	if err != nil {
		t.Fatal(err)
	}
	defer warmed.Close()
	if shared, why := warmed.Shared(); shared || !strings.Contains(why.Error(), "kernel") {
		t.Errorf("with a used kernel: %v, %v", shared, why)
	}
	if i, err := warmed.New(t.Context(), Config{}); err != nil {
		t.Error(err)
	} else {
		_ = i.Close()
	}
}
