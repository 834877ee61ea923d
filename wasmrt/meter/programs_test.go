package meter_test

import (
	"bytes"
	"errors"
	"path/filepath"
	"strings"
	"testing"

	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/api"
	"github.com/tetratelabs/wazero/imports/wasi_snapshot_preview1"
	"github.com/tetratelabs/wazero/sys"

	"dhow.dev/dhow/wasmrt/meter"
	"dhow.dev/dhow/wasmrt/wasmtest"
)

// Programs do what they do without a meter, and use the same fuel for slices of
// any size: wazero gives them the same time and chance each time.
func TestProgramsAreTheSameWithAMeter(t *testing.T) {
	t.Parallel()
	code, err := wazero.NewCompilationCacheWithDir(filepath.Join(wasmtest.CodeDir(t), "meter"))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = code.Close(t.Context()) }()
	input := strings.Repeat("what goes in comes out\n", 3000)
	for _, source := range []string{"c/probe.c", "rust/probe.rs", "go/probe.go"} {
		wasm := wasmtest.Bytes(t, source)
		for _, args := range [][]string{{"probe", "args", "one", "two"}, {"probe", "cat"}} {
			plain, _ := run(t, code, wasm, nil, input, args)
			if len(plain) == 0 {
				t.Fatalf("%s %s prints nothing", source, args[1])
			}
			for _, mode := range []meter.Mode{meter.Exact, meter.Preempt} {
				metered := rewrite(t, wasm, meter.Options{Mode: mode})
				many, used := run(t, code, metered, &granter{slice: 1000}, input, args)
				few, same := run(t, code, metered, &granter{slice: 1e9}, input, args)
				if many != plain || few != plain {
					t.Errorf("%s %s, mode %d: with a meter it prints something else", source, args[1], mode)
				}
				if used != same || used <= 0 {
					t.Errorf("%s %s, mode %d: used %d in small slices, %d in large ones", source, args[1], mode, used, same)
				}
			}
		}
	}
}

// run is what a command prints, and the fuel that it uses if it has a meter.
func run(t *testing.T, code wazero.CompilationCache, wasm []byte, g *granter, input string, args []string) (stdout string, used int64) {
	t.Helper()
	r := wazero.NewRuntimeWithConfig(t.Context(), wazero.NewRuntimeConfig().WithCompilationCache(code))
	defer func() { _ = r.Close(t.Context()) }()
	wasi_snapshot_preview1.MustInstantiate(t.Context(), r)
	if g != nil {
		g.provide(t, r)
	}
	var out bytes.Buffer
	config := wazero.NewModuleConfig().WithArgs(args...).WithStdin(strings.NewReader(input)).WithStdout(&out).WithStartFunctions()
	m, err := r.InstantiateWithConfig(t.Context(), wasm, config)
	if err != nil {
		t.Fatal(err)
	}
	if g != nil {
		m.ExportedGlobal(meter.ExportDepth).(api.MutableGlobal).Set(16 << 20)
	}
	_, err = m.ExportedFunction("_start").Call(t.Context())
	if exit := (*sys.ExitError)(nil); err != nil && (!errors.As(err, &exit) || exit.ExitCode() != 0) {
		t.Fatal(err)
	}
	if g != nil {
		used = g.used(m)
	}
	return out.String(), used
}
