package host_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"

	"dhow.dev/dhow/wasmrt"
	"dhow.dev/dhow/wasmrt/host"
	"dhow.dev/dhow/wasmrt/wasmtest"
)

func newEngine(tb testing.TB) *wasmrt.Engine {
	tb.Helper()
	e, err := wasmrt.NewEngine(tb.Context(), wasmrt.Options{CacheDir: wasmtest.CodeDir(tb), Host: host.Modules()})
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { _ = e.Close() })
	return e
}

func load(tb testing.TB, e *wasmrt.Engine, source string) *wasmrt.Module {
	tb.Helper()
	path, err := filepath.Abs(filepath.Join("testdata", source))
	if err != nil {
		tb.Fatal(err)
	}
	m, err := e.CompileFile(tb.Context(), wasmtest.Build(tb, path))
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(m.Close)
	return m
}

// eachGuest runs a test on the same guest in each language.
func eachGuest(t *testing.T, f func(t *testing.T, m *wasmrt.Module)) {
	t.Helper()
	e := newEngine(t)
	for _, source := range []string{"host.c", "host.rs", "host.go"} {
		m := load(t, e, source)
		t.Run(source, func(t *testing.T) { f(t, m) })
	}
}

// expect runs calls, each a name and two parameters and what it is to print.
func expect(t *testing.T, m *wasmrt.Module, p host.Policy, calls ...[4]string) {
	t.Helper()
	args := []string{"host"}
	for _, c := range calls {
		args = append(args, c[0], c[1], c[2])
	}
	var out, stderr bytes.Buffer
	exit, err := m.Run(host.With(t.Context(), p), wasmrt.Config{Args: args, Stdout: &out, Stderr: &stderr})
	if err != nil || exit.Code != 0 {
		t.Fatalf("%v, exit %+v, %s", err, exit, stderr.String())
	}
	for _, c := range calls {
		line, err := out.ReadString('\n')
		for n := strings.Count(c[3], "\n"); n > 0; n-- {
			more, _ := out.ReadString('\n')
			line += more
		}
		if got := strings.TrimSuffix(line, "\n"); err != nil || got != c[3] {
			t.Errorf("%s %q %q: got %q, want %q", c[0], c[1], c[2], got, c[3])
		}
	}
}

// echo is a Invoker.
type echo struct{}

func (echo) Invoke(ctx context.Context, name string, input []byte) ([]byte, error) {
	switch name {
	case "echo":
		return append([]byte("heard "), input...), nil
	case "depth":
		return fmt.Append(nil, host.Depth(ctx)), nil
	}
	return nil, fmt.Errorf("function %w", host.ErrNotFound)
}

func TestGuests(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		b, _ := io.ReadAll(r.Body)
		w.Header().Set("Content-Type", "text/x-test")
		w.WriteHeader(http.StatusTeapot)
		fmt.Fprintf(w, "%s %s %s %q", r.Method, r.URL.Path, r.Header.Get("X-Mine"), b)
	}))
	defer server.Close()
	requests, err := host.NewHTTP(host.HTTPOptions{Allow: []string{server.URL}})
	if err != nil {
		t.Fatal(err)
	}
	defer requests.Close()
	eachGuest(t, func(t *testing.T, m *wasmrt.Module) {
		var logged []string
		p := host.Policy{
			HTTP:    requests,
			Config:  map[string]string{"greeting": "ahoy, a long one", "empty": ""},
			Secrets: map[string]string{"password": "sesame"},
			Store:   host.NewMemory(host.StoreLimits{}),
			Invoker: echo{},
			Log:     func(l host.Level, text string) { logged = append(logged, l.String()+" "+text) },
		}
		expect(t, m, p,
			[4]string{"log", "0", "first", ""},
			[4]string{"log", "3", "second ü", ""},
			[4]string{"log", "9", "third", "-3 log: invalid: no level 9"},
			[4]string{"config", "greeting", "", "ahoy, a long one"},
			[4]string{"config", "empty", "", ""},
			[4]string{"config", "password", "", `-1 config_get: "password": not found`},
			[4]string{"secret", "password", "", "sesame"},
			[4]string{"secret", "", "", "-3 secret_get: invalid: empty"},
			[4]string{"get", "k", "", `-1 kv_get: "k": not found`},
			[4]string{"set", "k", "a value", ""},
			[4]string{"set", "k/2", "", ""},
			[4]string{"set", "l", "x", ""},
			[4]string{"get", "k", "", "a value"},
			[4]string{"get", "k/2", "", ""},
			[4]string{"list", "k", "", "k\nk/2\n"},
			[4]string{"list", "", "k", "k/2\nl\n"},
			[4]string{"list", "none", "", ""},
			[4]string{"delete", "k", "", ""},
			[4]string{"get", "k", "", `-1 kv_get: "k": not found`},
			[4]string{"add", "count", "5", "5"},
			[4]string{"add", "count", "-7", "-2"},
			[4]string{"get", "count", "", "-2"},
			[4]string{"add", "l", "1", `-3 kv_add: invalid: the value of "l" is no number`},
			[4]string{"set", "bad\nkey", "x", "-3 kv_set: invalid: a key has no control characters"},
			[4]string{"http", "POST " + server.URL + "/path\nX-Mine: yes\n", "body", `418 text/x-test 21:POST /path yes "body"`},
			[4]string{"http", "GET https://example.com/", "", "-2 http_send: not allowed: https://example.com:443 is not on the list"},
			[4]string{"http", "nonsense", "", "-3 http_send: invalid: the first line is no method and URL"},
			[4]string{"invoke", "echo", "this", "10:heard this"},
			[4]string{"invoke", "depth", "", "1:1"},
			[4]string{"invoke", "none", "", `-1 invoke: invoking "none": function not found`},
		)
		if want := []string{"debug first", "error second ü"}; fmt.Sprint(logged) != fmt.Sprint(want) {
			t.Errorf("logged %q", logged)
		}
	})
}

// TestNothingIsAllowedWithoutPolicy: what is not given is denied.
func TestNothingIsAllowedWithoutPolicy(t *testing.T) {
	m := load(t, newEngine(t), "host.c")
	expect(t, m, host.Policy{},
		[4]string{"log", "0", "nobody hears", ""},
		[4]string{"config", "x", "", `-1 config_get: "x": not found`},
		[4]string{"secret", "x", "", `-1 secret_get: "x": not found`},
		[4]string{"get", "x", "", "-2 kv_get: not allowed: this guest has no store"},
		[4]string{"set", "x", "y", "-2 kv_set: not allowed: this guest has no store"},
		[4]string{"list", "x", "", "-2 kv_list: not allowed: this guest has no store"},
		[4]string{"http", "GET http://127.0.0.1/", "", "-2 http_send: not allowed: this guest makes no requests"},
		[4]string{"invoke", "x", "", "-2 invoke: not allowed: this guest invokes nothing"},
	)
	var out bytes.Buffer // no policy at all
	if _, err := m.Run(t.Context(), wasmrt.Config{Args: []string{"host", "get", "x", ""}, Stdout: &out}); err != nil || !strings.HasPrefix(out.String(), "-2 ") {
		t.Errorf("got %v, %s", err, out.String())
	}
}

// runner invokes the guest itself, with the policy of its own.
type runner struct {
	m      *wasmrt.Module
	policy func(inner context.Context) context.Context
}

func (r *runner) Invoke(ctx context.Context, name string, input []byte) ([]byte, error) {
	var out bytes.Buffer
	_, err := r.m.Run(r.policy(ctx), wasmrt.Config{Args: []string{"host", "invoke", name, string(input)}, Stdout: &out})
	return out.Bytes(), err
}

// TestInvokeIsBounded: functions that invoke one another without end come to
// an end, and one that is invoked has no policy of its caller's.
func TestInvokeIsBounded(t *testing.T) {
	m := load(t, newEngine(t), "host.c")
	calls := 0
	r := &runner{m: m}
	p := host.Policy{Invoker: r, MaxDepth: 5}
	r.policy = func(ctx context.Context) context.Context { calls++; return host.With(ctx, p) }
	var out bytes.Buffer
	if _, err := m.Run(host.With(t.Context(), p), wasmrt.Config{Args: []string{"host", "invoke", "self", ""}, Stdout: &out}); err != nil {
		t.Fatal(err)
	}
	if calls != 5 || !strings.Contains(out.String(), "-2 invoke: not allowed: 5 functions have invoked one another already") {
		t.Errorf("%d calls, %s", calls, out.String())
	}
	r.policy = func(ctx context.Context) context.Context { return ctx }
	out.Reset()
	if _, err := m.Run(host.With(t.Context(), p), wasmrt.Config{Args: []string{"host", "invoke", "self", ""}, Stdout: &out}); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(out.String(), "-2 invoke: not allowed: this guest invokes nothing") {
		t.Errorf("the invoked one could: %s", out.String())
	}
}
