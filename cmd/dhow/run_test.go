package main

import (
	"strings"
	"testing"

	dhowv1 "dhow.dev/dhow/proto/dhow/v1"
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
