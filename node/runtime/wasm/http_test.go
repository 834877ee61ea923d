package wasm_test

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"dhow.dev/dhow/node/runtime"
	dhowv1 "dhow.dev/dhow/proto/dhow/v1"
	"dhow.dev/dhow/wasmrt/wasmtest"
)

func httpTask(digest string, hostPort uint32) *dhowv1.Task {
	return &dhowv1.Task{
		Name:   "main",
		Source: &dhowv1.Task_Wasm{Wasm: &dhowv1.WasmSource{Artifact: digest, Trigger: dhowv1.Trigger_TRIGGER_HTTP}},
		Ports:  []*dhowv1.Port{{Name: "web", HostPort: hostPort}},
		Env:    []*dhowv1.EnvVar{{Name: "INSTANCE", Value: "mine"}},
	}
}

func get(t *testing.T, url string) (*http.Response, string, error) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		return nil, "", err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	return resp, string(b), err
}

func TestHTTPTask(t *testing.T) {
	a := &shelf{}
	r := newRuntime(t, a)
	defer r.Close()
	digest := a.add(t, wasmtest.Guest(t, "go/probe.go"))
	task := newTask(t, httpTask(digest, 0))
	s := start(t, r, task)
	if len(s.Ports) != 1 || s.Ports[0].GetName() != "web" || !strings.HasPrefix(s.Ports[0].GetAddress(), "127.0.0.1:") {
		t.Fatalf("ports are %v", s.Ports)
	}
	base := "http://" + s.Ports[0].GetAddress()
	resp, body, err := get(t, base+"/path")
	if err != nil || resp.StatusCode != 201 || !strings.Contains(body, "PATH_INFO=/path\n") || !strings.Contains(body, "INSTANCE=mine\n") {
		t.Errorf("got %v %q %v", resp, body, err)
	}
	if st, err := r.Stats(t.Context(), task.ID); err != nil || st.CPU <= 0 {
		t.Errorf("stats after a request: %+v, %v", st, err)
	}
	if again, err := r.Start(t.Context(), task); err != nil || again.Ports[0].GetAddress() != s.Ports[0].GetAddress() {
		t.Errorf("a second Start: %v, %v", again, err)
	}

	// The port is taken: another task with it is refused, and may try again.
	_, port, _ := net.SplitHostPort(s.Ports[0].GetAddress())
	n, _ := strconv.ParseUint(port, 10, 16)
	other := newTask(t, httpTask(digest, uint32(n)))
	other.ID.Instance = "other"
	if err := r.Prepare(t.Context(), other); err != nil {
		t.Fatal(err)
	}
	_, err = r.Start(t.Context(), other)
	if e, ok := errors.AsType[*runtime.Error](err); !ok || e.Reason != "PortInUse" || e.Permanent || !strings.Contains(err.Error(), port) {
		t.Errorf("got %v", err)
	}
	if err := r.Stop(t.Context(), task.ID, time.Minute); err != nil {
		t.Fatal(err)
	}
	if e, err := r.Wait(t.Context(), task.ID); err != nil || e.Reason != "Stopped" || e.Code != 0 {
		t.Errorf("exit is %+v, %v", e, err)
	}
	if _, _, err := get(t, base); err == nil {
		t.Error("it listens after its end")
	}
	if s, err := r.Start(t.Context(), other); err != nil || s.Ports[0].GetAddress() != "127.0.0.1:"+port {
		t.Errorf("with the port free: %v, %v", s, err)
	}
}

// inFlight starts a request that the guest answers when the body comes.
func inFlight(t *testing.T, base string) (body *io.PipeWriter, answer <-chan string) {
	t.Helper()
	r, w := io.Pipe()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, base+"/?stream", r)
	if err != nil {
		t.Fatal(err)
	}
	req.ContentLength = 3
	begun := make(chan struct{})
	done := make(chan string, 1)
	go func() {
		resp, err := http.DefaultClient.Do(req)
		close(begun)
		if err != nil {
			done <- err.Error()
			return
		}
		defer resp.Body.Close()
		b, err := io.ReadAll(resp.Body)
		if err != nil {
			done <- err.Error()
			return
		}
		done <- string(b)
	}()
	if _, err := w.Write([]byte("a")); err != nil {
		t.Fatal(err)
	}
	<-begun // the header is there: the guest runs
	return w, done
}

// TestHTTPDrains: Stop lets the request in flight end, and takes no other.
func TestHTTPDrains(t *testing.T) {
	a := &shelf{}
	r := newRuntime(t, a)
	defer r.Close()
	task := newTask(t, httpTask(a.add(t, wasmtest.Guest(t, "go/probe.go")), 0))
	base := "http://" + start(t, r, task).Ports[0].GetAddress()
	body, answer := inFlight(t, base)
	stopped := make(chan error, 1)
	go func() { stopped <- r.Stop(t.Context(), task.ID, time.Minute) }()
	for { // until it takes no more
		if _, _, err := get(t, base); err != nil {
			break
		}
	}
	select {
	case err := <-stopped:
		t.Fatalf("Stop returned during a request: %v", err)
	default:
	}
	if _, err := body.Write([]byte("bc")); err != nil {
		t.Fatal(err)
	}
	body.Close()
	if got := <-answer; got != "first\nsecond\n" {
		t.Errorf("the request in flight got %q", got)
	}
	if err := <-stopped; err != nil {
		t.Error(err)
	}
	if e, _ := r.Wait(t.Context(), task.ID); e.Reason != "Stopped" {
		t.Errorf("exit is %+v", e)
	}
}

// TestHTTPKillsAfterGrace: a request that does not end is interrupted.
func TestHTTPKillsAfterGrace(t *testing.T) {
	a := &shelf{}
	r := newRuntime(t, a)
	defer r.Close()
	task := newTask(t, httpTask(a.add(t, wasmtest.Guest(t, "go/probe.go")), 0))
	body, answer := inFlight(t, "http://"+start(t, r, task).Ports[0].GetAddress())
	defer body.Close()
	// A Stop that gives up early does not change the end.
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := r.Stop(ctx, task.ID, 10*time.Millisecond); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
	if err := r.Stop(t.Context(), task.ID, time.Hour); err != nil {
		t.Error(err)
	}
	if e, _ := r.Wait(t.Context(), task.ID); e.Reason != "Killed" || e.Code != 137 {
		t.Errorf("exit is %+v", e)
	}
	if got := <-answer; strings.HasSuffix(got, "second\n") {
		t.Errorf("the request in flight got %q", got)
	}
}

// TestCloseEndsRequests: the end of the runtime has no grace.
func TestCloseEndsRequests(t *testing.T) {
	a := &shelf{}
	r := newRuntime(t, a)
	task := newTask(t, httpTask(a.add(t, wasmtest.Guest(t, "go/probe.go")), 0))
	body, answer := inFlight(t, "http://"+start(t, r, task).Ports[0].GetAddress())
	defer body.Close()
	go func() { _ = r.Stop(t.Context(), task.ID, time.Hour) }()
	if err := r.Close(); err != nil {
		t.Error(err)
	}
	<-answer
	if e, err := r.Wait(t.Context(), task.ID); err != nil || e.Reason == "" {
		t.Errorf("exit is %+v, %v", e, err)
	}
	late := newTask(t, httpTask("sha256:00", 0))
	late.ID.Run = 1
	if err := r.Prepare(t.Context(), late); err == nil {
		t.Error("a closed runtime prepares")
	}
}
