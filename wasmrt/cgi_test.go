package wasmrt_test

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"dhow.dev/dhow/wasmrt"
	"dhow.dev/dhow/wasmrt/wasmtest"
)

// serve serves a guest over a real socket.
func serve(t *testing.T, source string, c wasmrt.CGIConfig) (*httptest.Server, *wasmrt.Engine) {
	t.Helper()
	e := newEngine(t, wasmrt.Options{CacheDir: wasmtest.CodeDir(t)})
	m := load(t, e, source)
	s := httptest.NewServer(wasmrt.NewCGI(m, c))
	t.Cleanup(s.Close)
	return s, e
}

func do(t *testing.T, r *http.Request) (*http.Response, string) {
	t.Helper()
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp, string(b)
}

func request(t *testing.T, method, url string, body io.Reader) *http.Request {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, url, body)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestCGIRequest(t *testing.T) {
	s, _ := serve(t, "go/probe.go", wasmrt.CGIConfig{Env: []string{"INSTANCE=web-0", "SERVER_SOFTWARE=other"}})
	host, port, _ := strings.Cut(strings.TrimPrefix(s.URL, "http://"), ":")
	for name, body := range map[string]io.Reader{
		"known length":   strings.NewReader("some body"),
		"unknown length": io.MultiReader(strings.NewReader("some "), strings.NewReader("body")),
	} {
		r := request(t, http.MethodPut, s.URL+"/a/b%20c?x=1&y=2", body)
		r.Header.Set("Content-Type", "text/x-test")
		r.Header.Add("X-Test", "one")
		r.Header.Add("X-Test", "two")
		r.Header.Set("Proxy", "evil:1")
		resp, got := do(t, r)
		want := fmt.Sprintf("REQUEST_METHOD=PUT\nPATH_INFO=/a/b c\nQUERY_STRING=x=1&y=2\nCONTENT_LENGTH=9\nCONTENT_TYPE=text/x-test\n"+
			"SERVER_NAME=%s\nSERVER_PORT=%s\nSERVER_PROTOCOL=HTTP/1.1\nGATEWAY_INTERFACE=CGI/1.1\nSCRIPT_NAME=\nHTTP_X_TEST=one, two\nHTTP_PROXY=\nINSTANCE=web-0\nbody=some body\n", host, port)
		if got != want {
			t.Errorf("%s: got\n%s\nwant\n%s", name, got, want)
		}
		if resp.StatusCode != 201 || resp.Header.Get("X-Guest") != "yes" || resp.Header.Get("Content-Type") != "text/plain" {
			t.Errorf("%s: %d %v", name, resp.StatusCode, resp.Header)
		}
	}
	if _, got := do(t, request(t, http.MethodGet, s.URL, nil)); !strings.Contains(got, "CONTENT_LENGTH=\n") || !strings.Contains(got, "body=\n") {
		t.Errorf("without a body: %q", got)
	}
	if resp, got := do(t, request(t, http.MethodHead, s.URL, nil)); resp.StatusCode != 201 || got != "" {
		t.Errorf("HEAD: %d %q", resp.StatusCode, got)
	}
	if resp, got := do(t, request(t, http.MethodGet, s.URL+"/%00", nil)); resp.StatusCode != 400 || !strings.Contains(got, "NUL") {
		t.Errorf("NUL: %d %q", resp.StatusCode, got)
	}
}

func TestCGIInEachLanguage(t *testing.T) {
	for source, want := range map[string]string{"c/probe.c": "hello from C: /x\n", "rust/probe.rs": "hello from Rust: /x\n"} {
		s, _ := serve(t, source, wasmrt.CGIConfig{})
		if resp, got := do(t, request(t, http.MethodGet, s.URL+"/x", nil)); resp.StatusCode != 200 || got != want {
			t.Errorf("%s: %d %q", source, resp.StatusCode, got)
		}
	}
}

// TestCGIFailures: what clients see of guests that fail.
func TestCGIFailures(t *testing.T) {
	s, e := serve(t, "go/probe.go", wasmrt.CGIConfig{Timeout: 200 * time.Millisecond, MaxBody: 100, MaxHeader: 1000})
	ask := func(query string) (int, string) {
		resp, body := do(t, request(t, http.MethodGet, s.URL+"/?"+query, nil))
		return resp.StatusCode, body
	}
	for query, want := range map[string]struct {
		status int
		says   string
	}{
		"fail":     {502, "exited with code 3"},
		"noheader": {502, "no header"},
		"spin":     {504, "within 200ms"},
		"wait":     {504, "within 200ms"},
		"header=" + url.PathEscape("Status: 700\n\n"):                                    {502, "700"},
		"header=" + url.PathEscape("Status: 100\n\n"):                                    {502, "100"},
		"header=" + url.PathEscape("no colon\n\n"):                                       {502, "no colon"},
		"header=" + url.PathEscape("X: y\n\n"):                                           {502, "Content-Type"},
		"header=" + strings.Repeat("x", 1001):                                            {502, "1000 bytes"},
		"header=" + url.PathEscape("Location: /there\n\n"):                               {302, ""},
		"header=" + url.PathEscape("Content-Type: a/b\nContent-Length: many\n\n"):        {502, "Content-Length"},
		"header=" + url.PathEscape("Content-Type: a/b\nTransfer-Encoding: gzip\n\nbody"): {200, "body"},
		"header=" + url.PathEscape("Status: 204 No Content\n\n"):                         {204, ""},
	} {
		if strings.HasPrefix(query, "header=Location") {
			continue // the client would follow it
		}
		if status, body := ask(query); status != want.status || !strings.Contains(body, want.says) {
			t.Errorf("%.40s: got %d %q, want %d %q", query, status, body, want.status, want.says)
		}
	}
	resp, body := do(t, request(t, http.MethodPost, s.URL, strings.NewReader(strings.Repeat("x", 101))))
	if resp.StatusCode != 413 || !strings.Contains(body, "100 bytes") {
		t.Errorf("large body: %d %q", resp.StatusCode, body)
	}
	resp, body = do(t, request(t, http.MethodPost, s.URL, io.MultiReader(strings.NewReader(strings.Repeat("x", 101)))))
	if resp.StatusCode != 413 {
		t.Errorf("large body of unknown length: %d %q", resp.StatusCode, body)
	}
	if e.Running() != 0 {
		t.Errorf("%d guests left", e.Running())
	}
}

// TestCGIHalfAnAnswerIsCut: a guest that traps in its body must not look as
// if it had finished.
func TestCGIHalfAnAnswerIsCut(t *testing.T) {
	s, _ := serve(t, "c/half.c", wasmrt.CGIConfig{})
	resp, err := http.DefaultClient.Do(request(t, http.MethodGet, s.URL, nil))
	if err == nil {
		defer resp.Body.Close()
		_, err = io.ReadAll(resp.Body)
	}
	if err == nil {
		t.Error("the client took half an answer for a whole one")
	}
}

func TestCGIStreams(t *testing.T) {
	s, _ := serve(t, "go/probe.go", wasmrt.CGIConfig{})
	body, in := io.Pipe()
	r := request(t, http.MethodPost, s.URL+"/?stream", body)
	r.ContentLength = 3 // unknown ones are read before the run
	answer := make(chan *http.Response, 1)
	go func() {
		resp, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Error(err)
		}
		answer <- resp
	}()
	if _, err := in.Write([]byte("a")); err != nil {
		t.Fatal(err)
	}
	resp := <-answer // the header came while the guest still reads
	if resp == nil {
		return
	}
	defer resp.Body.Close()
	lines := bufio.NewReader(resp.Body)
	if l, err := lines.ReadString('\n'); l != "first\n" || err != nil {
		t.Errorf("got %q, %v", l, err)
	}
	if _, err := in.Write([]byte("bc")); err != nil {
		t.Fatal(err)
	}
	in.Close()
	if l, err := lines.ReadString('\n'); l != "second\n" || err != nil {
		t.Errorf("got %q, %v", l, err)
	}
}

// TestCGIClientLeaves: the guest of a client that has gone is interrupted,
// in a tight loop, in sleep, and while it waits for the body.
func TestCGIClientLeaves(t *testing.T) {
	ended := make(chan wasmrt.Exit, 1)
	s, e := serve(t, "go/probe.go", wasmrt.CGIConfig{
		Timeout: time.Hour,
		Observe: func(exit wasmrt.Exit, _ time.Duration) { ended <- exit },
	})
	for _, query := range []string{"spin", "wait", "stream"} {
		ctx, cancel := context.WithCancel(t.Context())
		body, in := io.Pipe()
		r := request(t, http.MethodPost, s.URL+"/?"+query, nil).WithContext(ctx)
		if query == "stream" {
			r.Body, r.ContentLength = body, 3
		}
		left := make(chan struct{})
		go func() {
			defer close(left)
			if resp, err := http.DefaultClient.Do(r); err == nil {
				_, _ = io.ReadAll(resp.Body)
				resp.Body.Close()
			}
		}()
		for e.Running() == 0 { // until the guest is there
			select {
			case exit := <-ended:
				t.Fatalf("%s: it ended by itself: %+v", query, exit)
			default:
			}
		}
		cancel()
		in.Close()
		<-left
		exit := <-ended
		if query != "stream" && exit.Reason != wasmrt.StoppedReason {
			t.Errorf("%s: exit is %+v", query, exit)
		}
		for e.Running() != 0 {
		}
	}
}

// TestCGIBound: so many run, so many wait, and the rest is told to come back.
func TestCGIBound(t *testing.T) {
	gate := make(chan struct{})
	var running, most atomic.Int64
	e := newEngine(t, wasmrt.Options{CacheDir: wasmtest.CodeDir(t)})
	h := wasmrt.NewCGI(load(t, e, "c/probe.c"), wasmrt.CGIConfig{MaxConcurrent: 2, MaxQueue: 3})
	answers := make(chan *httptest.ResponseRecorder, 10)
	bodies := make(chan struct{}, 10)
	for range 10 {
		go func() {
			w := httptest.NewRecorder()
			r := httptest.NewRequest(http.MethodPost, "/x", bodyFunc(func([]byte) (int, error) {
				most.Store(max(most.Load(), running.Add(1)))
				bodies <- struct{}{}
				<-gate
				running.Add(-1)
				return 0, io.EOF
			}))
			r.ContentLength = -1 // read in the slot, before the run
			h.ServeHTTP(w, r)
			answers <- w
		}()
	}
	busy := 0
	for range 5 { // those that find no place in the queue return
		w := <-answers
		if w.Code != http.StatusServiceUnavailable || w.Header().Get("Retry-After") == "" {
			t.Errorf("got %d %v", w.Code, w.Header())
		}
		busy++
	}
	<-bodies
	<-bodies
	close(gate)
	for range 5 {
		if w := <-answers; w.Code != 200 {
			t.Errorf("got %d %q", w.Code, w.Body)
		}
	}
	if most.Load() > 2 || busy != 5 {
		t.Errorf("%d ran at a time, %d were turned away", most.Load(), busy)
	}
	// Who leaves the queue takes no run.
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/x", nil).WithContext(ctx))
	if e.Running() != 0 {
		t.Error("a guest runs for nobody")
	}
}

type bodyFunc func([]byte) (int, error)

func (f bodyFunc) Read(p []byte) (int, error) { return f(p) }

func TestCGIParallel(t *testing.T) {
	var stderr lockedBuffer
	s, e := serve(t, "go/probe.go", wasmrt.CGIConfig{Stderr: &stderr})
	var wg sync.WaitGroup
	for n := range 40 {
		wg.Go(func() {
			r := request(t, http.MethodPost, fmt.Sprintf("%s/%d", s.URL, n), strings.NewReader(fmt.Sprint("body ", n)))
			resp, err := http.DefaultClient.Do(r)
			if err != nil {
				t.Error(err)
				return
			}
			defer resp.Body.Close()
			b, err := io.ReadAll(resp.Body)
			if err != nil || !strings.Contains(string(b), fmt.Sprintf("PATH_INFO=/%d\n", n)) || !strings.HasSuffix(string(b), fmt.Sprintf("body=body %d\n", n)) {
				t.Errorf("request %d: %v %q", n, err, b)
			}
		})
	}
	wg.Wait()
	for e.Running() != 0 {
	}
}

type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}
