package peer_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"log/slog"
	"maps"
	"net"
	"net/http"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"dhow.dev/dhow/control/api"
	"dhow.dev/dhow/control/peer"
	"dhow.dev/dhow/control/registry"
	"dhow.dev/dhow/control/session"
	"dhow.dev/dhow/control/store"
	"dhow.dev/dhow/internal/client"
	"dhow.dev/dhow/internal/pki"
	dhowv1 "dhow.dev/dhow/proto/dhow/v1"
	"dhow.dev/dhow/proto/spec"
)

// raft is what the servers of a test agree on: who leads.
type raft struct {
	mu      sync.Mutex
	leader  string
	changed chan struct{}
}

func (r *raft) lead(name string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.leader = name
	close(r.changed)
	r.changed = make(chan struct{})
}

// member is one server's replica.
type member struct {
	*raft
	name     string
	proposed atomic.Int64
	reads    atomic.Int64
	propose  atomic.Pointer[func(context.Context, *dhowv1.Proposal) (*dhowv1.ProposalResult, error)]
	read     atomic.Pointer[func(context.Context) (uint64, error)]
	mu       sync.Mutex
	members  []string
}

func (m *member) Leader() (string, string) {
	m.raft.mu.Lock()
	defer m.raft.mu.Unlock()
	return m.leader, ""
}

func (m *member) LeaderChanged() <-chan struct{} {
	m.raft.mu.Lock()
	defer m.raft.mu.Unlock()
	return m.changed
}

func (m *member) leads() error {
	if name, _ := m.Leader(); name != m.name {
		return spec.Errorf(spec.CodeNotLeader, "%s does not lead", m.name)
	}
	return nil
}

func (m *member) Propose(ctx context.Context, p *dhowv1.Proposal) (*dhowv1.ProposalResult, error) {
	if err := m.leads(); err != nil {
		return nil, err
	}
	m.proposed.Add(1)
	if f := m.propose.Load(); f != nil {
		return (*f)(ctx, p)
	}
	return &dhowv1.ProposalResult{Revision: 7}, nil
}

func (m *member) ReadIndex(ctx context.Context) (uint64, error) {
	if err := m.leads(); err != nil {
		return 0, err
	}
	m.reads.Add(1)
	if f := m.read.Load(); f != nil {
		return (*f)(ctx)
	}
	return 42, nil
}

func (m *member) AddServer(_ context.Context, name, addr string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.members = append(m.members, name+" "+addr)
	return m.leads()
}

func (m *member) RemoveServer(_ context.Context, name string) error {
	if err := m.leads(); err != nil {
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.members = append(m.members, "-"+name)
	return nil
}

// server is one of a cluster's, with a real API port.
type server struct {
	*member
	peers *peer.Peers
	blobs *registry.Store
	addr  string
	http  *http.Server
	creds *pki.Credentials
}

type cluster struct {
	t       *testing.T
	ca      *pki.CA
	raft    *raft
	mu      sync.Mutex
	addrs   map[string]string
	servers map[string]*server
}

func newCluster(t *testing.T, names ...string) *cluster {
	t.Helper()
	ca, err := pki.NewCA("testcluster", time.Now())
	if err != nil {
		t.Fatal(err)
	}
	c := &cluster{t: t, ca: ca, raft: &raft{changed: make(chan struct{})}, addrs: map[string]string{}, servers: map[string]*server{}}
	for _, n := range names {
		c.start(n)
	}
	return c
}

func (c *cluster) addresses() map[string]string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return maps.Clone(c.addrs)
}

func (c *cluster) issue(kind pki.Kind, name string) *pki.Credentials {
	c.t.Helper()
	creds, err := c.ca.Issue(c.t.TempDir(), time.Now, pki.Identity{Cluster: c.ca.Cluster(), Kind: kind, Name: name})
	if err != nil {
		c.t.Fatal(err)
	}
	return creds
}

func (c *cluster) start(name string) *server {
	t := c.t
	t.Helper()
	log := slog.New(slog.DiscardHandler)
	s := &server{member: &member{raft: c.raft, name: name}, creds: c.issue(pki.Server, name)}
	state, err := store.Open(filepath.Join(t.TempDir(), "state"), store.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if s.blobs, err = registry.Open(registry.Config{Dir: filepath.Join(t.TempDir(), "blobs"), Now: time.Now, Logger: log}); err != nil {
		t.Fatal(err)
	}
	conf := peer.Config{
		Server: name, Replica: s.member, Addresses: c.addresses, TLS: s.creds.ClientTLS(), Caller: api.Caller, Logger: log,
		Patience: 300 * time.Millisecond,
	}
	s.peers = peer.New(conf)
	hub := session.New(session.Config{Server: name, Store: state, Caller: api.Caller, Now: time.Now, Logger: log})
	_, handler := api.New(api.Config{
		Server: name, Store: state, Reads: s.peers, CA: c.ca, Blobs: s.blobs, Sessions: hub, Agents: hub, Peers: s.peers,
		PeerService: peer.NewService(conf), Now: time.Now, Logger: log,
	})
	s.http = api.NewServer(handler, s.creds.ServerTLS(), log)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s.addr = l.Addr().String()
	c.mu.Lock()
	c.addrs[name] = s.addr
	c.servers[name] = s
	c.mu.Unlock()
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = s.http.ServeTLS(l, "", "")
	}()
	t.Cleanup(func() {
		s.peers.Close()
		_ = s.http.Close()
		<-done
		_ = state.Close()
	})
	return s
}

func put() *dhowv1.Proposal {
	return &dhowv1.Proposal{Changes: []*dhowv1.Change{{Op: &dhowv1.Change_Put{Put: spec.Wrap(&dhowv1.Namespace{Meta: &dhowv1.Meta{Name: "x"}})}}}}
}

func report() *dhowv1.Proposal {
	return &dhowv1.Proposal{Changes: []*dhowv1.Change{{Op: &dhowv1.Change_Node{Node: &dhowv1.NodeReport{Node: "n1"}}}}}
}

func wantCode(t *testing.T, err error, code spec.Code) {
	t.Helper()
	if spec.CodeOf(err) != code {
		t.Fatalf("got %q (%v), want %q", spec.CodeOf(err), err, code)
	}
}

func TestForwardToTheLeader(t *testing.T) {
	c := newCluster(t, "s1", "s2", "s3")
	c.raft.lead("s2")
	for name, s := range c.servers {
		res, err := s.peers.Propose(t.Context(), put())
		if err != nil || res.Revision != 7 {
			t.Errorf("%s: %v %v", name, res, err)
		}
		if index, err := s.peers.ReadIndex(t.Context()); err != nil || index != 42 {
			t.Errorf("%s: %d %v", name, index, err)
		}
	}
	if n := c.servers["s2"].proposed.Load(); n != 3 {
		t.Errorf("the leader got %d of 3 proposals", n)
	}
	if err := c.servers["s1"].peers.RemovePeer(t.Context(), "s3"); err != nil || c.servers["s2"].members[0] != "-s3" {
		t.Error(err, c.servers["s2"].members)
	}
	// What Apply refused comes back as it was said.
	refuse := func(context.Context, *dhowv1.Proposal) (*dhowv1.ProposalResult, error) {
		return &dhowv1.ProposalResult{Revision: 8, Code: string(spec.CodeConflict), Message: "changed meanwhile"}, nil
	}
	c.servers["s2"].propose.Store(&refuse)
	if res, err := c.servers["s1"].peers.Propose(t.Context(), put()); err != nil || res.Code != "conflict" {
		t.Error(res, err)
	}
}

func TestProposalsWaitForALeader(t *testing.T) {
	c := newCluster(t, "s1", "s2")
	_, err := c.servers["s1"].peers.Propose(t.Context(), put())
	wantCode(t, err, spec.CodeNotLeader)
	_, err = c.servers["s1"].peers.ReadIndex(t.Context())
	wantCode(t, err, spec.CodeNotLeader)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err = c.servers["s1"].peers.Propose(ctx, put())
	wantCode(t, err, spec.CodeTimeout)
	// A leader that is gone was never sent anything: the next one gets it.
	_ = c.servers["s2"].http.Close()
	c.raft.lead("s2")
	got := make(chan error)
	go func() {
		_, err := c.servers["s1"].peers.Propose(t.Context(), put())
		got <- err
	}()
	c.raft.lead("s1")
	if err := <-got; err != nil {
		t.Error(err)
	}
}

// A proposal that the leader may have carried out is not sent again, unless
// that does no harm.
func TestNothingIsDoneTwice(t *testing.T) {
	c := newCluster(t, "s1", "s2")
	c.raft.lead("s2")
	lost := func(context.Context, *dhowv1.Proposal) (*dhowv1.ProposalResult, error) {
		if c.servers["s2"].proposed.Load()%2 == 1 {
			return nil, spec.Errorf(spec.CodeUnavailable, "leadership was lost")
		}
		return &dhowv1.ProposalResult{Revision: 9}, nil
	}
	c.servers["s2"].propose.Store(&lost)
	_, err := c.servers["s1"].peers.Propose(t.Context(), put())
	wantCode(t, err, spec.CodeUnavailable)
	if n := c.servers["s2"].proposed.Load(); n != 1 {
		t.Fatalf("a put was proposed %d times", n)
	}
	c.servers["s2"].proposed.Store(0)
	if _, err := c.servers["s1"].peers.Propose(t.Context(), report()); err != nil || c.servers["s2"].proposed.Load() != 2 {
		t.Errorf("a report may go again: %v after %d", err, c.servers["s2"].proposed.Load())
	}
	// A plan dies with its leader's term.
	stale := put()
	stale.Term = 3
	c.servers["s2"].proposed.Store(0)
	_, err = c.servers["s1"].peers.Propose(t.Context(), stale)
	if err == nil || c.servers["s2"].proposed.Load() != 1 {
		t.Error(err, c.servers["s2"].proposed.Load())
	}
}

// A leader that hangs and is replaced does not hold its callers for ever.
func TestLeaderThatHangs(t *testing.T) {
	c := newCluster(t, "s1", "s2")
	c.raft.lead("s2")
	arrived := make(chan struct{}, 1)
	hang := func(ctx context.Context, _ *dhowv1.Proposal) (*dhowv1.ProposalResult, error) {
		arrived <- struct{}{}
		<-ctx.Done()
		return nil, ctx.Err()
	}
	c.servers["s2"].propose.Store(&hang)
	got := make(chan error)
	go func() {
		_, err := c.servers["s1"].peers.Propose(t.Context(), put())
		got <- err
	}()
	<-arrived
	c.raft.lead("s1")
	wantCode(t, <-got, spec.CodeUnavailable)
}

func TestReadIndexesAreShared(t *testing.T) {
	c := newCluster(t, "s1", "s2")
	c.raft.lead("s2")
	release := make(chan struct{})
	slow := func(context.Context) (uint64, error) {
		<-release
		return uint64(c.servers["s2"].reads.Load()), nil
	}
	c.servers["s2"].read.Store(&slow)
	const readers = 100
	var all sync.WaitGroup
	for range readers {
		all.Go(func() {
			if _, err := c.servers["s1"].peers.ReadIndex(t.Context()); err != nil {
				t.Error(err)
			}
		})
	}
	close(release)
	all.Wait()
	if n := c.servers["s2"].reads.Load(); n > readers/2 {
		t.Errorf("%d questions for %d readers", n, readers)
	}
}

func TestAddressThatChangedHands(t *testing.T) {
	c := newCluster(t, "s1", "s2", "s3")
	c.mu.Lock()
	c.addrs["s2"] = c.addrs["s3"]
	c.mu.Unlock()
	c.raft.lead("s2")
	if _, err := c.servers["s1"].peers.Propose(t.Context(), put()); err == nil {
		t.Error("server s3 was taken for s2")
	}
	// When it is found again, all is well.
	c.mu.Lock()
	c.addrs["s2"] = c.servers["s2"].addr
	c.mu.Unlock()
	if _, err := c.servers["s1"].peers.Propose(t.Context(), put()); err != nil {
		t.Error(err)
	}
}

func TestServiceIsForServersOnly(t *testing.T) {
	c := newCluster(t, "s1")
	c.raft.lead("s1")
	call := func(creds *pki.Credentials) *client.Client {
		cl, err := client.New(client.Options{Servers: []string{c.servers["s1"].addr}, TLS: creds.ClientTLS(), Peer: true})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(cl.Close)
		return cl
	}
	node, s2 := call(c.issue(pki.Node, "n1")), call(c.issue(pki.Server, "s2"))
	_, err := node.Peers.Propose(t.Context(), &dhowv1.ProposeRequest{Proposal: put()})
	wantCode(t, err, spec.CodeDenied)
	_, err = node.Peers.ReadIndex(t.Context(), &dhowv1.ReadIndexRequest{})
	wantCode(t, err, spec.CodeDenied)
	_, err = node.Peers.AddServer(t.Context(), &dhowv1.AddServerRequest{Name: "n1"})
	wantCode(t, err, spec.CodeDenied)
	_, err = node.Peers.RemovePeer(t.Context(), &dhowv1.RemovePeerRequest{Name: "s1"})
	wantCode(t, err, spec.CodeDenied)
	if c.servers["s1"].proposed.Load() != 0 {
		t.Error("a node's proposal went through")
	}
	_, err = s2.Peers.AddServer(t.Context(), &dhowv1.AddServerRequest{Name: "s3", RaftAddress: "x:1"})
	wantCode(t, err, spec.CodeDenied)
	_, err = s2.Peers.Propose(t.Context(), &dhowv1.ProposeRequest{})
	wantCode(t, err, spec.CodeInvalid)
	if _, err := s2.Peers.AddServer(t.Context(), &dhowv1.AddServerRequest{Name: "s2", RaftAddress: "x:1"}); err != nil {
		t.Error(err)
	}
	c.raft.lead("s9")
	_, err = s2.Peers.Propose(t.Context(), &dhowv1.ProposeRequest{Proposal: put()})
	wantCode(t, err, spec.CodeNotLeader)
}

func TestBlobsBetweenServers(t *testing.T) {
	c := newCluster(t, "s1", "s2", "s3")
	content := bytes.Repeat([]byte("blob"), 200_000)
	sum := sha256.Sum256(content)
	digest := "sha256:" + hex.EncodeToString(sum[:])
	s1 := c.servers["s1"].peers
	if got := s1.Servers(); len(got) != 2 || got[0] != "s2" || got[1] != "s3" {
		t.Errorf("others: %v", got)
	}
	for range 2 {
		if err := s1.Put(t.Context(), "s3", digest, int64(len(content)), bytes.NewReader(content)); err != nil {
			t.Fatal(err)
		}
	}
	if !c.servers["s3"].blobs.Has(digest) {
		t.Fatal("s3 does not have it")
	}
	_, err := s1.Fetch(t.Context(), "s2", digest)
	wantCode(t, err, spec.CodeNotFound)
	body, size, err := s1.FetchAny(t.Context(), digest, 400_000)
	if err != nil || size != uint64(len(content)) {
		t.Fatal(size, err)
	}
	got, err := io.ReadAll(body)
	if err != nil || !bytes.Equal(got, content[400_000:]) {
		t.Errorf("%d bytes: %v", len(got), err)
	}
	if err := body.Close(); err != nil {
		t.Error(err)
	}
	_, _, err = s1.FetchAny(t.Context(), "sha256:"+hex.EncodeToString(make([]byte, 32)), 0)
	wantCode(t, err, spec.CodeNotFound)
	_ = c.servers["s2"].http.Close()
	_, _, err = s1.FetchAny(t.Context(), "sha256:"+hex.EncodeToString(make([]byte, 32)), 0)
	wantCode(t, err, spec.CodeUnavailable)
	// A reader that breaks is said, and leaves nothing.
	other := "sha256:" + hex.EncodeToString(make([]byte, 32))
	if err := s1.Put(t.Context(), "s3", other, 100, io.MultiReader(bytes.NewReader(make([]byte, 10)), broken{})); !errors.Is(err, errBroken{}) {
		t.Error(err)
	}
	if err := s1.Put(t.Context(), "s3", other, 10, bytes.NewReader(make([]byte, 10))); spec.CodeOf(err) != spec.CodeInvalid || c.servers["s3"].blobs.Has(other) {
		t.Error("content of another digest:", err)
	}
}

type errBroken struct{}

func (errBroken) Error() string { return "broken disk" }

type broken struct{}

func (broken) Read([]byte) (int, error) { return 0, errBroken{} }
