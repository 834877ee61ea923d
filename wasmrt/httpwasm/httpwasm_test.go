package httpwasm_test

import (
	"bytes"
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"dhow.dev/dhow/wasmrt"
	"dhow.dev/dhow/wasmrt/httpwasm"
	"dhow.dev/dhow/wasmrt/wasmtest"
)

func module(tb testing.TB, source string) *wasmrt.Module {
	tb.Helper()
	e, err := wasmrt.NewEngine(tb.Context(), wasmrt.Options{
		CacheDir: wasmtest.CodeDir(tb), Host: []wasmrt.HostModule{httpwasm.Module()},
	})
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { _ = e.Close() })
	path, err := filepath.Abs(filepath.Join("testdata", source))
	if err != nil {
		tb.Fatal(err)
	}
	m, err := e.CompileFile(tb.Context(), wasmtest.Reactor(tb, path))
	if err != nil {
		tb.Fatal(err)
	}
	return m
}

func pool(tb testing.TB, m *wasmrt.Module, h *httpwasm.Host) *wasmrt.Pool {
	tb.Helper()
	p := wasmrt.NewPool(wasmrt.PoolConfig{Max: 2, New: func(ctx context.Context) (*wasmrt.Instance, error) {
		return m.New(h.With(ctx), wasmrt.Config{})
	}})
	tb.Cleanup(p.Close)
	return p
}

// seen is what the next handler saw of a request.
type seen struct {
	*http.Request

	calls int
	body  string
}

// next answers, and keeps what it was asked.
func next(s *seen) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.calls++
		s.Request = r
		b, err := io.ReadAll(r.Body)
		s.body = string(b)
		if err != nil {
			s.body = err.Error()
		}
		w.Header().Set("X-Next", "original")
		w.Header().Set("Content-Length", "15")
		w.WriteHeader(http.StatusAccepted)
		_, _ = w.Write([]byte("the next's body"))
	})
}

type answer struct {
	*http.Response

	body string
	err  error // of reading the body
}

// ask sends a request that tells the guest what to do.
func ask(t *testing.T, url, do, body string) answer {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	r.Header = http.Header{"Do": {do}, "X-Many": {"one", "two"}, "X-Gone": {"x"}}
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		return answer{Response: &http.Response{}, err: err}
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	return answer{resp, string(b), err}
}

func serve(t *testing.T, c httpwasm.Config) (url string, s *seen) {
	t.Helper()
	s = &seen{}
	h := httpwasm.New(c)
	server := httptest.NewServer(h.Handler(pool(t, module(t, "middleware.c"), h), next(s)))
	t.Cleanup(server.Close)
	return server.URL, s
}

func TestGuestAnswers(t *testing.T) {
	url, s := serve(t, httpwasm.Config{Guest: []byte("the config")})
	a := ask(t, url+"/a%20b?c", "tell", "")
	want := "POST /a%20b?c HTTP/1.1 from somewhere " +
		"accept-encoding\x00content-length\x00do\x00host\x00user-agent\x00x-gone\x00x-many\x00one\x00two\x00the config"
	if a.StatusCode != 203 || a.body != want || !slices.Equal(a.Header["X-Answer"], []string{"guest", "too"}) {
		t.Errorf("got %d %q %q", a.StatusCode, a.body, a.Header)
	}
	if a := ask(t, url, "nothing", "x"); a.StatusCode != 200 || a.body != "" {
		t.Errorf("an empty answer is %d %q", a.StatusCode, a.body)
	}
	if a := ask(t, url, "deny", "x"); a.StatusCode != 401 || a.body != "" {
		t.Errorf("an answer without a body is %d %q", a.StatusCode, a.body)
	}
	if s.calls != 0 {
		t.Error("the next handler was called")
	}
}

func TestGuestChangesRequest(t *testing.T) {
	url, s := serve(t, httpwasm.Config{})
	a := ask(t, url, "change", "the body")
	if a.StatusCode != 202 || a.body != "the next's body" {
		t.Fatalf("got %d %q, %v", a.StatusCode, a.body, a.err)
	}
	if s.Method != "PUT" || s.URL.Path != "/new path" || s.URL.RawQuery != "a=b" || s.RequestURI != "/new%20path?a=b" || s.Host != "example.com" {
		t.Errorf("next got %s %v %s", s.Method, s.URL, s.Host)
	}
	if s.body != "another body" || s.ContentLength != 12 {
		t.Errorf("next got %q of %d", s.body, s.ContentLength)
	}
	if h := s.Header; h.Get("X-Set") != "1" || h.Get("X-Gone") != "" || !slices.Equal(h["X-Many"], []string{"one", "two", "three"}) {
		t.Errorf("next got %q", h)
	}
}

func TestRequestBody(t *testing.T) {
	url, s := serve(t, httpwasm.Config{})
	body := strings.Repeat("body ", 100_000)
	if a := ask(t, url, "pass", body); a.StatusCode != 202 || s.body != body {
		t.Errorf("a body not read: %d, next got %d bytes", a.StatusCode, len(s.body))
	}
	if a := ask(t, url, "peek", body[:1000]); a.StatusCode != 202 || s.body != body[:1000] || s.Header.Get("X-Body") != body[:1000] {
		t.Errorf("a body that is kept: %d, next got %q and %q", a.StatusCode, s.body, s.Header.Get("X-Body"))
	}
	if a := ask(t, url, "consume", "gone"); a.StatusCode != 202 || s.body != "" || s.Header.Get("X-Body") != "gone" {
		t.Errorf("a body that is not kept: %d, next got %q and %q", a.StatusCode, s.body, s.Header.Get("X-Body"))
	}
}

func TestRequestBodyIsBounded(t *testing.T) {
	url, s := serve(t, httpwasm.Config{MaxBody: 1000, MaxHeader: 10_000})
	if a := ask(t, url, "peek", strings.Repeat("x", 1000)); a.StatusCode != 202 || len(s.body) != 1000 {
		t.Errorf("a body just small enough: %d, next got %d bytes", a.StatusCode, len(s.body))
	}
	if a := ask(t, url, "peek", strings.Repeat("x", 1001)); a.StatusCode != 413 || s.calls != 1 {
		t.Errorf("a body too large: %d, %d calls of next", a.StatusCode, s.calls)
	}
	if a := ask(t, url, "pass", strings.Repeat("x", 100_000)); a.StatusCode != 202 || len(s.body) != 100_000 {
		t.Errorf("a body that is not kept: %d, next got %d bytes", a.StatusCode, len(s.body))
	}
	if a := ask(t, url, "large body", ""); a.StatusCode != 413 && a.StatusCode != 502 {
		t.Errorf("a guest that writes too much: %d", a.StatusCode)
	}
}

func TestResponse(t *testing.T) {
	url, _ := serve(t, httpwasm.Config{})
	a := ask(t, url, "see", "")
	if a.StatusCode != 202 || a.body != "the next's body" || a.Header.Get("X-Status") != "202" || a.Header.Get("X-Next") != "changed" {
		t.Errorf("an answer that was seen: %d %q %q", a.StatusCode, a.body, a.Header)
	}
	if a.Trailer.Get("X-Trailer") != "guest's" || a.Header.Get("X-Trailers") != "x-trailer" {
		t.Errorf("trailers %q, as the guest sees them %q", a.Trailer, a.Header.Get("X-Trailers"))
	}
	a = ask(t, url, "replace", "")
	if a.StatusCode != 299 || a.body != ">THE NEXT'S BODY" || a.Header.Get("X-Status") != "202" {
		t.Errorf("an answer that was replaced: %d %q %q", a.StatusCode, a.body, a.Header)
	}
}

func TestResponseIsBounded(t *testing.T) {
	url, _ := serve(t, httpwasm.Config{MaxBody: 14})
	if a := ask(t, url, "see", ""); a.StatusCode != 502 {
		t.Errorf("an answer of 15 bytes where 14 are kept: %d %q", a.StatusCode, a.body)
	}
	if a := ask(t, url, "rescue", ""); a.StatusCode != 599 || a.body != "sorry" {
		t.Errorf("the same, and the guest has another: %d %q", a.StatusCode, a.body)
	}
	if a := ask(t, url, "pass", ""); a.StatusCode != 202 || a.body != "the next's body" {
		t.Errorf("an answer that is not kept: %d %q", a.StatusCode, a.body)
	}
}

// What a guest may not do ends it, and nothing gets past it.
func TestGuestBreaksRules(t *testing.T) {
	url, s := serve(t, httpwasm.Config{})
	for _, do := range []string{
		"trap", "read far", "read none", "write far", "names far", "bad kind", "bad body", "bad name", "bad value",
		"bad status", "bad method", "bad uri", "smuggle", "trailers unasked", "many fields",
	} {
		if a := ask(t, url, do, "body"); a.StatusCode != 502 || !strings.Contains(a.body, "the module failed: Trapped") {
			t.Errorf("%s: %d %q", do, a.StatusCode, a.body)
		}
		if s.calls != 0 {
			t.Fatalf("%s: the next handler was called", do)
		}
	}
	for _, do := range []string{"late status", "late header", "late body", "late request", "trap late"} {
		if a := ask(t, url, do, ""); a.err == nil {
			t.Errorf("%s: %d %q, and the connection stayed", do, a.StatusCode, a.body)
		}
	}
	if a := ask(t, url, "partial", ""); a.err == nil {
		t.Errorf("half an answer was taken for a whole one: %q", a.body)
	}
	if a := ask(t, url, "pass", ""); a.StatusCode != 202 {
		t.Errorf("afterwards: %d", a.StatusCode)
	}
}

func TestTimeout(t *testing.T) {
	url, s := serve(t, httpwasm.Config{Timeout: 50 * time.Millisecond})
	if a := ask(t, url, "spin", ""); a.StatusCode != 504 || s.calls != 0 {
		t.Errorf("an endless guest: %d %q", a.StatusCode, a.body)
	}
}

// A guest that waits for a body that does not come is brought back.
func TestTimeoutOfBody(t *testing.T) {
	url, _ := serve(t, httpwasm.Config{Timeout: 50 * time.Millisecond})
	body, w := io.Pipe()
	defer w.Close()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, url, body)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Do", "peek")
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != 504 {
		t.Errorf("got %d", resp.StatusCode)
	}
}

func TestFeaturesFromStart(t *testing.T) {
	url, s := serve(t, httpwasm.Config{Guest: []byte("+")})
	a := ask(t, url, "consume", "the body") // which the feature keeps
	if a.StatusCode != 202 || s.body != "the body" {
		t.Errorf("got %d, next got %q", a.StatusCode, s.body)
	}
	told := make(chan string, 1)
	url, s = serve(t, httpwasm.Config{
		Guest: []byte("+"), Refuse: httpwasm.BufferRequest,
		Log: func(_ context.Context, _ httpwasm.Level, m string) { told <- m },
	})
	if a := ask(t, url, "consume", "the body"); a.StatusCode != 202 || s.body != "" {
		t.Errorf("with the feature refused: %d, next got %q", a.StatusCode, s.body)
	}
	if m := <-told; m != "initialised 6" {
		t.Errorf("with a feature refused, the guest has the features of %q", m)
	}
}

// Guests from a snapshot begin with what start code asked for.
func TestSnapshot(t *testing.T) {
	h := httpwasm.New(httpwasm.Config{Guest: []byte("+")})
	image, err := module(t, "middleware.c").Snapshot(h.With(t.Context()), wasmrt.Config{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(image.Close)
	p := wasmrt.NewPool(wasmrt.PoolConfig{New: func(ctx context.Context) (*wasmrt.Instance, error) {
		return image.New(h.With(ctx), wasmrt.Config{})
	}})
	t.Cleanup(p.Close)
	s := &seen{}
	server := httptest.NewServer(h.Handler(p, next(s)))
	t.Cleanup(server.Close)
	if a := ask(t, server.URL, "consume", "kept"); a.StatusCode != 202 || s.body != "kept" {
		t.Errorf("got %d, next got %q", a.StatusCode, s.body)
	}
}

func TestLog(t *testing.T) {
	var mu sync.Mutex
	var said []string
	url, _ := serve(t, httpwasm.Config{Log: func(_ context.Context, l httpwasm.Level, m string) {
		mu.Lock()
		defer mu.Unlock()
		said = append(said, m)
	}})
	if a := ask(t, url, "peek later", "the body"); a.StatusCode != 202 {
		t.Errorf("got %d", a.StatusCode)
	}
	mu.Lock()
	defer mu.Unlock()
	if !slices.Equal(said, []string{"initialised 0", "the body"}) {
		t.Errorf("logged %q", said)
	}
}

// The next handler's panic is its server's concern, and the guest hears of it.
func TestNextPanics(t *testing.T) {
	var said bytes.Buffer
	h := httpwasm.New(httpwasm.Config{LogLevel: httpwasm.Error, Log: func(_ context.Context, _ httpwasm.Level, m string) { said.WriteString(m) }})
	handler := h.Handler(pool(t, module(t, "middleware.c"), h), http.HandlerFunc(func(http.ResponseWriter, *http.Request) { panic("oops") }))
	defer func() {
		if r := recover(); r != "oops" || said.String() != "the next handler failed" {
			t.Errorf("panicked with %v, the guest said %q", r, &said)
		}
	}()
	handler.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest(http.MethodGet, "/", nil))
}

func TestNoGuestIsFree(t *testing.T) {
	h := httpwasm.New(httpwasm.Config{})
	w := httptest.NewRecorder()
	h.Handler(none{}, next(&seen{})).ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/", nil))
	if w.Code != http.StatusServiceUnavailable {
		t.Errorf("got %d", w.Code)
	}
}

type none struct{}

func (none) Do(context.Context, func(context.Context, *wasmrt.Instance) error) error {
	return &wasmrt.Error{Reason: wasmrt.ReasonBusy, Message: "busy"}
}

func TestGo(t *testing.T) {
	h := httpwasm.New(httpwasm.Config{Guest: []byte("sesame")})
	m := module(t, "auth.go")
	image, err := m.Snapshot(h.With(t.Context()), wasmrt.Config{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(image.Close)
	copies := wasmrt.NewPool(wasmrt.PoolConfig{New: func(ctx context.Context) (*wasmrt.Instance, error) {
		return image.New(h.With(ctx), wasmrt.Config{})
	}})
	t.Cleanup(copies.Close)
	for name, guests := range map[string]httpwasm.Guests{"New": pool(t, m, h), "Snapshot": copies} {
		s := &seen{}
		handler := h.Handler(guests, next(s))
		for n, password := range []string{"", "sesame", "open", "sesame"} {
			r := httptest.NewRequest(http.MethodGet, "/", nil)
			r.Header.Set("Authorization", password)
			w := httptest.NewRecorder()
			handler.ServeHTTP(w, r)
			switch {
			case password != "sesame" && (w.Code != 401 || w.Body.String() != "who are you?"):
				t.Errorf("%s: %q got %d %q", name, password, w.Code, w.Body)
			case password == "sesame" && (w.Code != 202 || s.Header.Get("Authorization") != ""):
				t.Errorf("%s: %q got %d, next got %q", name, password, w.Code, s.Header)
			}
			if want := (n + 1) / 2; s.calls != want {
				t.Errorf("%s: %d calls of next after %d requests", name, s.calls, n+1)
			}
			if password == "sesame" && r.Header.Get("Authorization") == "" {
				t.Error("the client's own request was changed")
			}
		}
	}
}

// BenchmarkMiddleware is a request through a guest in Go that looks at a field
// and passes the request on.
func BenchmarkMiddleware(b *testing.B) {
	h := httpwasm.New(httpwasm.Config{Guest: []byte("sesame")})
	handler := h.Handler(pool(b, module(b, "auth.go"), h), http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	r := httptest.NewRequest(http.MethodGet, "/", nil)
	r.Header.Set("Authorization", "sesame")
	w := httptest.NewRecorder()
	for b.Loop() {
		handler.ServeHTTP(w, r)
	}
}

func TestCheck(t *testing.T) {
	const i, l = wasmrt.I32, wasmrt.I64
	types := func(t ...wasmrt.ValueType) []wasmrt.ValueType { return t }
	request := wasmrt.Export{Name: "handle_request", Results: types(l)}
	response := wasmrt.Export{Name: "handle_response", Params: types(i, i)}
	for want, exports := range map[string][]wasmrt.Export{
		"": {request, response, {Name: "other"}},
		"the module exports no function handle_request() -> i64, as http-wasm middleware does":        {response},
		"the module exports no function handle_response(i32, i32), as http-wasm middleware does":      {request},
		"the module exports handle_request(), and http-wasm wants handle_request() -> i64":            {{Name: "handle_request"}, response},
		"the module exports handle_response(i32, i64), and http-wasm wants handle_response(i32, i32)": {request, {Name: "handle_response", Params: types(i, l)}},
	} {
		err := httpwasm.Check(exports)
		if err == nil && want != "" || err != nil && err.Error() != want {
			t.Errorf("got %v, want %q", err, want)
		}
	}
}

// A guest with other functions than it should have gets no request through.
func TestNoMiddleware(t *testing.T) {
	h := httpwasm.New(httpwasm.Config{})
	for _, source := range []string{"nothing.c", "other.c"} {
		s := &seen{}
		w := httptest.NewRecorder()
		h.Handler(pool(t, module(t, source), h), next(s)).ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/", nil))
		if w.Code != http.StatusBadGateway || !strings.Contains(w.Body.String(), "no http-wasm middleware") || s.calls != 0 {
			t.Errorf("%s: %d %q", source, w.Code, w.Body)
		}
	}
}
