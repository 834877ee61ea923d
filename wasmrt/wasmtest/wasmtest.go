// Package wasmtest builds guests for tests: real modules, from Go, C and Rust,
// with the compilers that `make deps` installs.
package wasmtest

import (
	"os"
	"path/filepath"
	"runtime"
	"testing"
)

// Guest builds a guest of wasmrt/testdata, "go/probe.go" or "c/probe.c", and
// returns the module's path.
func Guest(tb testing.TB, source string) string {
	tb.Helper()
	_, self, _, _ := runtime.Caller(0)
	return Build(tb, filepath.Join(filepath.Dir(self), "..", "testdata", source))
}

// Bytes is Guest's module.
func Bytes(tb testing.TB, source string) []byte {
	tb.Helper()
	b, err := os.ReadFile(Guest(tb, source))
	if err != nil {
		tb.Fatal(err)
	}
	return b
}

// Build compiles a source file (.go, .c, .rs, .wat) or a directory with a Go main
// package to a module, once for each version of the source and the compiler.
func Build(tb testing.TB, source string) string {
	tb.Helper()
	return build(tb, Recipe{Source: source})
}

// Reactor is Build of a module without a main function: the host calls
// _initialize, if there is one, and then what the guest exports.
func Reactor(tb testing.TB, source string) string {
	tb.Helper()
	return build(tb, Recipe{Source: source, Reactor: true})
}

func build(tb testing.TB, r Recipe) string {
	tb.Helper()
	module, err := r.Module(tb.Context())
	if err != nil {
		tb.Fatal(err)
	}
	return module
}

// CodeDir is a directory for machine code that tests share and that stays:
// under the race detector, compiling a Go guest takes half a minute.
func CodeDir(tb testing.TB) string {
	tb.Helper()
	dir, err := cache()
	if err != nil {
		tb.Fatal(err)
	}
	return filepath.Join(dir, "code")
}
