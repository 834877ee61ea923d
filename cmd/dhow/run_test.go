package main

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"

	dhowv1 "dhow.dev/dhow/proto/dhow/v1"
	"dhow.dev/dhow/wasmrt"
	"dhow.dev/dhow/wasmrt/wasmtest"
)

// exitSeven calls proc_exit(7).
const exitSeven = "\x00asm\x01\x00\x00\x00" +
	"\x01\x08\x02\x60\x01\x7f\x00\x60\x00\x00" + // types: (i32) -> (), () -> ()
	"\x02\x24\x01\x16wasi_snapshot_preview1\x09proc_exit\x00\x00" +
	"\x03\x02\x01\x01" + "\x05\x03\x01\x00\x01" +
	"\x07\x13\x02\x06memory\x02\x00\x06_start\x00\x01" +
	"\x0a\x08\x01\x06\x00\x41\x07\x10\x00\x0b"

func TestRun(t *testing.T) {
	t.Setenv("XDG_CACHE_HOME", t.TempDir())
	wantCode(t, dhow(t, "", "run", writeFile(t, "a.wasm", emptyModule)), 0)
	// The module's own exit code, and nothing said about it.
	r := dhow(t, "", "run", writeFile(t, "a.wasm", exitSeven), "--wait", "-x")
	wantCode(t, r, 7)
	if r.err != "" || r.out != "" {
		t.Errorf("got %q and %q", r.out, r.err)
	}
	wantCode(t, dhow(t, "", "run", "./nope.wasm"), exitInput)
	wantCode(t, dhow(t, "", "run", writeFile(t, "a.wasm", "text")), exitInput)
	wantCode(t, dhow(t, "", "run", "--memory", "lots", writeFile(t, "a.wasm", emptyModule)), exitInput)
}

// numbers is a module of functions, plugin an Extism plugin.
func numbers(t *testing.T) string {
	return wasmtest.Reactor(t, "../../node/runtime/wasm/testdata/numbers.c")
}

func plugin(t *testing.T) string {
	return wasmtest.Reactor(t, "../../node/runtime/wasm/testdata/plugin.c")
}

func TestRunLimits(t *testing.T) {
	t.Setenv("XDG_CACHE_HOME", t.TempDir())
	probe := wasmtest.Guest(t, "c/probe.c")
	for name, c := range map[string]struct {
		args []string
		code int
		err  string
	}{
		"timeout":     {[]string{"run", "--timeout", "30ms", probe, "spin"}, exitTimeout, "did not end within 30ms (--timeout)"},
		"fuel":        {[]string{"run", "--fuel", "100000", probe, "spin"}, wasmrt.OutOfFuelCode, "may run 100000 instructions (--fuel)"},
		"trap":        {[]string{"run", "--invoke", "divide", numbers(t), "1", "0"}, wasmrt.TrappedCode, "divide"},
		"memory":      {[]string{"run", "--memory", "64Ki", probe, "exit", "0"}, exitInput, "raise the limit"},
		"bad cpu":     {[]string{"run", "--cpu", "some", probe}, exitInput, "--cpu"},
		"bad dir":     {[]string{"run", "--dir", "/nonexistent", probe}, exitInput, "--dir"},
		"bad mode":    {[]string{"run", "--dir", "/:/:rx", probe}, exitInput, "neither rw nor ro"},
		"bad net":     {[]string{"run", "--net-allow", "no host", probe}, exitInput, "--net-allow"},
		"own code":    {[]string{"run", probe, "exit", "3"}, 3, ""},
		"no function": {[]string{"run", "--invoke", "nothing", numbers(t)}, exitInput, "add(i32, i32) -> i32"},
		"no command":  {[]string{"run", numbers(t)}, exitInput, "--invoke"},
		"bad args":    {[]string{"run", "--invoke", "add", numbers(t), "1"}, exitInput, "takes 2 parameters"},
		"failure":     {[]string{"run", "--invoke", "fail", plugin(t)}, 1, "it was told to"},
	} {
		r := dhow(t, "", c.args...)
		if r.code != c.code || !strings.Contains(r.err, c.err) {
			t.Errorf("%s: exit code %d, %q; want %d and %q", name, r.code, r.err, c.code, c.err)
		}
	}
}

func TestRunInvokes(t *testing.T) {
	t.Setenv("XDG_CACHE_HOME", t.TempDir())
	if r := dhow(t, "", "run", "--invoke", "add", numbers(t), "-1", "3"); r.code != 0 || r.out != "2\n" {
		t.Errorf("got %d %q %q", r.code, r.out, r.err)
	}
	if r := dhow(t, "some bytes", "run", "--invoke", "echo", plugin(t)); r.code != 0 || r.out != "some bytes" {
		t.Errorf("got %d %q %q", r.code, r.out, r.err)
	}
}

func TestRunSeesWhatItIsGiven(t *testing.T) {
	t.Setenv("XDG_CACHE_HOME", t.TempDir())
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "file"), []byte("content"), 0o600); err != nil {
		t.Fatal(err)
	}
	files := wasmtest.Guest(t, "c/files.c")
	if r := dhow(t, "", "run", files, "cat", filepath.Join(dir, "file")); strings.Contains(r.out, "content") {
		t.Errorf("without --dir it read the file: %q", r.out)
	}
	if r := dhow(t, "", "run", "--dir", dir, files, "cat", filepath.Join(dir, "file")); !strings.Contains(r.out, "content") {
		t.Errorf("with --dir: %d %q %q", r.code, r.out, r.err)
	}
	dhow(t, "", "run", "--dir", dir+":/d", files, "create", "/d/refused", "x")
	dhow(t, "", "run", "--dir", dir+":/d:rw", files, "create", "/d/made", "x")
	if _, err := os.Stat(filepath.Join(dir, "refused")); err == nil {
		t.Error("it wrote without rw")
	}
	if b, err := os.ReadFile(filepath.Join(dir, "made")); err != nil || string(b) != "x" {
		t.Errorf("with rw: %q, %v", b, err)
	}
	if r := dhow(t, "", "run", "-e", "A=b", wasmtest.Guest(t, "c/probe.c"), "env", "A"); r.out != "b\n" {
		t.Errorf("environment: %q %q", r.out, r.err)
	}
}

// TestRunStats: what it used is told apart from its own output.
func TestRunStats(t *testing.T) {
	t.Setenv("XDG_CACHE_HOME", t.TempDir())
	r := dhow(t, "", "run", "--stats", "--invoke", "burn", numbers(t), "1000000")
	if r.code != 0 || strings.Contains(r.out, "fuel") {
		t.Errorf("got %d %q", r.code, r.out)
	}
	for _, want := range []string{"ended     Exited, code 0", "cpu       ", "fuel      ", ",", " instructions", "memory    ", " at most", "to compile or load it"} {
		if !strings.Contains(r.err, want) {
			t.Errorf("no %q in\n%s", want, r.err)
		}
	}
	if r := dhow(t, "", "run", "--stats", "--cpu", "100m", "--timeout", "300ms", wasmtest.Guest(t, "c/probe.c"), "spin"); !strings.Contains(r.err, "throttled ") || !strings.Contains(r.err, "by its limit of 100m") {
		t.Errorf("throttled: %s", r.err)
	}
}

// TestRunStops: Ctrl-C ends a guest that spins.
func TestRunStops(t *testing.T) {
	t.Setenv("XDG_CACHE_HOME", t.TempDir())
	ctx, cancel := context.WithCancel(t.Context())
	out := writer(func(p []byte) (int, error) { cancel(); return len(p), nil }) // it says that it spins
	var errs strings.Builder
	a := newApp(strings.NewReader(""), out, &errs)
	if code := execute(ctx, a, []string{"run", wasmtest.Guest(t, "c/probe.c"), "spin"}); code != exitInterrupted {
		t.Errorf("exit code %d, %s", code, errs.String())
	}
}

type writer func([]byte) (int, error)

func (w writer) Write(p []byte) (int, error) { return w(p) }

// TestTerminalWaits: on a terminal, deploy waits unless it is told not to.
func TestTerminalWaits(t *testing.T) {
	f := newFake(t)
	f.onApply = func(w *dhowv1.Workload) { f.runs(w, running) }
	for flag, waits := range map[string]bool{"--no-color": true, "--no-wait": false} {
		var out strings.Builder
		a := newApp(strings.NewReader(""), &out, &strings.Builder{})
		a.outTerminal = true
		if code := execute(t.Context(), a, []string{"deploy", "web", "nginx", flag}); code != 0 {
			t.Errorf("%s: exit code %d", flag, code)
		}
		if strings.Contains(out.String(), "web: 1/1 running in ") != waits {
			t.Errorf("%s: got %s", flag, out.String())
		}
	}
}
