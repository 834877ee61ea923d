package wasm_test

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"testing"

	"dhow.dev/dhow/node/runtime"
	"dhow.dev/dhow/node/runtime/runtimetest"
	"dhow.dev/dhow/node/runtime/wasm"
	dhowv1 "dhow.dev/dhow/proto/dhow/v1"
	"dhow.dev/dhow/wasmrt/wasmtest"
)

// shelf holds artifacts by digest, and counts who holds what.
type shelf struct {
	mu    sync.Mutex
	files map[string]string
	held  int
}

func (s *shelf) add(tb testing.TB, path string) string {
	tb.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		tb.Fatal(err)
	}
	sum := sha256.Sum256(b)
	digest := "sha256:" + hex.EncodeToString(sum[:])
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.files == nil {
		s.files = map[string]string{}
	}
	s.files[digest] = path
	return digest
}

func (s *shelf) Open(_ context.Context, digest string) (string, func(), error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	path, ok := s.files[digest]
	if !ok {
		return "", nil, errors.New("no server has it")
	}
	s.held++
	return path, func() { s.mu.Lock(); s.held--; s.mu.Unlock() }, nil
}

func command(digest string, args ...string) *dhowv1.Task {
	return &dhowv1.Task{
		Name:   "main",
		Source: &dhowv1.Task_Wasm{Wasm: &dhowv1.WasmSource{Artifact: digest, Trigger: dhowv1.Trigger_TRIGGER_COMMAND, File: "dir/probe.wasm"}},
		Args:   args,
	}
}

func newRuntime(tb testing.TB, a *shelf) *wasm.Runtime {
	tb.Helper()
	r, err := wasm.New(tb.Context(), wasm.Config{Artifacts: a, Dir: wasmtest.CodeDir(tb), StoreDir: tb.TempDir()})
	if err != nil {
		tb.Fatal(err)
	}
	return r
}

// TestConformance is the suite that every runtime passes.
func TestConformance(t *testing.T) {
	for _, source := range []string{"go/probe.go", "c/probe.c"} {
		t.Run(filepath.Dir(source), func(t *testing.T) {
			a := &shelf{}
			probe := a.add(t, wasmtest.Guest(t, source))
			broken := filepath.Join(t.TempDir(), "broken.wasm")
			if err := os.WriteFile(broken, []byte("\x00asm\x01\x00\x00\x00\x01"), 0o600); err != nil {
				t.Fatal(err)
			}
			brokenDigest := a.add(t, broken)
			plugin := a.add(t, reactor(t, "plugin.c"))
			runtimetest.Run(t, runtimetest.Harness{
				New: func(t *testing.T, _ string) runtime.Runtime { return newRuntime(t, a) },
				Close: func(t *testing.T, r runtime.Runtime) {
					if err := r.(*wasm.Runtime).Close(); err != nil {
						t.Error(err)
					}
					if a.held != 0 {
						t.Errorf("%d artifacts are still held", a.held)
					}
				},
				Task: func(p runtimetest.Program) *dhowv1.Task {
					switch p {
					case runtimetest.RunForever:
						return command(probe, "sleep", "3600000")
					case runtimetest.ExitZero:
						return command(probe, "exit", "0")
					case runtimetest.ExitThree:
						return command(probe, "exit", "3")
					case runtimetest.Print:
						return command(probe, "lines", strconv.Itoa(runtimetest.Lines))
					case runtimetest.Broken:
						return command(brokenDigest)
					case runtimetest.Functions:
						return function(plugin)
					case runtimetest.Stubborn: // no guest withstands an interrupt
					}
					return nil
				},
			})
		})
	}
}

// TestStopInterrupts: a guest in a tight loop ends with the code of SIGTERM.
func TestStopInterrupts(t *testing.T) {
	a := &shelf{}
	r := newRuntime(t, a)
	defer r.Close()
	var out signal = make(chan string, 8)
	task := newTask(t, command(a.add(t, wasmtest.Guest(t, "c/probe.c")), "spin"))
	task.Stdout = out
	start(t, r, task)
	<-out
	if s, err := r.Stats(t.Context(), task.ID); err != nil || s.Memory == 0 {
		t.Errorf("stats are %+v, %v", s, err)
	}
	if err := r.Remove(t.Context(), task.ID); err == nil {
		t.Error("a running task was removed")
	}
	if err := r.Stop(t.Context(), task.ID, 0); err != nil {
		t.Fatal(err)
	}
	if e, err := r.Wait(t.Context(), task.ID); err != nil || e.Reason != "Stopped" || e.Code != 143 {
		t.Errorf("exit is %+v, %v", e, err)
	}
	if s, err := r.Stats(t.Context(), task.ID); err != nil || s.Memory != 0 {
		t.Errorf("stats of an ended run are %+v, %v", s, err)
	}
}

// TestGuestKnowsItsTask covers argv, the environment and standard input.
func TestGuestKnowsItsTask(t *testing.T) {
	a := &shelf{}
	r := newRuntime(t, a)
	defer r.Close()
	digest := a.add(t, wasmtest.Guest(t, "c/probe.c"))
	n := uint32(0)
	output := func(spec *dhowv1.Task) string {
		var out signal = make(chan string, 64)
		task := newTask(t, spec)
		task.ID.Run, task.Name, task.Namespace, task.Workload, task.Index, task.Stdout = n, "web-0", "prod", "web", 3, out
		n++
		start(t, r, task)
		if _, err := r.Wait(t.Context(), task.ID); err != nil {
			t.Fatal(err)
		}
		close(out)
		all := ""
		for s := range out {
			all += s
		}
		return all
	}
	for name, want := range map[string]string{
		"DHOW_INSTANCE": "web-0", "DHOW_NAMESPACE": "prod", "DHOW_WORKLOAD": "web", "DHOW_INDEX": "3", "DHOW_TASK": "main", "OWN": "v=1",
	} {
		spec := command(digest, "env", name)
		spec.Env = []*dhowv1.EnvVar{{Name: "OWN", Value: "v=1"}}
		if got := output(spec); got != want+"\n" {
			t.Errorf("%s is %q", name, got)
		}
	}
	if got := output(command(digest, "args", "x y")); got != "probe.wasm\nargs\nx y\n" {
		t.Errorf("argv is %q", got)
	}
	spec := command(digest, "cat")
	spec.Stdin = []byte("given")
	if got := output(spec); got != "given" {
		t.Errorf("standard input is %q", got)
	}
}

// TestWhyItCannotRun covers the reasons that people see.
func TestWhyItCannotRun(t *testing.T) {
	a := &shelf{}
	r := newRuntime(t, a)
	defer r.Close()
	write := func(content string) string {
		p := filepath.Join(t.TempDir(), "m.wasm")
		if err := os.WriteFile(p, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		return a.add(t, p)
	}
	small := command(a.add(t, wasmtest.Guest(t, "go/probe.go")))
	small.Resources = &dhowv1.Resources{Limits: &dhowv1.ResourceList{Memory: 1 << 16}}
	for n, c := range []struct {
		spec      *dhowv1.Task
		reason    string
		permanent bool
	}{
		{command(write("")), "EmptyFile", true},
		{command(write("#!/bin/sh")), "NotWasm", true},
		{command(write("\x00asm\x0d\x00\x01\x00")), "ComponentNotSupported", true},
		{command("sha256:0000"), "NoArtifact", false},
		{small, "MemoryLimitTooLow", true},
	} {
		task := newTask(t, c.spec)
		task.ID.Run = uint32(n)
		err := r.Prepare(t.Context(), task)
		if err == nil {
			_, err = r.Start(t.Context(), task)
		}
		e, ok := errors.AsType[*runtime.Error](err)
		if !ok || e.Reason != c.reason || e.Permanent != c.permanent {
			t.Errorf("%s: got %#v", c.reason, err)
		}
	}
	// A file that is not what its digest says.
	digest := write("one")
	a.files[digest] = wasmtest.Guest(t, "c/probe.c")
	err := r.Prepare(t.Context(), newTask(t, command(digest)))
	if e, ok := errors.AsType[*runtime.Error](err); !ok || e.Reason != "NoArtifact" {
		t.Errorf("a changed file: %v", err)
	}
}

// signal passes on what is written.
type signal chan string

func (s signal) Write(p []byte) (int, error) { s <- string(p); return len(p), nil }

func newTask(tb testing.TB, spec *dhowv1.Task) *runtime.Task {
	tb.Helper()
	return &runtime.Task{
		ID: runtime.ID{Instance: "uid", Task: "main"}, Namespace: "default", Name: "w-0-abcde", Workload: "w",
		Spec: spec, Address: "127.0.0.1", Dir: tb.TempDir(), Stdout: discard{}, Stderr: discard{},
	}
}

type discard struct{}

func (discard) Write(p []byte) (int, error) { return len(p), nil }

func start(tb testing.TB, r runtime.Runtime, t *runtime.Task) runtime.Started {
	tb.Helper()
	if err := r.Prepare(tb.Context(), t); err != nil {
		tb.Fatal(err)
	}
	s, err := r.Start(tb.Context(), t)
	if err != nil {
		tb.Fatal(fmt.Errorf("start: %w", err))
	}
	return s
}
