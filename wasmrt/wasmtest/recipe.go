package wasmtest

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
)

// Recipe is how a guest is built.
type Recipe struct {
	// Source is a file (.go, .c, .rs, .wat) or a directory with a Go main
	// package.
	Source string
	// Reactor makes a module without a main function.
	Reactor bool
	// Flags are for the compiler, besides those it always gets.
	Flags []string
}

var building sync.Mutex //nolint:gochecknoglobals // the tests of a process share the directory

// Module is the path of the guest, which is built once for each version of the
// source and the compiler.
func (r Recipe) Module(ctx context.Context) (string, error) {
	building.Lock()
	defer building.Unlock()
	argv, env := r.command()
	key, err := key(r.Source, argv)
	if err != nil {
		return "", err
	}
	dir, err := cache()
	if err != nil {
		return "", err
	}
	module := filepath.Join(dir, key+".wasm")
	if _, err := os.Stat(module); err == nil {
		return module, nil
	}
	temp, err := os.MkdirTemp(dir, "build-") // renamed from, so on the same disk
	if err != nil {
		return "", err
	}
	defer func() { _ = os.RemoveAll(temp) }()
	out := filepath.Join(temp, "guest.wasm")
	argv = append(argv, "-o", out, r.Source)
	cmd := exec.CommandContext(ctx, argv[0], argv[1:]...) //nolint:gosec // a compiler
	cmd.Env = append(os.Environ(), env...)
	cmd.Dir = filepath.Dir(r.Source)
	if b, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("building the guest %s: %w (`make deps` installs the compilers)\n%s", r.Source, err, b)
	}
	return module, os.Rename(out, module)
}

// command is how the source is compiled.
func (r Recipe) command() (argv, env []string) {
	switch filepath.Ext(r.Source) {
	case ".c":
		argv = []string{"clang", "--target=wasm32-wasi", "--sysroot=/usr", "-O2"}
		if r.Reactor {
			argv = append(argv, "-mexec-model=reactor")
		}
	case ".rs":
		argv = []string{"/usr/bin/rustc", "--target", "wasm32-wasi", "-O"}
		if r.Reactor {
			argv = append(argv, "--crate-type=cdylib")
		}
	case ".wat":
		argv = []string{"wat2wasm", "--enable-tail-call", "--enable-extended-const"}
	default:
		argv, env = []string{"go", "build", "-trimpath", "-ldflags=-s -w"}, []string{"GOOS=wasip1", "GOARCH=wasm"}
		if r.Reactor {
			argv = append(argv, "-buildmode=c-shared")
		}
	}
	return append(argv, r.Flags...), env
}

// cache is a directory that the tests of all packages share.
func cache() (string, error) {
	dir := filepath.Join(os.TempDir(), fmt.Sprintf("dhow-guests-%d", os.Getuid()))
	return dir, os.MkdirAll(dir, 0o700)
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
		b, err := os.ReadFile(f) //nolint:gosec // a guest of the repository
		if err != nil {
			return "", err
		}
		_, _ = fmt.Fprintln(h, filepath.Base(f), len(b))
		_, _ = bytes.NewReader(b).WriteTo(h)
	}
	return hex.EncodeToString(h.Sum(nil)[:12]), nil
}
