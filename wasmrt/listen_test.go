package wasmrt_test

import (
	"bytes"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"

	"dhow.dev/dhow/wasmrt"
	"dhow.dev/dhow/wasmrt/wasmtest"
)

// service starts a guest that serves on a listener, and returns its address.
func service(tb testing.TB, m *wasmrt.Module, c wasmrt.Config) (*wasmrt.Instance, string) {
	tb.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { l.Close() })
	c.Listeners = append(c.Listeners, l)
	i, _ := begin(tb, m, c)
	return i, l.Addr().String()
}

// begin starts a guest and returns when it has written its first line.
func begin(tb testing.TB, m *wasmrt.Module, c wasmrt.Config) (*wasmrt.Instance, *bytes.Buffer) {
	tb.Helper()
	w := lineWriter{make(chan struct{}, 1)}
	var stderr bytes.Buffer
	c.Stdout, c.Stderr = w, &stderr
	i, err := m.Start(tb.Context(), c)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { i.Stop(); i.Wait() })
	select {
	case <-w.wrote:
	case <-i.Done():
		tb.Fatalf("it ended: %+v %s", i.Wait(), stderr.String())
	}
	return i, &stderr
}

func get(tb testing.TB, client *http.Client, url string) string {
	tb.Helper()
	r, err := client.Get(url)
	if err != nil {
		tb.Fatal(err)
	}
	defer r.Body.Close()
	b, err := io.ReadAll(r.Body)
	if err != nil {
		tb.Fatal(err)
	}
	return string(b)
}

func TestServiceOnListener(t *testing.T) {
	e := newEngine(t, wasmrt.Options{CacheDir: wasmtest.CodeDir(t)})
	for source, want := range map[string]string{"go/service.go": "hello /path\n", "c/service.c": "hello from C\n"} {
		t.Run(source, func(t *testing.T) {
			m := load(t, e, source)
			i, at := service(t, m, wasmrt.Config{})
			client := &http.Client{Transport: &http.Transport{}}
			defer client.CloseIdleConnections()
			for range 20 {
				if got := get(t, client, "http://"+at+"/path"); got != want {
					t.Errorf("got %q", got)
				}
			}
			i.Stop()
			if exit := i.Wait(); exit.Reason != wasmrt.StoppedReason {
				t.Errorf("exit is %+v", exit)
			}
		})
	}
}

// TestServiceWaits: a service that nobody calls does nothing at all.
func TestServiceTakesTurns(t *testing.T) {
	e := newEngine(t, wasmrt.Options{CacheDir: wasmtest.CodeDir(t)})
	m := load(t, e, "go/service.go")
	_, at := service(t, m, wasmrt.Config{})
	body := strings.Repeat("0123456789abcdef", 1<<16) // more than buffers hold
	results := make(chan string, 8)
	for range cap(results) {
		go func() {
			r, err := http.Post("http://"+at+"/echo", "text/plain", strings.NewReader(body))
			if err != nil {
				results <- err.Error()
				return
			}
			defer r.Body.Close()
			b, err := io.ReadAll(r.Body)
			if err != nil || string(b) != body {
				results <- "other bytes came back"
				return
			}
			results <- ""
		}()
	}
	for range cap(results) {
		if got := <-results; got != "" {
			t.Error(got)
		}
	}
	http.DefaultClient.CloseIdleConnections()
}
