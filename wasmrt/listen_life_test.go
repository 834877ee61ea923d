package wasmrt_test

import (
	"bufio"
	"errors"
	"io"
	"net"
	"net/http"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"dhow.dev/dhow/wasmrt"
	"dhow.dev/dhow/wasmrt/wasmtest"
)

// TestListenerOutlivesTheGuest: the next guest on a listener gets all
// connections from then on, and none is lost to the one before.
func TestListenerOutlivesTheGuest(t *testing.T) {
	e := newEngine(t, wasmrt.Options{CacheDir: wasmtest.CodeDir(t)})
	m := load(t, e, "go/service.go")
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	for range 5 {
		i, _ := begin(t, m, wasmrt.Config{Listeners: []net.Listener{l}})
		for range 3 {
			if got := get(t, client, "http://"+l.Addr().String()+"/x"); got != "hello /x\n" {
				t.Errorf("got %q", got)
			}
		}
		i.Stop()
		i.Wait()
	}
}

// TestGuestsShareAListener: when some of them end, the others serve on.
func TestGuestsShareAListener(t *testing.T) {
	e := newEngine(t, wasmrt.Options{CacheDir: wasmtest.CodeDir(t)})
	m := load(t, e, "c/service.c")
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	last, _ := begin(t, m, wasmrt.Config{Listeners: []net.Listener{l}})
	for range 10 {
		var others []*wasmrt.Instance
		for range 3 {
			i, _ := begin(t, m, wasmrt.Config{Listeners: []net.Listener{l}})
			others = append(others, i)
		}
		for _, i := range others {
			i.Stop()
		}
		for _, i := range others {
			i.Wait()
		}
	}
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	for range 5 {
		if got := get(t, client, "http://"+l.Addr().String()+"/"); got != "hello from C\n" {
			t.Errorf("got %q", got)
		}
	}
	last.Stop()
	if exit := last.Wait(); exit.Reason != wasmrt.StoppedReason {
		t.Errorf("exit is %+v", exit)
	}
}

// TestServiceEndsItself: a guest that ends closes its connections, and its
// code is what it gave.
func TestServiceEndsItself(t *testing.T) {
	e := newEngine(t, wasmrt.Options{CacheDir: wasmtest.CodeDir(t)})
	i, at := service(t, load(t, e, "go/service.go"), wasmrt.Config{})
	c, err := net.Dial("tcp", at)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if _, err := io.WriteString(c, "GET /exit HTTP/1.1\r\nHost: x\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	if b, _ := io.ReadAll(c); len(b) > 0 {
		t.Errorf("it answered %q", b)
	}
	if exit := i.Wait(); exit.Code != 7 {
		t.Errorf("exit is %+v", exit)
	}
}

// TestServiceStopsWhileItWaits: in accept, in a read that gets nothing, and in
// a write that nobody takes.
func TestServiceStopsWhileItWaits(t *testing.T) {
	e := newEngine(t, wasmrt.Options{CacheDir: wasmtest.CodeDir(t)})
	m := load(t, e, "c/service.c")
	i, _ := service(t, m, wasmrt.Config{}) // in accept
	i.Stop()
	if exit := i.Wait(); exit.Reason != wasmrt.StoppedReason {
		t.Errorf("exit is %+v", exit)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	i, _ = begin(t, m, wasmrt.Config{Listeners: []net.Listener{l}})
	c, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if _, err := io.WriteString(c, "GET / HTTP/1.1\r\n"); err != nil { // in recv
		t.Fatal(err)
	}
	i.Stop()
	if exit := i.Wait(); exit.Reason != wasmrt.StoppedReason {
		t.Errorf("exit is %+v", exit)
	}
	l.Close() // and with it a connection that the guest had not accepted yet
	if _, err := bufio.NewReader(c).ReadByte(); err == nil {
		t.Error("its connection is open")
	}
}

// TestIdleServiceDoesNothing: it asks for the time as long as it computes, and
// when nobody calls it, it stops doing so.
func TestIdleServiceDoesNothing(t *testing.T) {
	var asked atomic.Int64
	e := newEngine(t, wasmrt.Options{CacheDir: wasmtest.CodeDir(t), Now: func() time.Time { asked.Add(1); return time.Now() }})
	_, at := service(t, load(t, e, "go/service.go"), wasmrt.Config{})
	if got := get(t, http.DefaultClient, "http://"+at+"/"); got != "hello /\n" {
		t.Fatalf("got %q", got)
	}
	for quiet := 0; quiet < 20; { // a guest that polls without end never gets there
		before := asked.Load()
		runtime.GC() // takes a while
		if asked.Load() == before {
			quiet++
		} else {
			quiet = 0
		}
	}
	http.DefaultClient.CloseIdleConnections()
}

type noDeadline struct{ net.Listener }

func TestBadListener(t *testing.T) {
	e := newEngine(t, wasmrt.Options{CacheDir: wasmtest.CodeDir(t)})
	_, err := load(t, e, "c/probe.c").Run(t.Context(), wasmrt.Config{Listeners: []net.Listener{noDeadline{}}})
	if reason(err) != wasmrt.ReasonBadConfig {
		t.Errorf("a listener that cannot be taken back: %v", err)
	}
}

// TestMountsBehindListeners: a guest finds its mounts although listeners have
// the numbers before them.
func TestMountsBehindListeners(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	c := wasmrt.Config{Listeners: []net.Listener{l}, Mounts: []wasmrt.Mount{{Host: tree(t, map[string]string{"a": "alpha"}), Guest: "/m"}}}
	expect(t, filesGuest(t), c, [2]string{"cat /m/a", "alpha"})
	eachProbe(t, func(t *testing.T, m *wasmrt.Module) {
		if exit, out, stderr := run(t, m, c, "file", "/m/a"); out != "alpha" {
			t.Errorf("%+v %q %q", exit, out, stderr)
		}
	})
}

// TestWriterThatFails: the guest is told, and goes on.
func TestWriterThatFails(t *testing.T) {
	e := newEngine(t, wasmrt.Options{CacheDir: wasmtest.CodeDir(t)})
	exit, err := load(t, e, "c/probe.c").Run(t.Context(), wasmrt.Config{Args: []string{"probe", "args", strings.Repeat("x", 1<<16)}, Stdout: failing{}})
	if err != nil || exit.Reason != wasmrt.ExitedReason {
		t.Errorf("exit is %+v, %v", exit, err)
	}
}

type failing struct{}

func (failing) Write([]byte) (int, error) { return 0, errors.New("full") }

func TestExampleServer(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	i, err := example(t, "server").Start(t.Context(), wasmrt.Config{Listeners: []net.Listener{l}})
	if err != nil {
		t.Fatal(err)
	}
	client := &http.Client{Transport: &http.Transport{}}
	defer client.CloseIdleConnections()
	for _, want := range []string{"visit 1\n", "visit 2\n"} {
		if got := get(t, client, "http://"+l.Addr().String()+"/"); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
	i.Stop()
	i.Wait()
}
