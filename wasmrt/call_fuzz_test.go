package wasmrt_test

import (
	"context"
	"errors"
	"os"
	"testing"
	"time"

	"dhow.dev/dhow/wasmrt"
	"dhow.dev/dhow/wasmrt/wasmtest"
)

// FuzzGuests: whatever a file holds, it is refused with a reason, or is a
// module whose functions all end within the limits.
func FuzzGuests(f *testing.F) {
	f.Add(limitsWasm)
	f.Add([]byte(header + types + funcs + memory + start + body))
	for _, name := range []string{"c/probe.c"} {
		wasm, err := os.ReadFile(wasmtest.Guest(f, name))
		if err != nil {
			f.Fatal(err)
		}
		f.Add(wasm)
	}
	e := newEngine(f, wasmrt.Options{Host: []wasmrt.HostModule{testHost(func(context.Context) {})}, MaxIdleBytes: -1})
	f.Fuzz(func(t *testing.T, wasm []byte) {
		m, err := e.Compile(t.Context(), wasm)
		if err != nil {
			if _, ok := errors.AsType[*wasmrt.Error](err); !ok {
				t.Errorf("no reason: %v", err)
			}
			return
		}
		defer m.Close()
		limits := wasmrt.Limits{Fuel: 100_000, Memory: 16 << 20, Tables: 1000, Stack: 1 << 20, Timeout: 5 * time.Second}
		for _, x := range m.Exports() {
			i, err := m.New(t.Context(), wasmrt.Config{Limits: limits})
			if err != nil {
				return
			}
			_, err = i.Call(t.Context(), x.Name, make([]uint64, len(x.Params))...)
			if e, ok := errors.AsType[*wasmrt.ExitError](err); ok && e.Exit.Reason == wasmrt.TimedOutReason {
				t.Errorf("%s: its fuel did not end it", x.Name)
			}
			if u := i.Usage(); u.Fuel > 200_000 {
				t.Errorf("%s used %d", x.Name, u.Fuel)
			}
			if err := i.Close(); err != nil {
				t.Error(err)
			}
		}
	})
}
