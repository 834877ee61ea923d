package extism_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"dhow.dev/dhow/wasmrt"
	"dhow.dev/dhow/wasmrt/extism"
	"dhow.dev/dhow/wasmrt/wasmtest"
)

// logger keeps what is logged.
type logger struct {
	mu   sync.Mutex
	said []string
}

func (l *logger) log(_ context.Context, level extism.Level, message string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.said = append(l.said, level.String()+" "+message)
}

func TestGoKit(t *testing.T) {
	var l logger
	h := extism.New(extism.Config{Config: map[string]string{"greeting": "ahoy"}, Log: l.log})
	m := module(t, "plugin/main.go")
	instances := map[string]*wasmrt.Instance{"New": plugin(t, m, h)}
	s, err := m.Snapshot(h.With(t.Context()), wasmrt.Config{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	if instances["Snapshot"], err = s.New(h.With(t.Context()), wasmrt.Config{}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = instances["Snapshot"].Close() })
	calls := 0
	for name, i := range instances {
		for range 3 {
			calls++
			out, err := h.Call(t.Context(), i, "shout", []byte("matey, wie geht's?"))
			var got struct {
				Text  string
				Calls int
			}
			if err != nil || json.Unmarshal(out, &got) != nil || got.Text != "AHOY MATEY, WIE GEHT'S?" || got.Calls != calls {
				t.Errorf("%s: %q, %v", name, out, err)
			}
		}
	}
	for _, want := range []string{"info initialised", "info ready: yes"} {
		if !slices.Contains(l.said, want) {
			t.Errorf("%q was not logged: %q", want, l.said)
		}
	}
	_, err = extism.New(extism.Config{}).Call(t.Context(), instances["New"], "shout", nil)
	if f, ok := errors.AsType[*extism.Failure](err); !ok || f.Code != 2 || f.Message != "no greeting is configured" {
		t.Errorf("without configuration: %v", err)
	}
}

func TestRust(t *testing.T) {
	h := extism.New(extism.Config{})
	i := plugin(t, module(t, "plugin.rs"), h)
	in := strings.Repeat("rust ", 1001)
	if out, err := h.Call(t.Context(), i, "echo", []byte(in)); err != nil || string(out) != in {
		t.Errorf("got %d bytes, %v", len(out), err)
	}
	if _, err := h.Call(t.Context(), i, "fail", []byte("oxidised")); err == nil || err.Error() != "oxidised" {
		t.Errorf("got %v", err)
	}
}

func TestHTTP(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		b, _ := io.ReadAll(r.Body)
		w.Header().Set("Content-Type", "text/x")
		w.WriteHeader(http.StatusTeapot)
		_, _ = w.Write([]byte(r.Method + " " + r.Header.Get("X-Test") + " " + string(b)))
	}))
	t.Cleanup(server.Close)
	h := extism.New(extism.Config{HTTP: server.Client()})
	out, err := h.Call(t.Context(), plugin(t, module(t, "plugin/main.go"), h), "fetch", []byte(server.URL))
	if want := `{"body":"POST from Go the body","status":418,"type":"text/x"}`; err != nil || string(out) != want {
		t.Errorf("Go: got %s, %v", out, err)
	}
	asked := `{"url":"` + server.URL + `","headers":{"X-Test":"from C"}}`
	out, err = h.Call(t.Context(), plugin(t, module(t, "plugin.c"), h), "fetch", []byte(asked))
	if err != nil || !strings.HasPrefix(string(out), "\xa2\x01\x00\x00{") || !strings.HasSuffix(string(out), "}GET from C the body") {
		t.Errorf("C: got %q, %v", out, err)
	}
}

func TestHTTPRefused(t *testing.T) {
	big := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = w.Write(make([]byte, 101))
	}))
	t.Cleanup(big.Close)
	for want, c := range map[string]extism.Config{
		"HTTP requests are not allowed":           {},
		"the response is larger than allowed":     {HTTP: big.Client(), MaxResponse: 100},
		"only asking":                             {HTTP: refusal{}},
		"the Extism memory has no room for 101 b": {HTTP: big.Client(), MaxMemory: 350},
	} {
		call, i := started(t, c)
		_, err := call("fetch", `{"url":"`+big.URL+`"}`)
		f, ok := errors.AsType[*extism.Failure](err)
		if !ok || f.Ended == nil || !strings.Contains(f.Error(), want) {
			t.Errorf("%s: %v", want, err)
			continue
		}
		<-i.Done()
	}
}

type refusal struct{}

func (refusal) Do(*http.Request) (*http.Response, error) { return nil, errors.New("only asking") }

// A request under way ends with the call.
func TestHTTPIsInterrupted(t *testing.T) {
	asked := make(chan struct{})
	h := extism.New(extism.Config{HTTP: waiting(asked)})
	i := plugin(t, module(t, "plugin.c"), h)
	ctx, cancel := context.WithCancel(t.Context())
	go func() { <-asked; cancel() }()
	_, err := h.Call(ctx, i, "fetch", []byte(`{"url":"http://example.com"}`))
	if f, ok := errors.AsType[*extism.Failure](err); !ok || f.Ended == nil || f.Ended.Exit.Reason != wasmrt.StoppedReason {
		t.Errorf("got %v", err)
	}
}

type waiting chan struct{}

func (w waiting) Do(r *http.Request) (*http.Response, error) {
	close(w)
	<-r.Context().Done()
	return nil, r.Context().Err()
}

// A plugin that is a command leaves its output behind when it exits, and the
// embedder's own functions get at what it hands them.
func TestCommandAndUserFunction(t *testing.T) {
	e := engine(t)
	err := e.Provide(wasmrt.HostModule{Name: "extism:host/user", Functions: []wasmrt.HostFunction{{
		Name: "upper", Params: []wasmrt.ValueType{wasmrt.I64}, Results: []wasmrt.ValueType{wasmrt.I64},
		Call: func(ctx context.Context, c wasmrt.Caller, stack []uint64) {
			b, err := extism.Take(c, stack[0])
			if err != nil {
				c.Fail(err)
			}
			if stack[0], err = extism.Give(ctx, c, bytes.ToUpper(b)); err != nil {
				c.Fail(err)
			}
		},
	}}})
	if err != nil {
		t.Fatal(err)
	}
	path, err := filepath.Abs("testdata/command.c")
	if err != nil {
		t.Fatal(err)
	}
	m, err := e.CompileFile(t.Context(), wasmtest.Build(t, path))
	if err != nil {
		t.Fatal(err)
	}
	h := extism.New(extism.Config{})
	i := plugin(t, m, h)
	out, err := h.Call(t.Context(), i, "_start", []byte("do it"))
	if err != nil || string(out) != "DO IT" {
		t.Errorf("got %q, %v", out, err)
	}
	<-i.Done()
	_, err = h.Call(t.Context(), plugin(t, m, h), "_start", nil) // its handle is 0
	if err == nil || !strings.Contains(err.Error(), "there is no block at 0") {
		t.Errorf("without an input: %v", err)
	}
}
