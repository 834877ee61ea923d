package node_test

import (
	"context"
	"errors"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"connectrpc.com/connect"
	"google.golang.org/protobuf/types/known/durationpb"

	"dhow.dev/dhow/internal/pki"
	"dhow.dev/dhow/node"
	"dhow.dev/dhow/node/runtime"
	"dhow.dev/dhow/node/runtime/fake"
	dhowv1 "dhow.dev/dhow/proto/dhow/v1"
	"dhow.dev/dhow/proto/dhow/v1/dhowv1connect"
	"dhow.dev/dhow/proto/spec"
)

// cluster is a server that knows just enough: Join, Session, ReportStatus.
type cluster struct {
	dhowv1connect.UnimplementedAuthServiceHandler
	dhowv1connect.UnimplementedAgentServiceHandler
	ca     *pki.CA
	addr   string
	server *http.Server

	mu      sync.Mutex
	joins   []*dhowv1.JoinRequest
	running chan string // names of instances that are reported running
	hellos  chan *dhowv1.Hello
	ended   chan struct{}
}

func (c *cluster) Join(_ context.Context, r *dhowv1.JoinRequest) (*dhowv1.JoinResponse, error) {
	c.mu.Lock()
	c.joins = append(c.joins, r)
	c.mu.Unlock()
	if !strings.HasPrefix(r.GetToken(), "dhowj_good_") {
		return nil, connect.NewError(connect.CodeUnauthenticated, spec.Errorf(spec.CodeUnknownUser, "this token is unknown or has ended"))
	}
	cert, err := c.ca.Sign(r.GetCsr(), pki.Identity{Cluster: c.ca.Cluster(), Kind: pki.Node, Name: r.GetName()}, time.Now())
	return &dhowv1.JoinResponse{
		Certificate: cert, Ca: c.ca.Certificate(), GossipKey: make([]byte, 32), Servers: []string{c.addr}, ClusterId: c.ca.Cluster(),
	}, err
}

func (c *cluster) Session(ctx context.Context, st *connect.BidiStream[dhowv1.SessionRequest, dhowv1.SessionResponse]) error {
	hello, err := st.Receive()
	if err != nil {
		return err
	}
	c.hellos <- hello.GetHello()
	messages := []*dhowv1.SessionResponse{
		{Message: &dhowv1.SessionResponse_Welcome{Welcome: &dhowv1.Welcome{
			Heartbeat: durationpb.New(time.Second), Timeout: durationpb.New(time.Minute), Servers: []string{c.addr},
		}}},
		{Message: &dhowv1.SessionResponse_Assignments{Assignments: &dhowv1.Assignments{
			Generation: 3, Full: true,
			Instances: []*dhowv1.Instance{{
				Meta: &dhowv1.Meta{Uid: "u1", Name: "web-0", Namespace: "default", Version: 3},
				Spec: &dhowv1.InstanceSpec{Workload: "web", WorkloadUid: "w", Revision: 1, Node: "n1", Desired: dhowv1.Desired_DESIRED_RUN},
			}},
			Revisions: []*dhowv1.Revision{{
				Meta: &dhowv1.Meta{Name: "web.1", Namespace: "default"}, Workload: "web", WorkloadUid: "w", Number: 1,
				Template: &dhowv1.Template{Tasks: []*dhowv1.Task{{
					Name: "main", Role: dhowv1.TaskRole_TASK_ROLE_MAIN, Source: &dhowv1.Task_Image{Image: &dhowv1.ImageSource{Runtime: "fake"}},
				}}},
			}},
		}}},
	}
	for _, m := range messages {
		if err := st.Send(m); err != nil {
			return err
		}
	}
	for {
		if _, err := st.Receive(); err != nil {
			c.ended <- struct{}{}
			return err
		}
	}
}

func (c *cluster) ReportStatus(_ context.Context, r *dhowv1.ReportStatusRequest) (*dhowv1.ReportStatusResponse, error) {
	for _, rep := range r.GetReports() {
		if rep.GetStatus().GetReady() {
			c.running <- rep.GetRef().GetName()
		}
	}
	return &dhowv1.ReportStatusResponse{}, nil
}

func newCluster(t *testing.T) *cluster {
	t.Helper()
	ca, err := pki.NewCA(pki.NewClusterID(), time.Now())
	if err != nil {
		t.Fatal(err)
	}
	creds, err := ca.Issue(t.TempDir(), time.Now, pki.Identity{Cluster: ca.Cluster(), Kind: pki.Server, Name: "s1"}, pki.ServerName)
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	c := &cluster{
		ca: ca, addr: l.Addr().String(), running: make(chan string, 10), hellos: make(chan *dhowv1.Hello, 10), ended: make(chan struct{}, 10),
	}
	mux := http.NewServeMux()
	mux.Handle(dhowv1connect.NewAuthServiceHandler(c))
	mux.Handle(dhowv1connect.NewAgentServiceHandler(c))
	c.server = &http.Server{Handler: mux, TLSConfig: creds.ServerTLS(), ReadHeaderTimeout: time.Minute}
	done := make(chan error, 1)
	go func() { done <- c.server.ServeTLS(l, "", "") }()
	t.Cleanup(func() {
		_ = c.server.Close() // its error is ServeTLS's
		if err := <-done; !errors.Is(err, http.ErrServerClosed) {
			t.Error(err)
		}
	})
	return c
}

func (c *cluster) token(name string) string { return "dhowj_" + name + "_secret_" + c.ca.Fingerprint() }

func config(c *cluster, dir string, rt runtime.Runtime) node.Config {
	return node.Config{
		Name: "n1", Dir: dir, Join: []string{c.addr}, Token: c.token("good"), NoGossip: true, NoWasm: true,
		Runtimes: []runtime.Runtime{rt}, Capacity: &dhowv1.ResourceList{Cpu: 2000, Memory: 1 << 30},
		Reserved: &dhowv1.ResourceList{Cpu: 500, Memory: 2 << 30}, Labels: map[string]string{"disk": "ssd"}, Zone: "z1",
	}
}

// start runs a node; the result ends it.
func start(t *testing.T, c node.Config) (stop func()) {
	t.Helper()
	n, err := node.New(c)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- n.Run(ctx) }()
	return func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Run: %v", err)
		}
	}
}

// run runs a node that is to fail.
func run(t *testing.T, c node.Config) error {
	t.Helper()
	n, err := node.New(c)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	return n.Run(ctx)
}

// recorder is a fake that tells of its starts.
type recorder struct {
	*fake.Runtime
	starts chan runtime.ID
}

func (r recorder) Start(ctx context.Context, t *runtime.Task) (runtime.Started, error) {
	s, err := r.Runtime.Start(ctx, t)
	r.starts <- t.ID
	return s, err
}

func newRecorder() recorder { return recorder{fake.New("fake", nil), make(chan runtime.ID, 10)} }

func TestANodeJoinsRunsAndComesBackWithoutAServer(t *testing.T) {
	c, dir, rt := newCluster(t), t.TempDir(), newRecorder()
	stop := start(t, config(c, dir, rt))
	h := <-c.hellos
	if i := h.GetInfo(); i.GetAddress() != "127.0.0.1" || i.GetCapacity().GetCpu() != 2000 || i.GetAllocatable().GetCpu() != 1500 ||
		i.GetAllocatable().GetMemory() != 0 || i.GetZone() != "z1" || i.GetLabels()["disk"] != "ssd" || i.GetGossip() ||
		len(i.GetRuntimes()) != 1 || i.GetRuntimes()[0] != "fake" {
		t.Errorf("info is %v", i)
	}
	if name := <-c.running; name != "web-0" {
		t.Errorf("%s runs", name)
	}
	stop()
	<-c.ended // the server saw the end
	for _, name := range []string{"identity.pem", "cluster.json", "ledger"} {
		st, err := os.Stat(filepath.Join(dir, name))
		if err != nil || st.Mode().Perm() != 0o600 {
			t.Errorf("%s: %v, %v", name, st, err)
		}
	}
	// No server, no token, and the machine has rebooted.
	if err := c.server.Close(); err != nil {
		t.Fatal(err)
	}
	again := newRecorder()
	conf := config(c, dir, again)
	conf.Join, conf.Token = nil, ""
	stop = start(t, conf)
	if id := <-again.starts; id.Instance != "u1" {
		t.Errorf("%v was started", id)
	}
	stop()
}

func TestJoinRefusals(t *testing.T) {
	c, other := newCluster(t), newCluster(t)
	rt := newRecorder()
	joined := t.TempDir()
	stop := start(t, config(c, joined, rt))
	<-c.hellos
	stop()
	for name, v := range map[string]struct {
		change func(*node.Config)
		code   spec.Code
		text   string
	}{
		"no token":        {func(c *node.Config) { c.Token = "" }, spec.CodeInvalid, "--join"},
		"no join token":   {func(c *node.Config) { c.Token = "dhow_admin_x" }, spec.CodeInvalid, "dhow token create"},
		"unknown token":   {func(n *node.Config) { n.Token = c.token("bad") }, spec.CodeUnknownUser, "unknown or has ended"},
		"another CA":      {func(n *node.Config) { n.Token = other.token("good") }, spec.CodeUnknownUser, "fingerprint"},
		"bad name":        {func(n *node.Config) { n.Name = "No Good" }, spec.CodeInvalid, "name"},
		"another's name":  {func(n *node.Config) { n.Dir, n.Name = joined, "n2" }, spec.CodeInvalid, "belongs to node/n1"},
		"another cluster": {func(n *node.Config) { n.Dir, n.Token = joined, other.token("good") }, spec.CodeInvalid, "another one"},
		"unknown mount": {func(n *node.Config) {
			n.Directories = map[string]node.Directory{"data": {Path: "/nonexistent/data"}}
		}, spec.CodeInvalid, "directory data"},
		"relative mount": {func(n *node.Config) {
			n.Directories = map[string]node.Directory{"data": {Path: "data"}}
		}, spec.CodeInvalid, "no absolute path"},
		"no directory":     {func(n *node.Config) { n.Dir = "" }, spec.CodeInvalid, "data directory"},
		"cut identity":     {func(n *node.Config) { n.Dir = damaged(t, joined, "identity.pem") }, spec.CodeInvalid, "identity.pem"},
		"cut cluster.json": {func(n *node.Config) { n.Dir = damaged(t, joined, "cluster.json") }, spec.CodeInvalid, "cluster.json"},
	} {
		t.Run(name, func(t *testing.T) {
			conf := config(c, t.TempDir(), rt)
			v.change(&conf)
			err := run(t, conf)
			if spec.CodeOf(err) != v.code || !strings.Contains(err.Error(), v.text) {
				t.Errorf("error is %v (%s), want %s with %q", err, spec.CodeOf(err), v.code, v.text)
			}
		})
	}
	if len(other.joins) != 0 {
		t.Error("a token was sent to a server of another CA")
	}
	for _, j := range c.joins {
		if strings.HasSuffix(j.GetToken(), other.ca.Fingerprint()) {
			t.Error("a token was sent to a server of another CA")
		}
	}
}

// damaged copies a node's directory and cuts one of its files in the middle.
func damaged(t *testing.T, dir, name string) string {
	t.Helper()
	to := t.TempDir()
	for _, f := range []string{"identity.pem", "cluster.json"} {
		b, err := os.ReadFile(filepath.Join(dir, f))
		if err != nil {
			t.Fatal(err)
		}
		if f == name {
			b = b[:len(b)/2]
		}
		if err := os.WriteFile(filepath.Join(to, f), b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return to
}

func TestADirectoryIsOneProcesss(t *testing.T) {
	c, dir := newCluster(t), t.TempDir()
	stop := start(t, config(c, dir, newRecorder()))
	<-c.hellos
	if err := run(t, config(c, dir, newRecorder())); spec.CodeOf(err) != spec.CodeUnavailable || !strings.Contains(err.Error(), "in use") {
		t.Errorf("error is %v", err)
	}
	stop()
}
