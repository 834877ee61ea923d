package client_test

import (
	"context"
	"net"
	"net/http"
	"sync/atomic"
	"testing"
	"time"

	"connectrpc.com/connect"

	"dhow.dev/dhow/internal/client"
	"dhow.dev/dhow/internal/pki"
	dhowv1 "dhow.dev/dhow/proto/dhow/v1"
	"dhow.dev/dhow/proto/dhow/v1/dhowv1connect"
	"dhow.dev/dhow/proto/spec"
	"dhow.dev/dhow/proto/wire"
)

// server is one that answers as it is told.
type server struct {
	dhowv1connect.UnimplementedObjectServiceHandler
	name  string
	addr  string
	http  *http.Server
	calls atomic.Int64
	fail  atomic.Pointer[spec.Error]
	watch func(req *dhowv1.WatchRequest, out *connect.ServerStream[dhowv1.WatchResponse]) error
}

func (s *server) Get(context.Context, *dhowv1.GetRequest) (*dhowv1.GetResponse, error) {
	s.calls.Add(1)
	if e := s.fail.Load(); e != nil {
		return nil, e
	}
	return &dhowv1.GetResponse{Revision: 1}, nil
}

func (s *server) Apply(context.Context, *dhowv1.ApplyRequest) (*dhowv1.ApplyResponse, error) {
	s.calls.Add(1)
	if e := s.fail.Load(); e != nil {
		return nil, e
	}
	return &dhowv1.ApplyResponse{Revision: 1}, nil
}

func (s *server) Watch(_ context.Context, req *dhowv1.WatchRequest, out *connect.ServerStream[dhowv1.WatchResponse]) error {
	s.calls.Add(1)
	return s.watch(req, out)
}

type fleet struct {
	t    *testing.T
	ca   *pki.CA
	list []*server
}

func newFleet(t *testing.T, n int) *fleet {
	t.Helper()
	ca, err := pki.NewCA("testcluster", time.Now())
	if err != nil {
		t.Fatal(err)
	}
	f := &fleet{t: t, ca: ca}
	for i := range n {
		s := &server{name: string(rune('a' + i))}
		creds, err := ca.Issue(t.TempDir(), time.Now, pki.Identity{Cluster: "testcluster", Kind: pki.Server, Name: s.name})
		if err != nil {
			t.Fatal(err)
		}
		mux := http.NewServeMux()
		mux.Handle(dhowv1connect.NewObjectServiceHandler(s, connect.WithInterceptors(wire.Server(nil))))
		s.http = &http.Server{Handler: mux, TLSConfig: creds.ServerTLS(), ReadHeaderTimeout: time.Minute}
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		s.addr = l.Addr().String()
		done := make(chan struct{})
		go func() {
			defer close(done)
			_ = s.http.ServeTLS(l, "", "")
		}()
		t.Cleanup(func() {
			_ = s.http.Close()
			<-done
		})
		f.list = append(f.list, s)
	}
	return f
}

func (f *fleet) addrs() (out []string) {
	for _, s := range f.list {
		out = append(out, s.addr)
	}
	return out
}

func (f *fleet) client(addrs ...string) *client.Client {
	f.t.Helper()
	c, err := client.FromContext(client.Context{Name: "test", Servers: addrs, CA: string(pki.EncodeCert(f.ca.Certificate())), Token: "t"}, time.Now)
	if err != nil {
		f.t.Fatal(err)
	}
	f.t.Cleanup(c.Close)
	return c
}

func get(ctx context.Context, c *client.Client) error {
	_, err := c.Objects.Get(ctx, &dhowv1.GetRequest{})
	return err
}

func apply(ctx context.Context, c *client.Client) error {
	_, err := c.Objects.Apply(ctx, &dhowv1.ApplyRequest{})
	return err
}

func TestFailover(t *testing.T) {
	f := newFleet(t, 3)
	c := f.client(f.addrs()...)
	if err := get(t.Context(), c); err != nil || c.Server() != f.list[0].addr {
		t.Fatal(err, c.Server())
	}
	_ = f.list[0].http.Close()
	// A read goes on with the next, even if it finds out by its own failure.
	if err := get(t.Context(), c); err != nil {
		t.Fatal(err)
	}
	// A call that changes something does when it was not sent to anyone.
	c = f.client(f.addrs()...)
	if err := apply(t.Context(), c); err != nil {
		t.Fatal(err)
	}
	if c.Server() != f.list[1].addr || f.list[1].calls.Load() != 2 {
		t.Error(c.Server(), f.list[1].calls.Load())
	}
	_, _ = f.list[1].http.Close(), f.list[2].http.Close()
	c = f.client(f.addrs()...)
	err := get(t.Context(), c)
	wantCode(t, err, spec.CodeUnavailable, f.list[0].addr, f.list[1].addr, f.list[2].addr, "refused")
	if !client.NotSent(err) {
		t.Error("nothing was sent")
	}
}

func TestServerWithoutLeader(t *testing.T) {
	f := newFleet(t, 2)
	c := f.client(f.addrs()...)
	f.list[0].fail.Store(spec.Errorf(spec.CodeUnavailable, "it may have been done"))
	if err := get(t.Context(), c); err != nil {
		t.Errorf("a read asks the next server: %v", err)
	}
	c = f.client(f.addrs()...)
	f.list[1].calls.Store(0)
	wantCode(t, apply(t.Context(), c), spec.CodeUnavailable, "it may have been done")
	if f.list[1].calls.Load() != 0 {
		t.Error("a write that may have been carried out was sent again")
	}
	f.list[0].fail.Store(spec.Errorf(spec.CodeNotLeader, "there is no leader; nothing was changed"))
	c = f.client(f.addrs()...)
	if err := apply(t.Context(), c); err != nil || f.list[1].calls.Load() != 1 {
		t.Errorf("a write that was not carried out is: %v", err)
	}
	f.list[1].fail.Store(spec.Errorf(spec.CodeNotLeader, "there is no leader; nothing was changed"))
	c = f.client(f.addrs()...)
	wantCode(t, apply(t.Context(), c), spec.CodeUnavailable, "no leader")
}

func TestRefusedConnectionSaysWhatToDo(t *testing.T) {
	f := newFleet(t, 1)
	_ = f.list[0].http.Close()
	wantCode(t, get(t.Context(), f.client(f.addrs()...)), spec.CodeUnavailable, f.list[0].addr, "dhow up")
}

func TestWrongOptions(t *testing.T) {
	f := newFleet(t, 1)
	ca := string(pki.EncodeCert(f.ca.Certificate()))
	for says, c := range map[string]client.Context{
		"no server's address": {Name: "x", CA: ca},
		"host:port":           {Name: "x", CA: ca, Servers: []string{"nowhere"}},
		`context "x": ca`:     {Name: "x", CA: "nonsense", Servers: []string{"a:1"}},
	} {
		_, err := client.FromContext(c, time.Now)
		wantCode(t, err, spec.CodeInvalid, says)
	}
	// The address answers, but is another cluster's.
	other := newFleet(t, 1)
	c := f.client(other.addrs()...)
	wantCode(t, get(t.Context(), c), spec.CodeUnknownUser, "CA", other.list[0].addr)
}

func TestSetServersAndNext(t *testing.T) {
	f := newFleet(t, 2)
	c := f.client(f.list[0].addr)
	if err := get(t.Context(), c); err != nil {
		t.Fatal(err)
	}
	c.SetServers(nil)
	c.SetServers([]string{"nonsense"})
	c.SetServers(f.addrs())
	c.Next()
	if err := get(t.Context(), c); err != nil || c.Server() != f.list[1].addr {
		t.Error(err, c.Server())
	}
}

// After a renewal calls go over a new connection, which shows the new
// certificate, while a stream on the old one goes on.
func TestReconnectOpensANewConnection(t *testing.T) {
	f := newFleet(t, 1)
	var dialled atomic.Int32
	conf, err := pki.PinnedTLS(f.ca.Certificate(), time.Now)
	if err != nil {
		t.Fatal(err)
	}
	c, err := client.New(client.Options{
		Servers: f.addrs(), TLS: conf,
		Dial: func(ctx context.Context, network, addr string) (net.Conn, error) {
			dialled.Add(1)
			return new(net.Dialer).DialContext(ctx, network, addr)
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	for range 2 {
		if err := get(t.Context(), c); err != nil {
			t.Fatal(err)
		}
	}
	if n := dialled.Load(); n != 1 {
		t.Fatalf("%d connections for two calls", n)
	}
	c.Reconnect()
	if err := get(t.Context(), c); err != nil {
		t.Fatal(err)
	}
	if n := dialled.Load(); n != 2 {
		t.Errorf("%d connections after a renewal, want 2", n)
	}
}

// A watch goes on with another server from where it was.
func TestWatchFailsOver(t *testing.T) {
	f := newFleet(t, 2)
	event := func(rev uint64) *dhowv1.WatchResponse {
		return &dhowv1.WatchResponse{Events: []*dhowv1.WatchEvent{{Type: dhowv1.WatchEventType_WATCH_EVENT_TYPE_PUT}}, Revision: rev}
	}
	f.list[0].watch = func(req *dhowv1.WatchRequest, out *connect.ServerStream[dhowv1.WatchResponse]) error {
		for _, m := range []*dhowv1.WatchResponse{event(0), {Revision: 5, Synced: true}, event(6)} {
			if err := out.Send(m); err != nil {
				return err
			}
		}
		return spec.Errorf(spec.CodeUnavailable, "this server is stopping")
	}
	resumed := make(chan uint64, 2)
	f.list[1].watch = func(req *dhowv1.WatchRequest, out *connect.ServerStream[dhowv1.WatchResponse]) error {
		resumed <- req.Revision
		if req.Revision != 0 {
			return spec.Errorf(spec.CodeTooOld, "list again")
		}
		return out.Send(&dhowv1.WatchResponse{Revision: 9, Synced: true})
	}
	c := f.client(f.addrs()...)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var revisions []uint64
	resets := 0
	err := c.Watch(ctx, []*dhowv1.Selector{{}}, 0, func(m *dhowv1.WatchResponse, reset bool) error {
		revisions = append(revisions, m.Revision)
		if reset {
			resets++
		}
		if m.Revision == 9 {
			cancel()
		}
		return nil
	})
	if err == nil || len(revisions) != 4 || resets != 2 {
		t.Errorf("%v: revisions %v, %d full sets", err, revisions, resets)
	}
	if a, b := <-resumed, <-resumed; a != 6 || b != 0 {
		t.Errorf("resumed at %d, then %d", a, b)
	}
}
