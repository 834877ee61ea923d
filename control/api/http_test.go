package api_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"connectrpc.com/connect"
	"connectrpc.com/grpcreflect"

	"dhow.dev/dhow/control/api"
	dhowv1 "dhow.dev/dhow/proto/dhow/v1"
	"dhow.dev/dhow/proto/spec"
)

// curl is what curl does: no library of ours but TLS.
func (w *world) curl(method, path, token, body string, header ...string) (int, string, http.Header) {
	w.t.Helper()
	req, err := http.NewRequestWithContext(context.Background(), method, "https://"+w.addr+path, strings.NewReader(body))
	if err != nil {
		w.t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	for i := 0; i+1 < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	tr := &http.Transport{TLSClientConfig: w.pinned(), DisableKeepAlives: true}
	res, err := tr.RoundTrip(req)
	if err != nil {
		w.t.Fatal(err)
	}
	defer func() { _ = res.Body.Close() }()
	b, err := io.ReadAll(res.Body)
	if err != nil {
		w.t.Fatal(err)
	}
	return res.StatusCode, string(b), res.Header
}

func TestPlainJSON(t *testing.T) {
	w := newWorld(t)
	digest := w.artifact("\x00asm\x01\x00\x00\x00")
	const applies = "/dhow.v1.ObjectService/Apply"
	body := `{"objects":[{"workload":{"meta":{"name":"web"},"spec":{"replicas":2,"template":{"tasks":[{"wasm":{"artifact":"` + digest + `"}}]}}}}]}`
	status, answer, _ := w.curl("POST", applies, w.admin, body)
	var res struct {
		Objects []struct {
			Workload struct{ Meta struct{ Name, UID string } }
		}
		Outcomes []string
	}
	if err := json.Unmarshal([]byte(answer), &res); status != 200 || err != nil || res.Objects[0].Workload.Meta.UID == "" || res.Outcomes[0] != "OUTCOME_CREATED" {
		t.Fatal(status, answer, err)
	}
	for name, tc := range map[string]struct {
		token, body string
		status      int
		code, says  string
	}{
		"no token":      {"", body, 401, "unauthenticated", "Authorization"},
		"not JSON":      {w.admin, `{"objects":`, 400, "invalid_argument", "unmarshal"},
		"unknown field": {w.admin, `{"objekts":[]}`, 400, "invalid_argument", "objekts"},
		"wrong type":    {w.admin, `{"objects":"all"}`, 400, "invalid_argument", ""},
		"empty":         {w.admin, ``, 400, "invalid_argument", ""},
		"bad field":     {w.admin, `{"objects":[{"workload":{"meta":{"name":"web"},"spec":{"replicas":9999999}}}]}`, 400, "invalid_argument", "spec.replicas"},
	} {
		t.Run(name, func(t *testing.T) {
			rev := w.store.Revision()
			status, answer, _ := w.curl("POST", applies, tc.token, tc.body)
			var e struct{ Code, Message string }
			if err := json.Unmarshal([]byte(answer), &e); err != nil || status != tc.status || e.Code != tc.code || !strings.Contains(e.Message, tc.says) {
				t.Errorf("%d %s (%v)", status, answer, err)
			}
			if w.store.Revision() != rev {
				t.Error("a refused call wrote something")
			}
		})
	}
}

func TestMalformedRequests(t *testing.T) {
	w := newWorld(t)
	for name, tc := range map[string]struct {
		method, path, body string
		header             []string
		status             int
	}{
		"no such service":     {"POST", "/dhow.v1.Nothing/Do", "{}", nil, 404},
		"no such method":      {"POST", "/dhow.v1.ObjectService/Explode", "{}", nil, 404},
		"wrong HTTP method":   {"PUT", "/dhow.v1.ObjectService/Apply", "{}", nil, 405},
		"wrong content type":  {"POST", "/dhow.v1.ObjectService/Apply", "{}", []string{"Content-Type", "text/html"}, 415},
		"broken protobuf":     {"POST", "/dhow.v1.ObjectService/Apply", "\xff\xff\xff\xff", []string{"Content-Type", "application/proto"}, 400},
		"unknown compression": {"POST", "/dhow.v1.ObjectService/Apply", "{}", []string{"Content-Encoding", "rot13"}, 501},
		"broken gzip":         {"POST", "/dhow.v1.ObjectService/Apply", "{}", []string{"Content-Encoding", "gzip"}, 400},
		"a basic password":    {"POST", "/dhow.v1.ObjectService/Apply", "{}", []string{"Authorization", "Basic eDp5"}, 401},
		"the root":            {"GET", "/", "", nil, 404},
	} {
		t.Run(name, func(t *testing.T) {
			if status, answer, _ := w.curl(tc.method, tc.path, w.admin, tc.body, tc.header...); status != tc.status {
				t.Errorf("%d %s", status, answer)
			}
		})
	}
}

func TestOversizedMessages(t *testing.T) {
	w := newWorld(t)
	big := spec.Wrap(&dhowv1.Namespace{Meta: &dhowv1.Meta{Name: "big", Annotations: map[string]string{"a": strings.Repeat("x", 17<<20)}}})
	_, err := w.as(w.admin).Objects.Apply(t.Context(), apply(big))
	wantCode(t, err, spec.CodeExhausted)
	status, answer, _ := w.curl("POST", "/dhow.v1.ObjectService/Apply", w.admin, `{"objects":[{"namespace":{"meta":{"name":"`+strings.Repeat("x", 17<<20)+`"}}}]}`)
	if status != 429 || !strings.Contains(answer, "resource_exhausted") {
		t.Errorf("%d %.200s", status, answer)
	}
	// A small body that unpacks to a large one.
	bomb := gzipped(t, bytes.Repeat([]byte{' '}, 64<<20))
	status, answer, _ = w.curl("POST", "/dhow.v1.ObjectService/Apply", w.admin, string(bomb), "Content-Encoding", "gzip")
	if status != 429 {
		t.Errorf("%d %.200s", status, answer)
	}
}

func TestHealth(t *testing.T) {
	w := newWorld(t)
	if status, body, _ := w.curl("GET", "/healthz", "", ""); status != 200 || body != "ok\n" {
		t.Error(status, body)
	}
	if status, body, _ := w.curl("GET", "/readyz", "", ""); status != 200 || body != "ready\n" {
		t.Error(status, body)
	}
	w.direct.leaderless.Store(true)
	if status, body, _ := w.curl("GET", "/readyz", "", ""); status != 503 || !strings.Contains(body, "leader") {
		t.Error(status, body)
	}
	if status, _, _ := w.curl("GET", "/healthz", "", ""); status != 200 {
		t.Error("alive is not ready:", status)
	}
}

func TestReflection(t *testing.T) {
	w := newWorld(t)
	protocols := new(http.Protocols)
	protocols.SetHTTP2(true)
	conf := w.pinned()
	conf.NextProtos = []string{"h2"}
	h := &http.Client{Transport: &http.Transport{TLSClientConfig: conf, Protocols: protocols}}
	defer h.CloseIdleConnections()
	c := grpcreflect.NewClient(h, "https://"+w.addr, connect.WithGRPC())
	s := c.NewStream(t.Context(), grpcreflect.WithRequestHeaders(http.Header{"Authorization": {"Bearer " + w.admin}}))
	names, err := s.ListServices()
	if err != nil || len(names) < 7 {
		t.Fatal(names, err)
	}
	if _, err := s.FileContainingSymbol("dhow.v1.ObjectService"); err != nil {
		t.Error(err)
	}
	if _, err := s.Close(); err != nil {
		t.Error(err)
	}
	anonymous := c.NewStream(t.Context())
	if _, err := anonymous.ListServices(); connect.CodeOf(err) != connect.CodeUnauthenticated {
		t.Error(err)
	}
	_, _ = anonymous.Close()
}

// A request that trickles in ends; it does not hold its connection for ever.
func TestRequestThatNeverArrives(t *testing.T) {
	w := newWorld(t, func(c *api.Config) { c.ReadTimeout = 100 * time.Millisecond })
	raw, err := net.Dial("tcp", w.addr)
	if err != nil {
		t.Fatal(err)
	}
	conf := w.pinned()
	conf.NextProtos = []string{"http/1.1"}
	conn := tls.Client(raw, conf)
	defer func() { _ = conn.Close() }()
	_, err = fmt.Fprintf(conn, "POST /dhow.v1.ObjectService/Apply HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer %s\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n{", w.admin)
	if err != nil {
		t.Fatal(err)
	}
	answer, _ := io.ReadAll(conn) // until the server hangs up
	if bytes.Contains(answer, []byte("200 OK")) {
		t.Errorf("%s", answer)
	}
}

// A watch over HTTP/1.1 lives longer than a request may take to arrive.
func TestWatchOutlivesTheReadTimeout(t *testing.T) {
	w := newWorld(t, func(c *api.Config) { c.ReadTimeout = 50 * time.Millisecond })
	for _, h1 := range []bool{true, false} {
		c := w.as(w.admin, func(o *clientOptions) { o.HTTP1 = h1 })
		ctx, cancel := context.WithCancel(t.Context())
		in, err := c.Objects.Watch(ctx, &dhowv1.WatchRequest{Selectors: []*dhowv1.Selector{{Kind: dhowv1.Kind_KIND_NAMESPACE}}})
		if err != nil {
			t.Fatal(err)
		}
		for in.Receive() && !in.Msg().Synced {
		}
		past := time.NewTimer(150 * time.Millisecond)
		<-past.C
		w.put(&dhowv1.Namespace{Meta: &dhowv1.Meta{Name: fmt.Sprintf("later-%t", h1)}})
		if !in.Receive() {
			t.Errorf("h1 %t: %v", h1, in.Err())
		}
		cancel()
	}
}
