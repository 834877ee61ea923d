package wasmrt_test

import (
	"bytes"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"

	"dhow.dev/dhow/wasmrt"
	"dhow.dev/dhow/wasmrt/wasmtest"
)

// example loads one of the repository's example guests, to be interpreted:
// under the race detector, compiling a Go guest takes half a minute.
func example(t *testing.T, name string) *wasmrt.Module {
	t.Helper()
	dir, err := filepath.Abs(filepath.Join("..", "examples", "guests", name))
	if err != nil {
		t.Fatal(err)
	}
	e := newEngine(t, wasmrt.Options{Interpret: true})
	m, err := e.CompileFile(t.Context(), wasmtest.Build(t, dir))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(m.Close)
	return m
}

func TestExampleWordcount(t *testing.T) {
	m := example(t, "wordcount")
	const want = "6 words, 3 different\n      3 the\n      2 sea\n      1 dhow\n"
	for name, c := range map[string]wasmrt.Config{
		"input":     {Args: []string{"wordcount"}, Stdin: strings.NewReader("The sea, the dhow.\nThe Sea!")},
		"arguments": {Args: []string{"wordcount", "the sea", "the dhow the sea"}},
	} {
		var out bytes.Buffer
		c.Stdout = &out
		if exit, err := m.Run(t.Context(), c); err != nil || exit.Code != 0 {
			t.Errorf("%s: %+v, %v", name, exit, err)
		}
		if out.String() != want {
			t.Errorf("%s: got %q", name, out.String())
		}
	}
}

func TestExampleTicker(t *testing.T) {
	m := example(t, "ticker")
	lines := make(writes, 16)
	i, err := m.Start(t.Context(), wasmrt.Config{Env: []string{"DHOW_INSTANCE=ticker-0-abcde", "TICK=1ms"}, Stdout: lines})
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"ticker-0-abcde tick 1 at ", "ticker-0-abcde tick 2 at "} {
		if got := <-lines; !strings.HasPrefix(got, want) {
			t.Errorf("got %q, want %q", got, want)
		}
	}
	i.Stop()
	for {
		select {
		case <-lines:
			continue
		case <-i.Done():
		}
		break
	}
	if i.Wait().Reason != wasmrt.StoppedReason {
		t.Errorf("exit is %+v", i.Wait())
	}
	exit, err := m.Run(t.Context(), wasmrt.Config{Env: []string{"TICK=often"}})
	if err != nil || exit.Code != 2 {
		t.Errorf("a bad TICK: %+v, %v", exit, err)
	}
}

// writes passes on what is written.
type writes chan string

func (w writes) Write(p []byte) (int, error) { w <- string(p); return len(p), nil }

func TestExampleHello(t *testing.T) {
	h := wasmrt.NewCGI(example(t, "hello"), wasmrt.CGIConfig{Env: []string{"DHOW_INSTANCE=hello-0-abcde"}})
	get := httptest.NewRecorder()
	h.ServeHTTP(get, httptest.NewRequest(http.MethodGet, "/some/path?name=dhow", nil))
	if get.Code != 200 || get.Header().Get("X-Instance") != "hello-0-abcde" ||
		get.Body.String() != "Hello, dhow!\nGET /some/path?name=dhow, answered by hello-0-abcde\n" {
		t.Errorf("got %d %v %q", get.Code, get.Header(), get.Body)
	}
	post := httptest.NewRecorder()
	h.ServeHTTP(post, httptest.NewRequest(http.MethodPost, "/", strings.NewReader("cargo")))
	if !strings.Contains(post.Body.String(), `You sent 5 bytes: "cargo"`) {
		t.Errorf("got %q", post.Body)
	}
}
