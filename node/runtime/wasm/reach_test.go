package wasm_test

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"dhow.dev/dhow/node/runtime"
	"dhow.dev/dhow/node/runtime/wasm"
	dhowv1 "dhow.dev/dhow/proto/dhow/v1"
	"dhow.dev/dhow/wasmrt/wasmtest"
)

// outputOf runs a command task to its end and returns what it wrote.
func outputOf(t *testing.T, r *wasm.Runtime, spec *dhowv1.Task) string {
	t.Helper()
	var out signal = make(chan string, 256)
	task := newTask(t, spec)
	task.ID.Instance, task.Stdout = t.Name()+strings.Join(spec.GetArgs(), " "), out
	start(t, r, task)
	if _, err := r.Wait(t.Context(), task.ID); err != nil {
		t.Fatal(err)
	}
	close(out)
	var all strings.Builder
	for s := range out {
		all.WriteString(s)
	}
	return all.String()
}

func hostGuest(digest string, h *dhowv1.HostPolicy, args ...string) *dhowv1.Task {
	spec := command(digest, args...)
	spec.GetWasm().Host = h
	return spec
}

// TestHostPolicies: what the manifest grants a guest has, and no other.
func TestHostPolicies(t *testing.T) {
	web := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("from the web")) }))
	defer web.Close()
	a := &shelf{}
	r := newRuntime(t, a)
	defer r.Close()
	source, err := filepath.Abs("../../../wasmrt/host/testdata/host.c")
	if err != nil {
		t.Fatal(err)
	}
	digest := a.add(t, wasmtest.Build(t, source))
	plugin := deployOn(t, r, "plugin", function(a.add(t, reactor(t, "plugin.c"))))
	h := &dhowv1.HostPolicy{
		Http: []string{strings.TrimPrefix(web.URL, "http://")}, Config: map[string]string{"a": "b"}, Secrets: map[string]string{"s": "hidden"},
		Kv: &dhowv1.KeyValue{Store: "kv"}, Invoke: []string{plugin.task.Workload},
	}
	for _, c := range []struct {
		args    []string
		granted string
	}{
		{[]string{"config", "a", ""}, "b"},
		{[]string{"secret", "s", ""}, "hidden"},
		{[]string{"set", "k", "v"}, ""},
		{[]string{"get", "k", ""}, "v"},
		{[]string{"http", "GET " + web.URL + "/", ""}, "from the web"},
		{[]string{"invoke", "plugin/echo", "there and back"}, "there and back"},
	} {
		if got := outputOf(t, r, hostGuest(digest, h, c.args...)); !strings.Contains(got, c.granted) || strings.HasPrefix(got, "-") {
			t.Errorf("%v: granted, got %q", c.args, got)
		}
		spec := hostGuest(digest, nil, c.args...)
		spec.Name = "other"
		task := newTask(t, spec)
		task.ID.Task = "refused"
		var out signal = make(chan string, 256)
		task.ID.Instance, task.Stdout = strings.Join(c.args, " "), out
		start(t, r, task)
		if _, err := r.Wait(t.Context(), task.ID); err != nil {
			t.Fatal(err)
		}
		if got := <-out; !strings.HasPrefix(got, "-") {
			t.Errorf("%v: not granted, got %q", c.args, got)
		}
	}
}

// TestInvokeIsListed: a guest that may call one function may not call others.
func TestInvokeIsListed(t *testing.T) {
	a := &shelf{}
	r := newRuntime(t, a)
	defer r.Close()
	source, err := filepath.Abs("../../../wasmrt/host/testdata/host.c")
	if err != nil {
		t.Fatal(err)
	}
	digest := a.add(t, wasmtest.Build(t, source))
	deployOn(t, r, "plugin", function(a.add(t, reactor(t, "plugin.c"))))
	call := []string{"invoke", "plugin/echo", "there and back"}
	for list, want := range map[string]bool{"other": false, "*": true} {
		got := outputOf(t, r, hostGuest(digest, &dhowv1.HostPolicy{Invoke: []string{list}}, append(call, list, "", "")...))
		if strings.Contains(got, "there and back") != want {
			t.Errorf("with the list %s: %q", list, got)
		}
	}
}

// TestMounts: a guest sees the directories that the node offers and its
// manifest names, to read only unless both say otherwise.
func TestMounts(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "file"), []byte("of the node"), 0o600); err != nil {
		t.Fatal(err)
	}
	a := &shelf{}
	r, err := wasm.New(t.Context(), wasm.Config{
		Artifacts: a, Dir: wasmtest.CodeDir(t),
		Directories: map[string]wasm.Directory{"data": {Path: dir}, "out": {Path: dir, Writable: true}},
	})
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	digest := a.add(t, wasmtest.Guest(t, "c/files.c"))
	mounted := func(m *dhowv1.Mount, args ...string) *dhowv1.Task {
		spec := command(digest, args...)
		spec.Mounts = []*dhowv1.Mount{m}
		return spec
	}
	for reason, m := range map[string]*dhowv1.Mount{
		"NoDirectory":       {Directory: "nothing", Path: "/data"},
		"DirectoryReadOnly": {Directory: "data", Path: "/data", Writable: true},
	} {
		task := newTask(t, mounted(m))
		task.ID.Instance = reason
		if err := r.Prepare(t.Context(), task); err != nil {
			t.Fatal(err)
		}
		_, err := r.Start(t.Context(), task)
		if e, ok := errors.AsType[*runtime.Error](err); !ok || e.Reason != reason || !e.Permanent {
			t.Errorf("%s: got %v", reason, err)
		}
	}
	if got := outputOf(t, r, mounted(&dhowv1.Mount{Directory: "data", Path: "/data"}, "cat", "/data/file")); !strings.Contains(got, "of the node") {
		t.Errorf("read: %q", got)
	}
	outputOf(t, r, mounted(&dhowv1.Mount{Directory: "out", Path: "/data"}, "create", "/data/refused", "x"))
	outputOf(t, r, mounted(&dhowv1.Mount{Directory: "out", Path: "/data", Writable: true}, "create", "/data/made", "x"))
	if _, err := os.Stat(filepath.Join(dir, "refused")); err == nil {
		t.Error("a mount that is not writable was written to")
	}
	if b, err := os.ReadFile(filepath.Join(dir, "made")); err != nil || string(b) != "x" {
		t.Errorf("what was written is %q, %v", b, err)
	}
}

// TestServices: a guest that serves for long has its port, and stops when told.
func TestServices(t *testing.T) {
	a := &shelf{}
	r := newRuntime(t, a)
	defer r.Close()
	spec := command(a.add(t, wasmtest.Guest(t, "c/service.c")))
	spec.GetWasm().Trigger = dhowv1.Trigger_TRIGGER_SERVICE
	spec.Ports = []*dhowv1.Port{{Name: "web", Port: 80}}
	task := newTask(t, spec)
	s := start(t, r, task)
	base := "http://" + s.Ports[0].GetAddress()
	for range 3 {
		if _, body, err := get(t, base); err != nil || body != "hello from C\n" {
			t.Fatalf("got %q, %v", body, err)
		}
	}
	if err := r.Stop(t.Context(), task.ID, time.Minute); err != nil {
		t.Fatal(err)
	}
	if e, err := r.Wait(t.Context(), task.ID); err != nil || e.Reason != "Stopped" {
		t.Errorf("exit is %+v, %v", e, err)
	}
	if _, _, err := get(t, base); err == nil {
		t.Error("it listens after its end")
	}
}
