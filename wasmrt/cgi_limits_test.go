package wasmrt_test

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"dhow.dev/dhow/wasmrt"
	"dhow.dev/dhow/wasmrt/wasmtest"
)

// The limits of a CGI program hold for each of its runs.
func TestCGILimits(t *testing.T) {
	e := newEngine(t, wasmrt.Options{CacheDir: wasmtest.CodeDir(t)})
	m := load(t, e, "c/probe.c")
	for _, c := range []struct {
		limits wasmrt.Limits
		code   int
		want   string
	}{
		{wasmrt.Limits{Fuel: 10_000_000}, http.StatusBadGateway, "the module failed: OutOfFuel"},
		{wasmrt.Limits{Timeout: 20 * time.Millisecond}, http.StatusGatewayTimeout, "the module did not answer within 20ms"},
	} {
		h := wasmrt.NewCGI(m, wasmrt.CGIConfig{Args: []string{"probe", "spin"}, Limits: c.limits})
		w := httptest.NewRecorder()
		h.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/", nil))
		if w.Code != c.code || !strings.Contains(w.Body.String(), c.want) {
			t.Errorf("%+v: %d %q", c.limits, w.Code, w.Body)
		}
	}
}

// CGI.Usage adds up all runs, those that have ended too.
func TestCGIUsage(t *testing.T) {
	e := newEngine(t, wasmrt.Options{CacheDir: wasmtest.CodeDir(t)})
	h := wasmrt.NewCGI(load(t, e, "c/probe.c"), wasmrt.CGIConfig{})
	var last wasmrt.Usage
	for n := range uint64(3) {
		h.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest(http.MethodGet, "/", nil))
		u := h.Usage()
		if u.Calls != n+1 || u.Fuel <= last.Fuel || u.CPU <= last.CPU || u.PeakMemory == 0 || u.Memory != 0 {
			t.Errorf("after %d runs: %+v", n+1, u)
		}
		last = u
	}
}

// A module that is no command is refused, not taken for an empty answer.
func TestCGIWantsCommand(t *testing.T) {
	e := newEngine(t, wasmrt.Options{CacheDir: wasmtest.CodeDir(t)})
	m, err := e.Compile(t.Context(), []byte("\x00asm\x01\x00\x00\x00"))
	if err != nil {
		t.Fatal(err)
	}
	w := httptest.NewRecorder()
	wasmrt.NewCGI(m, wasmrt.CGIConfig{}).ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/", nil))
	if w.Code != http.StatusBadGateway || !strings.Contains(w.Body.String(), "could not be started") {
		t.Errorf("got %d %q", w.Code, w.Body)
	}
}
