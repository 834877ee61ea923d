package host

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
)

func newHTTP(t *testing.T, o HTTPOptions) *HTTP {
	t.Helper()
	h, err := NewHTTP(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(h.Close)
	return h
}

// ask makes a request as a guest would.
func ask(t *testing.T, h *HTTP, text string) (*result, error) {
	t.Helper()
	head, err := parseHead(text)
	if err != nil {
		return nil, err
	}
	return h.do(t.Context(), head, nil)
}

// TestRedirectsAreChecked: each hop must be on the list, whoever sends there.
func TestRedirectsAreChecked(t *testing.T) {
	reached := false
	inner := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { reached = true }))
	defer inner.Close()
	outer := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/out":
			http.Redirect(w, r, inner.URL, http.StatusFound)
		case "/file":
			http.Redirect(w, r, "file:///etc/passwd", http.StatusFound)
		case "/endless":
			http.Redirect(w, r, "/endless", http.StatusFound)
		case "/once":
			http.Redirect(w, r, "/", http.StatusFound)
		}
	}))
	defer outer.Close()
	h := newHTTP(t, HTTPOptions{Allow: []string{outer.URL}})
	if _, err := ask(t, h, "GET "+outer.URL+"/out"); !errors.Is(err, ErrDenied) || reached {
		t.Errorf("a redirect to what is not on the list: %v, reached: %v", err, reached)
	}
	if _, err := ask(t, h, "GET "+outer.URL+"/file"); err == nil {
		t.Error("a redirect to a file was followed")
	}
	if _, err := ask(t, h, "GET "+outer.URL+"/endless"); !errors.Is(err, ErrDenied) {
		t.Errorf("endless redirects: %v", err)
	}
	if r, err := ask(t, h, "GET "+outer.URL+"/once"); err != nil || r.status != http.StatusOK {
		t.Errorf("a redirect on the list: %v", err)
	}
	h = newHTTP(t, HTTPOptions{Allow: []string{outer.URL}, MaxRedirects: -1})
	if r, err := ask(t, h, "GET "+outer.URL+"/out"); err != nil || r.status != http.StatusFound {
		t.Errorf("redirects are the guest's: %v", err)
	}
}

// TestNamesMustNotLeadInside: the address is checked that a name has when it
// is dialled, so a name that changes its mind does not help.
func TestNamesMustNotLeadInside(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	defer server.Close()
	_, port, err := net.SplitHostPort(server.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	name := "http://localhost:" + port
	for _, allow := range []string{name, "http://*:*"} {
		h := newHTTP(t, HTTPOptions{Allow: []string{allow}})
		if _, err := ask(t, h, "GET "+name); !errors.Is(err, ErrDenied) {
			t.Errorf("%s: %v", allow, err)
		}
	}
	h := newHTTP(t, HTTPOptions{Allow: []string{"http://*:*"}})
	for _, inside := range []string{server.URL, "http://[::1]:" + port, "http://[::ffff:127.0.0.1]:" + port, "http://169.254.169.254"} {
		if _, err := ask(t, h, "GET "+inside); !errors.Is(err, ErrDenied) {
			t.Errorf("any public host let %s through: %v", inside, err)
		}
	}
	h = newHTTP(t, HTTPOptions{Allow: []string{name}, PrivateNetworks: []string{"127.0.0.0/8", "::1/128"}})
	if _, err := ask(t, h, "GET "+name); err != nil {
		t.Errorf("a private network that is given: %v", err)
	}
	h = newHTTP(t, HTTPOptions{Allow: []string{server.URL}})
	if _, err := ask(t, h, "GET "+server.URL); err != nil {
		t.Errorf("an address on the list: %v", err)
	}
}

func TestRequestsAreBounded(t *testing.T) {
	block := make(chan struct{})
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/large":
			fmt.Fprint(w, strings.Repeat("x", 1001))
		case "/exact":
			fmt.Fprint(w, strings.Repeat("x", 1000))
		case "/headers":
			w.Header().Set("X", strings.Repeat("x", maxHead+1))
		case "/slow":
			w.(http.Flusher).Flush()
			<-block
		}
	}))
	defer server.Close()
	defer close(block)
	h := newHTTP(t, HTTPOptions{Allow: []string{server.URL}, MaxRequest: 10, MaxResponse: 1000})
	if _, err := ask(t, h, "GET "+server.URL+"/large"); !errors.Is(err, ErrTooLarge) {
		t.Errorf("a large answer: %v", err)
	}
	if r, err := ask(t, h, "GET "+server.URL+"/exact"); err != nil || len(r.body) != 1000 {
		t.Errorf("an answer of the largest size: %v", err)
	}
	if _, err := ask(t, h, "GET "+server.URL+"/headers"); err == nil {
		t.Error("a large header came through")
	}
	head, err := parseHead("POST " + server.URL)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := h.do(t.Context(), head, make([]byte, 11)); !errors.Is(err, ErrTooLarge) {
		t.Errorf("a large body: %v", err)
	}
	h = newHTTP(t, HTTPOptions{Allow: []string{server.URL}, Timeout: time.Millisecond})
	if _, err := ask(t, h, "GET "+server.URL+"/slow"); code(err) != code(ErrTimedOut) {
		t.Errorf("a slow answer: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := h.do(ctx, head, nil); !errors.Is(err, context.Canceled) {
		t.Errorf("a stopped guest: %v", err)
	}
}

func TestHeadersThatAreTheHosts(t *testing.T) {
	for _, line := range []string{"Host: other.example", "host: x", "Connection: close", "Transfer-Encoding: chunked", "Content-Length: 1", "Upgrade: x", "TE: x"} {
		if _, err := parseHead("GET https://example.com/\n" + line); !errors.Is(err, ErrDenied) {
			t.Errorf("%s: %v", line, err)
		}
	}
	for _, text := range []string{
		"", "GET", "GET ", "GET  https://x/", "G T https://x/", "GET https://x/ HTTP/1.1", "CONNECT https://x/", "GET https://x/\nA b", "GET https://x/\n: b",
		"GET https://x/\nA: b\rc", "GET https://x/\n\nA: b", "GET https://x/\nA: \x00", "GET https://x/\nA\n B: c", "GET https://x y/",
	} {
		if h, err := parseHead(text); !errors.Is(err, ErrInvalid) {
			if err == nil && h.url.Host == "" {
				continue // refused by its target
			}
			t.Errorf("%q: %v", text, err)
		}
	}
}

// TestListsFailClosed: what is not understood stops everything.
func TestListsFailClosed(t *testing.T) {
	for _, o := range []HTTPOptions{
		{Allow: []string{"https://ok.example", "example.com"}},
		{PrivateNetworks: []string{"10.0.0.0"}},
	} {
		if _, err := NewHTTP(o); err == nil {
			t.Errorf("%+v was accepted", o)
		}
	}
	h := newHTTP(t, HTTPOptions{})
	if _, err := ask(t, h, "GET https://example.com/"); !errors.Is(err, ErrDenied) {
		t.Errorf("an empty list: %v", err)
	}
	t.Setenv("HTTPS_PROXY", "http://127.0.0.1:1")
	if p := h.client.Transport.(*http.Transport).Proxy; p != nil {
		t.Error("a proxy would be used")
	}
}
