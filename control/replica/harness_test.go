package replica_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"dhow.dev/dhow/control/replica"
	"dhow.dev/dhow/control/store"
	dhowv1 "dhow.dev/dhow/proto/dhow/v1"
	"dhow.dev/dhow/proto/spec"
)

// network hands out loopback connections and can cut them.
type network struct {
	mu    sync.Mutex
	cut   map[string]bool // "a>b" by name
	names map[string]string
	conns map[net.Conn][2]string
}

func newNetwork() *network {
	return &network{cut: map[string]bool{}, names: map[string]string{}, conns: map[net.Conn][2]string{}}
}

func (n *network) dialer(from string) func(context.Context, string) (net.Conn, error) {
	return func(ctx context.Context, addr string) (net.Conn, error) {
		n.mu.Lock()
		to := n.names[addr]
		cut := n.cut[from] || n.cut[to]
		n.mu.Unlock()
		if cut {
			return nil, errors.New("test: the network is cut")
		}
		var d net.Dialer
		c, err := d.DialContext(ctx, "tcp", addr)
		if err != nil {
			return nil, err
		}
		n.mu.Lock()
		defer n.mu.Unlock()
		if n.cut[from] || n.cut[to] {
			return nil, errors.Join(errors.New("test: the network is cut"), c.Close())
		}
		n.conns[c] = [2]string{from, to}
		return c, nil
	}
}

// isolate cuts one server off, or lets it back.
func (n *network) isolate(name string, cut bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.cut[name] = cut
	if !cut {
		return
	}
	for c, ends := range n.conns {
		if ends[0] == name || ends[1] == name {
			_ = c.Close()
			delete(n.conns, c)
		}
	}
}

type server struct {
	name, dir, addr string
	store           *store.Store
	*replica.Replica
}

type cluster struct {
	t       testing.TB
	net     *network
	servers map[string]*server
	tune    func(*replica.Config)
	root    string
}

func newCluster(t testing.TB, n int, tune func(*replica.Config)) *cluster {
	t.Helper()
	c := &cluster{t: t, net: newNetwork(), servers: map[string]*server{}, tune: tune, root: t.TempDir()}
	t.Cleanup(func() {
		for _, s := range c.servers {
			c.stop(s)
		}
	})
	first := c.start("s1", filepath.Join(c.root, "s1"), true)
	c.leader()
	for i := 2; i <= n; i++ {
		c.join(fmt.Sprintf("s%d", i), first)
	}
	return c
}

func (c *cluster) join(name string, via *server) *server {
	c.t.Helper()
	s := c.start(name, filepath.Join(c.root, name), false)
	for {
		err := via.AddServer(c.ctx(), name, s.addr)
		if err == nil {
			return s
		}
		if code := spec.CodeOf(err); code != spec.CodeNotLeader && code != spec.CodeUnavailable {
			c.t.Fatalf("add %s: %v", name, err)
		}
		via = c.leader(s) // The machine may be busy enough for an election.
	}
}

func (c *cluster) ctx() context.Context {
	ctx, cancel := context.WithTimeout(c.t.Context(), 30*time.Second)
	c.t.Cleanup(cancel)
	return ctx
}

// start opens a server on the directory; its address stays with its name.
func (c *cluster) start(name, dir string, bootstrap bool) *server {
	c.t.Helper()
	s := &server{name: name, dir: dir}
	if old := c.servers[name]; old != nil {
		s.addr = old.addr
	}
	at := s.addr
	if at == "" {
		at = "127.0.0.1:0"
	}
	l, err := net.Listen("tcp", at)
	if err != nil {
		c.t.Fatal(err)
	}
	s.addr = l.Addr().String()
	c.net.mu.Lock()
	c.net.names[s.addr] = name
	c.net.mu.Unlock()
	logger := slog.New(slog.NewTextHandler(testWriter{c.t}, nil)).With("server", name)
	if !testing.Verbose() {
		logger = slog.New(slog.DiscardHandler)
	}
	if s.store, err = store.Open(dir, store.Options{ClusterID: "test", Logger: logger}); err != nil {
		c.t.Fatalf("open the store of %s: %v", name, err)
	}
	rc := replica.Config{
		Name: name, Address: s.addr, Bootstrap: bootstrap, Dir: filepath.Join(dir, "snapshots"),
		Log: s.store.Log(), FSM: s.store, Listener: l, Dial: c.net.dialer(name), Logger: logger,
	}
	if c.tune != nil {
		c.tune(&rc)
	}
	if s.Replica, err = replica.Open(rc); err != nil {
		c.t.Fatalf("open the replica of %s: %v", name, err)
	}
	s.store.SetProposer(s.Replica)
	c.servers[name] = s
	return s
}

type testWriter struct{ t testing.TB }

func (w testWriter) Write(p []byte) (int, error) {
	w.t.Logf("%s", p)
	return len(p), nil
}

func (c *cluster) stop(s *server) {
	if s.Replica == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	if err := s.Shutdown(ctx); err != nil {
		c.t.Errorf("shut down %s: %v", s.name, err)
	}
	if err := s.store.Close(); err != nil {
		c.t.Errorf("close the store of %s: %v", s.name, err)
	}
	s.Replica = nil
}

// crash cuts a server off, so that it hands nothing over, and stops it.
func (c *cluster) crash(s *server) {
	c.net.isolate(s.name, true)
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	_ = s.Shutdown(ctx)
	_ = s.store.Close()
	s.Replica = nil
}

func (c *cluster) restart(s *server) *server {
	c.t.Helper()
	c.net.isolate(s.name, false)
	return c.start(s.name, s.dir, false)
}

// leader waits for a server that leads.
func (c *cluster) leader(not ...*server) *server {
	c.t.Helper()
	type found struct{ s *server }
	ctx, cancel := context.WithCancel(c.ctx())
	defer cancel()
	ch := make(chan found, len(c.servers))
	n := 0
	for _, s := range c.servers {
		if s.Replica == nil || contains(not, s) {
			continue
		}
		n++
		go func() {
			if _, _, err := s.Lead(ctx); err == nil {
				ch <- found{s}
				return
			}
			ch <- found{}
		}()
	}
	for range n {
		if f := <-ch; f.s != nil {
			return f.s
		}
	}
	c.t.Fatal("no server leads")
	return nil
}

func contains(list []*server, s *server) bool {
	return slices.Contains(list, s)
}

// write proposes to whoever leads until it is acknowledged.
func (c *cluster) write(p *dhowv1.Proposal, not ...*server) *dhowv1.ProposalResult {
	c.t.Helper()
	for {
		ctx, cancel := context.WithTimeout(c.ctx(), 5*time.Second)
		r, err := c.leader(not...).store.Propose(ctx, p)
		cancel()
		if err == nil {
			return r
		}
		if c.t.Context().Err() != nil {
			c.t.Fatalf("write: %v", err)
		}
	}
}

// same waits until all running servers are at the revision and compares
// their hashes.
func (c *cluster) same(rev uint64) {
	c.t.Helper()
	// A write after it, so that all learn of its commit.
	r := c.write(put("barrier", fmt.Sprint(rev)))
	var want []byte
	for _, s := range c.servers {
		if s.Replica == nil {
			continue
		}
		if err := s.store.WaitRevision(c.ctx(), max(rev, r.GetRevision())); err != nil {
			c.t.Fatalf("%s: %v", s.name, err)
		}
		at, hash, err := s.store.Hash()
		if err != nil {
			c.t.Fatal(err)
		}
		if want == nil {
			want = hash
		}
		if string(want) != string(hash) {
			c.t.Errorf("%s at %d has another state than the others", s.name, at)
		}
	}
}

func put(name, file string) *dhowv1.Proposal {
	return &dhowv1.Proposal{Changes: []*dhowv1.Change{{Op: &dhowv1.Change_Put{Put: &dhowv1.Object{
		Kind: &dhowv1.Object_Artifact{Artifact: &dhowv1.Artifact{
			Meta: &dhowv1.Meta{Name: name, Uid: "u-" + name}, File: file,
		}},
	}}}}}
}

func (s *server) has(name string) bool {
	v := s.store.View()
	defer v.Close()
	_, err := v.Get(&dhowv1.Ref{Kind: dhowv1.Kind_KIND_ARTIFACT, Name: name})
	return err == nil
}
