// Package wasmtest builds guests for tests: real modules, from Go, C and Rust,
// with the compilers that `make deps` installs.
package wasmtest

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
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

var building sync.Mutex //nolint:gochecknoglobals // the tests of a process share the directory

// Build compiles a source file (.go, .c, .rs) or a directory with a Go main
// package to a module, once for each version of the source and the compiler.
func Build(tb testing.TB, source string) string {
	tb.Helper()
	building.Lock()
	defer building.Unlock()
	argv, env := command(source)
	key, err := key(source, argv)
	if err != nil {
		tb.Fatal(err)
	}
	dir := cache(tb)
	module := filepath.Join(dir, key+".wasm")
	if _, err := os.Stat(module); err == nil {
		return module
	}
	temp, err := os.MkdirTemp(dir, "build-") //nolint:usetesting // renamed from, so on the same disk
	if err != nil {
		tb.Fatal(err)
	}
	defer func() { _ = os.RemoveAll(temp) }()
	out := filepath.Join(temp, "guest.wasm")
	argv = append(argv, "-o", out, source)
	cmd := exec.CommandContext(tb.Context(), argv[0], argv[1:]...)
	cmd.Env = append(os.Environ(), env...)
	cmd.Dir = filepath.Dir(source)
	if b, err := cmd.CombinedOutput(); err != nil {
		tb.Fatalf("building the guest %s: %v (`make deps` installs the compilers)\n%s", source, err, b)
	}
	if err := os.Rename(out, module); err != nil {
		tb.Fatal(err)
	}
	return module
}

// CodeDir is a directory for machine code that tests share and that stays:
// under the race detector, compiling a Go guest takes half a minute.
func CodeDir(tb testing.TB) string {
	tb.Helper()
	return filepath.Join(cache(tb), "code")
}

func cache(tb testing.TB) string {
	tb.Helper()
	dir := filepath.Join(os.TempDir(), fmt.Sprintf("dhow-guests-%d", os.Getuid()))
	if err := os.MkdirAll(dir, 0o700); err != nil {
		tb.Fatal(err)
	}
	return dir
}

// command is how the source is compiled.
func command(source string) (argv, env []string) {
	switch filepath.Ext(source) {
	case ".c":
		return []string{"clang", "--target=wasm32-wasi", "--sysroot=/usr", "-O2"}, nil
	case ".rs":
		return []string{"/usr/bin/rustc", "--target", "wasm32-wasi", "-O"}, nil
	}
	return []string{"go", "build", "-trimpath", "-ldflags=-s -w"}, []string{"GOOS=wasip1", "GOARCH=wasm"}
}

// key changes with the source, the compiler and its flags.
func key(source string, argv []string) (string, error) {
	h := sha256.New()
	_, _ = fmt.Fprintln(h, strings.Join(argv, " "), runtime.Version())
	files := []string{source}
	if s, err := os.Stat(source); err != nil {
		return "", err
	} else if s.IsDir() {
		if files, err = filepath.Glob(filepath.Join(source, "*.go")); err != nil {
			return "", err
		}
	}
	for _, f := range files {
		b, err := os.ReadFile(f)
		if err != nil {
			return "", err
		}
		_, _ = fmt.Fprintln(h, filepath.Base(f), len(b))
		_, _ = bytes.NewReader(b).WriteTo(h)
	}
	return hex.EncodeToString(h.Sum(nil)[:12]), nil
}
