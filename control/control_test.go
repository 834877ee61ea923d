package control

import (
	"context"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"dhow.dev/dhow/internal/client"
	dhowv1 "dhow.dev/dhow/proto/dhow/v1"
	"dhow.dev/dhow/proto/spec"
)

func freePort(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

func testConfig(t *testing.T, name string) Config {
	t.Helper()
	return Config{
		Name: name, Dir: filepath.Join(t.TempDir(), name), API: freePort(t), Raft: freePort(t), Gossip: freePort(t),
		Logger: slog.New(slog.DiscardHandler),
	}
}

// run starts a server, waits until it is ready, and returns how to stop it.
func run(t *testing.T, c Config) (*Server, func()) {
	t.Helper()
	s, err := New(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- s.Run(ctx) }()
	stopped := false
	stop := func() {
		if stopped {
			return
		}
		stopped = true
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("the server ended with %v", err)
		}
	}
	t.Cleanup(stop)
	select {
	case <-s.Ready():
	case err := <-ended:
		ended <- err
		t.Fatalf("the server ended with %v", err)
	case <-time.After(30 * time.Second):
		t.Fatal("the server is not ready")
	}
	return s, stop
}

func connectTo(t *testing.T, s *Server, token string) *client.Client {
	t.Helper()
	c, err := client.FromContext(s.Context("test", token), time.Now)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

func namespaces(t *testing.T, c *client.Client) string {
	t.Helper()
	res, err := c.Objects.List(t.Context(), &dhowv1.ListRequest{Selector: &dhowv1.Selector{Kind: dhowv1.Kind_KIND_NAMESPACE}})
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, o := range res.GetObjects() {
		names = append(names, o.GetNamespace().GetMeta().GetName())
	}
	return strings.Join(names, " ")
}

// A birth gives a namespace and an owner's token, once; a restart finds all.
func TestBirthAndRestart(t *testing.T) {
	t.Parallel()
	config := testConfig(t, "s1")
	s, stop := run(t, config)
	token := s.Admin().Secret
	if token == "" {
		t.Fatal("no token at birth")
	}
	c := connectTo(t, s, token)
	if got := namespaces(t, c); got != "default" {
		t.Errorf("namespaces %q", got)
	}
	space := &dhowv1.Namespace{Meta: &dhowv1.Meta{Name: "shop"}}
	if _, err := c.Objects.Apply(t.Context(), &dhowv1.ApplyRequest{Objects: []*dhowv1.Object{spec.Wrap(space)}}); err != nil {
		t.Fatal(err)
	}
	stop()

	s, _ = run(t, config)
	if s.Admin().Secret != "" {
		t.Error("a restart made another owner's token")
	}
	if got := namespaces(t, connectTo(t, s, token)); got != "default shop" {
		t.Errorf("after a restart: namespaces %q", got)
	}
}

// A second server joins with a token, is told everything, and both agree.
func TestServerJoins(t *testing.T) {
	t.Parallel()
	first, _ := run(t, testConfig(t, "s1"))
	config := testConfig(t, "s2")
	config.Join = []string{first.config.API}
	var err error
	if config.Token, err = first.JoinToken(t.Context(), dhowv1.Role_ROLE_JOIN_SERVER, time.Hour); err != nil {
		t.Fatal(err)
	}
	second, _ := run(t, config)
	if got := namespaces(t, connectTo(t, second, first.Admin().Secret)); got != "default" {
		t.Errorf("the second server lists namespaces %q", got)
	}
	voters := 0
	for _, s := range second.replica.Servers() {
		if s.Voter {
			voters++
		}
	}
	if voters != 2 {
		t.Errorf("%d voters, want 2", voters)
	}
}

// What cannot work is refused before anything is served, and says what to do.
func TestServerRefusals(t *testing.T) {
	t.Parallel()
	config := testConfig(t, "s1")
	s, stop := run(t, config)
	nodeToken, err := s.JoinToken(t.Context(), dhowv1.Role_ROLE_JOIN_NODE, time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	admin := s.Admin().Secret
	refused := func(what string, change func(*Config), code spec.Code, want string) {
		t.Helper()
		c := testConfig(t, "s2")
		change(&c)
		other, err := New(t.Context(), c)
		if err == nil {
			other.close()
			t.Errorf("%s: not refused", what)
			return
		}
		if spec.CodeOf(err) != code || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %s %v, want %s with %q", what, spec.CodeOf(err), err, code, want)
		}
	}
	refused("a bad name", func(c *Config) { c.Name = "S 1" }, spec.CodeInvalid, "server name")
	refused("a bad address", func(c *Config) { c.API = "7400" }, spec.CodeInvalid, "host:port")
	refused("a port in use", func(c *Config) { c.API = config.API }, spec.CodeUnavailable, "another port")
	refused("a node's token", func(c *Config) { c.Join, c.Token = []string{config.API}, nodeToken }, spec.CodeDenied, "join")
	refused("an access token", func(c *Config) { c.Join, c.Token = []string{config.API}, admin }, spec.CodeInvalid, "join-server")
	refused("no token", func(c *Config) { c.Join = []string{config.API} }, spec.CodeUnknownUser, "token")
	refused("a directory in use", func(c *Config) { c.Dir = config.Dir }, spec.CodeUnavailable, config.Dir)
	stop()
	refused("another's directory", func(c *Config) { c.Dir = config.Dir }, spec.CodeInvalid, "--name s1")
	refused("a moved Raft address", func(c *Config) { c.Name, c.Dir = "s1", config.Dir }, spec.CodeInvalid, "old address")
	if err := os.WriteFile(filepath.Join(config.Dir, "server.json"), []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	refused("a damaged file", func(c *Config) { c.Name, c.Dir = "s1", config.Dir }, spec.CodeInvalid, "server.json is damaged")
}
