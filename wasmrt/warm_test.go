package wasmrt

import (
	"testing"

	"dhow.dev/dhow/wasmrt/internal/wasmbin"
)

// TestWarm: of many guests that were called, few keep their stacks; all can be
// called again, and none of them is held after its end.
func TestWarm(t *testing.T) {
	e, err := NewEngine(t.Context(), Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = e.Close() }()
	m, err := e.Compile(t.Context(), moduleOf(oneType, oneFunc, entriesIn(wasmbin.Export, export("go", wasmbin.ExternFunc, 0)), codeOf([]byte{0, byte(wasmbin.OpEnd)})))
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	var all []*Instance
	call := func(i *Instance) {
		t.Helper()
		if _, err := i.Call(t.Context(), "go"); err != nil {
			t.Fatal(err)
		}
	}
	kept := func() (n int) {
		for _, i := range all {
			if i.kept.Load() != nil {
				n++
			}
		}
		return n
	}
	for range 2*warmGuests + 1 {
		i, err := m.New(t.Context(), Config{})
		if err != nil {
			t.Fatal(err)
		}
		call(i)
		all = append(all, i)
	}
	if n := kept(); n != warmGuests {
		t.Errorf("%d of %d keep their stacks", n, len(all))
	}
	for _, i := range all {
		call(i)
	}
	if n := kept(); n != warmGuests {
		t.Errorf("%d of %d keep their stacks after a second call", n, len(all))
	}
	for _, i := range all {
		_ = i.Close()
	}
	if n := kept(); n != 0 {
		t.Errorf("%d keep their stacks after their end", n)
	}
	for _, i := range e.warm.all {
		if i != nil {
			t.Fatal("a guest is held after its end")
		}
	}
}
