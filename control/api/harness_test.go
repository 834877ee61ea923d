package api_test

import (
	"context"
	"crypto/sha256"
	"crypto/tls"
	"encoding/hex"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	"dhow.dev/dhow/control/api"
	"dhow.dev/dhow/control/auth"
	"dhow.dev/dhow/control/peer"
	"dhow.dev/dhow/control/registry"
	"dhow.dev/dhow/control/session"
	"dhow.dev/dhow/control/store"
	"dhow.dev/dhow/internal/client"
	"dhow.dev/dhow/internal/pki"
	dhowv1 "dhow.dev/dhow/proto/dhow/v1"
	"dhow.dev/dhow/proto/spec"
)

// direct is the consensus of one: it applies at once.
type direct struct {
	s     *store.Store
	mu    sync.Mutex
	index uint64
	// leaderless makes it fail as a server without a leader does.
	leaderless atomic.Bool
}

func (d *direct) Propose(_ context.Context, p *dhowv1.Proposal) (*dhowv1.ProposalResult, error) {
	if d.leaderless.Load() {
		return nil, spec.Errorf(spec.CodeNotLeader, "there is no leader; nothing was changed")
	}
	data, err := proto.Marshal(&dhowv1.Command{Proposals: []*dhowv1.Proposal{p}})
	if err != nil {
		return nil, err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.index++
	return d.s.Apply(d.index, 1, data)[0], nil
}

func (d *direct) ReadIndex(context.Context) (uint64, error) {
	if d.leaderless.Load() {
		return 0, spec.Errorf(spec.CodeNotLeader, "there is no leader")
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.index, nil
}

// world is one server with everything real but Raft.
type world struct {
	told   atomic.Pointer[[]string] // servers that nodes are told of
	t      testing.TB
	store  *store.Store
	direct *direct
	hub    *session.Hub
	blobs  *registry.Store
	ca     *pki.CA
	addr   string
	admin  string
	clock  atomic.Int64 // added to the real time, in seconds
	peers  *fakePeers
	config api.Config
}

func (w *world) now() time.Time { return time.Now().Add(time.Duration(w.clock.Load()) * time.Second) }

func newWorld(t testing.TB, change ...func(*api.Config)) *world {
	t.Helper()
	s, err := store.Open(filepath.Join(t.TempDir(), "state"), store.Options{})
	if err != nil {
		t.Fatal(err)
	}
	d := &direct{s: s}
	s.SetProposer(d)
	return newWorldOn(t, s, append([]func(*api.Config){func(c *api.Config) { c.Reads = d }}, change...)...)
}

func newWorldOn(t testing.TB, s *store.Store, change ...func(*api.Config)) *world {
	t.Helper()
	w := &world{t: t, peers: &fakePeers{}, store: s}
	ctx, cancel := context.WithCancel(context.Background())
	var done sync.WaitGroup
	var err error
	if w.ca, err = pki.NewCA("testcluster", w.now()); err != nil {
		t.Fatal(err)
	}
	log := slog.New(slog.DiscardHandler)
	if w.blobs, err = registry.Open(registry.Config{Dir: filepath.Join(t.TempDir(), "blobs"), Now: w.now, Logger: log}); err != nil {
		t.Fatal(err)
	}
	w.hub = session.New(session.Config{
		Server: "s1", Store: w.store, Caller: api.Caller, Servers: w.servers, Now: w.now, Logger: log,
	})
	w.config = api.Config{
		Server: "s1", Version: "test", Store: w.store, CA: w.ca, Blobs: w.blobs, Copies: w.peers,
		Sessions: w.hub, Agents: w.hub, Peers: w.peers, Cluster: w.peers, Now: w.now, Logger: log,
		PeerService: peer.NewService(peer.Config{Caller: api.Caller, Logger: log}),
	}
	for _, f := range change {
		f(&w.config)
	}
	w.direct, _ = w.config.Reads.(*direct)
	if h, ok := w.config.Sessions.(*session.Hub); ok {
		w.hub = h
	}
	creds := w.issue(pki.Server, "s1")
	a, handler := api.New(w.config)
	srv := api.NewServer(handler, creds.ServerTLS(), log)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	w.addr = l.Addr().String()
	for _, run := range []func(context.Context) error{a.Run, w.hub.Run} {
		done.Go(func() {
			if err := run(ctx); err != nil && !errors.Is(err, context.Canceled) {
				t.Errorf("run: %v", err)
			}
		})
	}
	done.Go(func() {
		if err := srv.ServeTLS(l, "", ""); !errors.Is(err, http.ErrServerClosed) {
			t.Errorf("serve: %v", err)
		}
	})
	t.Cleanup(func() {
		cancel()
		_ = srv.Close()
		done.Wait()
		if err := w.store.Close(); err != nil {
			t.Errorf("close the store: %v", err)
		}
	})
	w.put(&dhowv1.Namespace{Meta: &dhowv1.Meta{Name: "default", Uid: "ns"}})
	w.admin = w.token("admin", dhowv1.Role_ROLE_ADMIN, time.Hour)
	return w
}

func (w *world) issue(kind pki.Kind, name string) *pki.Credentials {
	w.t.Helper()
	c, err := w.ca.Issue(w.t.TempDir(), w.now, pki.Identity{Cluster: w.ca.Cluster(), Kind: kind, Name: name}, "127.0.0.1")
	if err != nil {
		w.t.Fatal(err)
	}
	return c
}

// put writes an object past the API.
func (w *world) put(m proto.Message) *dhowv1.Object {
	w.t.Helper()
	o := spec.Wrap(m)
	if meta := spec.MetaOf(o); meta.Uid == "" {
		meta.Uid = "uid-" + meta.Name
	}
	return w.propose(&dhowv1.Change{Op: &dhowv1.Change_Put{Put: o}})[0]
}

func (w *world) propose(c ...*dhowv1.Change) []*dhowv1.Object {
	w.t.Helper()
	res, err := w.store.Propose(context.Background(), &dhowv1.Proposal{Time: timestamppb.New(w.now()), Changes: c})
	if err != nil {
		w.t.Fatal(err)
	}
	return res.GetObjects()
}

// token makes an access or join token past the API.
func (w *world) token(name string, role dhowv1.Role, ttl time.Duration) string {
	w.t.Helper()
	fingerprint := ""
	if role >= dhowv1.Role_ROLE_JOIN_NODE {
		fingerprint = w.ca.Fingerprint()
	}
	tok := auth.New(name, fingerprint)
	w.put(&dhowv1.Token{Meta: &dhowv1.Meta{Name: name}, Role: role, SecretHash: tok.Hash(), ExpiresAt: timestamppb.New(w.now().Add(ttl))})
	return tok.String()
}

func (w *world) pinned() *tls.Config {
	w.t.Helper()
	c, err := pki.PinnedTLS(w.ca.Certificate(), w.now)
	if err != nil {
		w.t.Fatal(err)
	}
	return c
}

// as is a client with a token.
func (w *world) as(token string, change ...func(*client.Options)) *client.Client {
	w.t.Helper()
	return w.client(append([]func(*client.Options){func(o *client.Options) { o.TLS, o.Token = w.pinned(), token }}, change...)...)
}

// asMachine is a client with a certificate.
func (w *world) asMachine(kind pki.Kind, name string) *client.Client {
	w.t.Helper()
	return w.client(func(o *client.Options) { o.TLS = w.issue(kind, name).ClientTLS() })
}

func (w *world) client(change ...func(*client.Options)) *client.Client {
	w.t.Helper()
	o := client.Options{Servers: []string{w.addr}, Pinned: true}
	for _, f := range change {
		f(&o)
	}
	c, err := client.New(o)
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(c.Close)
	return c
}

// artifact stores a blob and its record.
func (w *world) artifact(content string) string {
	w.t.Helper()
	sum := sha256.Sum256([]byte(content))
	digest := "sha256:" + hex.EncodeToString(sum[:])
	b, err := w.blobs.Create(digest, int64(len(content)))
	if err != nil {
		w.t.Fatal(err)
	}
	if _, err := io.WriteString(b, content); err != nil {
		w.t.Fatal(err)
	}
	if _, err := b.Commit(); err != nil {
		w.t.Fatal(err)
	}
	w.put(&dhowv1.Artifact{Meta: &dhowv1.Meta{Name: digest}, Size: uint64(len(content))})
	return digest
}

func workload(name, digest string) *dhowv1.Object {
	return spec.Wrap(&dhowv1.Workload{Meta: &dhowv1.Meta{Name: name}, Spec: &dhowv1.WorkloadSpec{
		Template: &dhowv1.Template{Tasks: []*dhowv1.Task{{Source: &dhowv1.Task_Wasm{Wasm: &dhowv1.WasmSource{Artifact: digest}}}}},
	}})
}

// fakePeers stands for the other servers and the members.
type fakePeers struct {
	mu         sync.Mutex
	replicated []string
	removed    []string
	blobs      map[string]string
	logs       func(server string, q *dhowv1.LogQuery, send func([]*dhowv1.LogLine) error) error
	fail       error
	servers    []*dhowv1.Server
}

func (p *fakePeers) Replicate(_ context.Context, digest string) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.replicated = append(p.replicated, digest)
	return p.fail
}

func (p *fakePeers) FetchAny(_ context.Context, digest string, offset uint64) (io.ReadCloser, uint64, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	b, ok := p.blobs[digest]
	if !ok {
		return nil, 0, spec.Errorf(spec.CodeNotFound, "no server has the artifact %s", digest)
	}
	return io.NopCloser(&stringReader{b[offset:]}), uint64(len(b)), nil
}

type stringReader struct{ s string }

func (r *stringReader) Read(b []byte) (int, error) {
	if r.s == "" {
		return 0, io.EOF
	}
	n := copy(b, r.s)
	r.s = r.s[n:]
	return n, nil
}

func (p *fakePeers) Logs(_ context.Context, server string, q *dhowv1.LogQuery, send func([]*dhowv1.LogLine) error) error {
	return p.logs(server, q, send)
}

func (p *fakePeers) RemovePeer(_ context.Context, server string) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.removed = append(p.removed, server)
	return nil
}

func (p *fakePeers) Leader() string { return "s1" }
func (p *fakePeers) Servers() []*dhowv1.Server {
	if p.servers != nil {
		return p.servers
	}
	return []*dhowv1.Server{{Name: "s1", Leader: true, Voter: true, State: "alive"}}
}
func (p *fakePeers) APIs() []string    { return []string{"127.0.0.1:7400"} }
func (p *fakePeers) Gossip() []string  { return []string{"127.0.0.1:7402"} }
func (p *fakePeers) GossipKey() []byte { return []byte("0123456789abcdef0123456789abcdef") }

// wantCode fails unless err has the code.
func wantCode(t testing.TB, err error, code spec.Code, contains ...string) {
	t.Helper()
	if spec.CodeOf(err) != code {
		t.Fatalf("got code %q (%v), want %q", spec.CodeOf(err), err, code)
	}
	for _, c := range contains {
		if !strings.Contains(err.Error(), c) {
			t.Fatalf("error %q does not say %q", err, c)
		}
	}
}

func (w *world) servers() []string {
	if list := w.told.Load(); list != nil {
		return *list
	}
	return []string{w.addr}
}
