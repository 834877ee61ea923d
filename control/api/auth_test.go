package api_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"

	"dhow.dev/dhow/internal/client"
	"dhow.dev/dhow/internal/pki"
	dhowv1 "dhow.dev/dhow/proto/dhow/v1"
	"dhow.dev/dhow/proto/spec"
)

func whoami(ctx context.Context, c *client.Client) (string, error) {
	res, err := c.Auth.WhoAmI(ctx, &dhowv1.WhoAmIRequest{})
	return res.GetSubject(), err
}

func TestTokensThatAreRefused(t *testing.T) {
	w := newWorld(t)
	other := newWorld(t)
	good := w.token("ops", dhowv1.Role_ROLE_ADMIN, time.Hour)
	short := w.token("short", dhowv1.Role_ROLE_ADMIN, time.Minute)
	flip := func(s string) string {
		last := byte('a')
		if s[len(s)-1] == 'a' {
			last = 'b'
		}
		return s[:len(s)-1] + string(last)
	}
	if who, err := whoami(t.Context(), w.as(good)); err != nil || who != "token/ops" {
		t.Fatal(who, err)
	}
	if _, err := whoami(t.Context(), w.as(short)); err != nil {
		t.Fatal(err)
	}
	for name, tc := range map[string]struct{ token, says string }{
		"none":       {"", "Authorization"},
		"forged":     {flip(good), "not known to this cluster"},
		"foreign":    {other.token("theirs", dhowv1.Role_ROLE_ADMIN, time.Hour), "not known to this cluster"},
		"cut short":  {good[:len(good)-1], "malformed"},
		"not one":    {"hunter2", "malformed"},
		"very long":  {strings.Repeat("x", 10_000), "malformed"},
		"swapped":    {strings.Replace(good, "_ops_", "_admin_", 1), "not known to this cluster"},
		"wrong form": {good + "_" + w.ca.Fingerprint(), "malformed"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := whoami(t.Context(), w.as(tc.token))
			wantCode(t, err, spec.CodeUnknownUser, tc.says)
			if len(tc.token) > 30 && strings.Contains(err.Error(), tc.token[len(tc.token)-20:]) {
				t.Error("the error repeats the secret")
			}
		})
	}
	w.clock.Add(61)
	_, err := whoami(t.Context(), w.as(short))
	wantCode(t, err, spec.CodeUnknownUser, "short", "ended")
}

// A token that was verified is kept, and must be forgotten at once when it is
// taken back.
func TestTokenTakenBack(t *testing.T) {
	w := newWorld(t)
	admin := w.as(w.admin)
	c := w.as(w.token("ops", dhowv1.Role_ROLE_ADMIN, time.Hour))
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	ended := make(chan error, 1)
	synced := make(chan struct{})
	go func() {
		ended <- c.Watch(ctx, []*dhowv1.Selector{{Kind: dhowv1.Kind_KIND_NAMESPACE}}, 0, func(m *dhowv1.WatchResponse, _ bool) error {
			if m.Synced {
				close(synced)
			}
			return nil
		})
	}()
	<-synced
	if _, err := whoami(ctx, c); err != nil {
		t.Fatal(err)
	}
	if _, err := admin.Objects.Delete(ctx, &dhowv1.DeleteRequest{Refs: []*dhowv1.Ref{{Kind: dhowv1.Kind_KIND_TOKEN, Name: "ops"}}}); err != nil {
		t.Fatal(err)
	}
	for {
		if _, err := whoami(ctx, c); err != nil {
			wantCode(t, err, spec.CodeUnknownUser, "ops")
			break
		}
	}
	// Its watch ends with the next change.
	w.put(&dhowv1.Namespace{Meta: &dhowv1.Meta{Name: "next"}})
	wantCode(t, <-ended, spec.CodeUnknownUser, "ops")
}

func TestRoles(t *testing.T) {
	w := newWorld(t)
	digest := w.artifact("\x00asm\x01\x00\x00\x00")
	viewer := w.as(w.token("v", dhowv1.Role_ROLE_VIEWER, time.Hour))
	deployer := w.as(w.token("d", dhowv1.Role_ROLE_DEPLOYER, time.Hour))
	join := w.as(w.token("j", dhowv1.Role_ROLE_JOIN_NODE, time.Hour))
	node := w.asMachine(pki.Node, "n1")
	server := w.asMachine(pki.Server, "s2")
	calls := map[string]func(*client.Client) error{
		"read": func(c *client.Client) error {
			_, err := c.Objects.List(t.Context(), &dhowv1.ListRequest{Selector: &dhowv1.Selector{Kind: dhowv1.Kind_KIND_WORKLOAD}})
			return err
		},
		"read tokens": func(c *client.Client) error {
			_, err := c.Objects.List(t.Context(), &dhowv1.ListRequest{Selector: &dhowv1.Selector{Kind: dhowv1.Kind_KIND_TOKEN}})
			return err
		},
		"watch tokens": func(c *client.Client) error {
			return c.Watch(t.Context(), []*dhowv1.Selector{{Kind: dhowv1.Kind_KIND_WORKLOAD}, {Kind: dhowv1.Kind_KIND_TOKEN}}, 0,
				func(*dhowv1.WatchResponse, bool) error { return errStop })
		},
		"deploy": func(c *client.Client) error {
			_, err := c.Objects.Apply(t.Context(), apply(workload("web", digest)))
			return err
		},
		"namespace": func(c *client.Client) error {
			_, err := c.Objects.Apply(t.Context(), apply(spec.Wrap(&dhowv1.Namespace{Meta: &dhowv1.Meta{Name: "x"}})))
			return err
		},
		"token": func(c *client.Client) error {
			_, err := c.Auth.CreateToken(t.Context(), &dhowv1.CreateTokenRequest{Name: "x", Role: dhowv1.Role_ROLE_ADMIN})
			return err
		},
		"remove server": func(c *client.Client) error {
			_, err := c.Cluster.RemoveServer(t.Context(), &dhowv1.RemoveServerRequest{Name: "s1"})
			return err
		},
		"report": func(c *client.Client) error {
			_, err := c.Agents.ReportStatus(t.Context(), &dhowv1.ReportStatusRequest{})
			return err
		},
		"propose": func(c *client.Client) error {
			_, err := c.Peers.Propose(t.Context(), &dhowv1.ProposeRequest{})
			return err
		},
		"why": func(c *client.Client) error {
			_, err := c.Cluster.Why(t.Context(), &dhowv1.WhyRequest{Ref: &dhowv1.Ref{Kind: dhowv1.Kind_KIND_WORKLOAD, Name: "web"}})
			return err
		},
	}
	if err := calls["deploy"](deployer); err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct {
		who  *client.Client
		name string
		may  []string
	}{
		{viewer, "token/v", []string{"read", "why"}},
		{deployer, "token/d", []string{"read", "why", "deploy"}},
		{join, "token/j", nil},
		{node, "node/n1", []string{"report"}},
		{server, "server/s2", []string{"propose"}},
	} {
		for what, do := range calls {
			err := do(tc.who)
			allowed := false
			for _, m := range tc.may {
				allowed = allowed || m == what
			}
			if denied := spec.CodeOf(err) == spec.CodeDenied; denied == allowed {
				t.Errorf("%s, %s: %v", tc.name, what, err)
			} else if denied && !strings.Contains(err.Error(), tc.name) {
				t.Errorf("%s, %s: the error does not say who: %v", tc.name, what, err)
			}
		}
	}
}

type stop struct{}

func (stop) Error() string { return "stop" }

var errStop = stop{}

func TestWrongCA(t *testing.T) {
	w, other := newWorld(t), newWorld(t)
	c := w.as(w.admin, func(o *client.Options) { o.TLS = other.pinned() })
	_, err := whoami(t.Context(), c)
	wantCode(t, err, spec.CodeUnknownUser, "CA", w.addr)
	// The other way round: a certificate of another cluster's CA.
	foreign := w.client(func(o *client.Options) {
		conf := w.pinned()
		conf.GetClientCertificate = other.issue(pki.Node, "n1").ClientTLS().GetClientCertificate
		o.TLS = conf
	})
	if _, err := whoami(t.Context(), foreign); err == nil {
		t.Fatal("a certificate of another CA was taken")
	}
}

func TestExpiredCertificateMayOnlyBeRenewed(t *testing.T) {
	w := newWorld(t)
	w.put(&dhowv1.Node{Meta: &dhowv1.Meta{Name: "n1"}})
	conf := w.issue(pki.Node, "n1").ClientTLS()
	w.clock.Add(int64((pki.Lifetime + time.Hour).Seconds()))
	// A server renews its own; the one of this test does not.
	conf.VerifyConnection = nil
	c := w.client(func(o *client.Options) { o.TLS = conf })
	_, err := c.Agents.ReportStatus(t.Context(), &dhowv1.ReportStatusRequest{})
	wantCode(t, err, spec.CodeUnknownUser, "ended", "renewed")
	_, csr, err := pki.NewRequest()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.Auth.Renew(t.Context(), &dhowv1.RenewRequest{Csr: csr}); err != nil {
		t.Fatal(err)
	}
}

func TestRenew(t *testing.T) {
	w := newWorld(t)
	_, csr, err := pki.NewRequest()
	if err != nil {
		t.Fatal(err)
	}
	c := w.asMachine(pki.Node, "gone")
	_, err = c.Auth.Renew(t.Context(), &dhowv1.RenewRequest{Csr: csr})
	wantCode(t, err, spec.CodeDenied, "gone", "removed")
	_, err = w.as(w.admin).Auth.Renew(t.Context(), &dhowv1.RenewRequest{Csr: csr})
	wantCode(t, err, spec.CodeDenied, "token/admin")
	w.put(&dhowv1.Node{Meta: &dhowv1.Meta{Name: "n1"}})
	c = w.asMachine(pki.Node, "n1")
	_, err = c.Auth.Renew(t.Context(), &dhowv1.RenewRequest{Csr: []byte("nonsense")})
	wantCode(t, err, spec.CodeInvalid)
	if _, err := c.Auth.Renew(t.Context(), &dhowv1.RenewRequest{Csr: csr}); err != nil {
		t.Fatal(err)
	}
}

func TestCreateToken(t *testing.T) {
	w := newWorld(t)
	c := w.as(w.admin)
	req := &dhowv1.CreateTokenRequest{Name: "ci", Role: dhowv1.Role_ROLE_DEPLOYER, Ttl: durationpb.New(time.Hour)}
	res, err := c.Auth.CreateToken(t.Context(), req)
	if err != nil {
		t.Fatal(err)
	}
	if who, err := whoami(t.Context(), w.as(res.Secret)); err != nil || who != "token/ci" {
		t.Error(who, err)
	}
	_, err = c.Auth.CreateToken(t.Context(), req)
	wantCode(t, err, spec.CodeExists, "ci")
	_, err = c.Auth.CreateToken(t.Context(), &dhowv1.CreateTokenRequest{Name: "No!", Role: dhowv1.Role_ROLE_ADMIN})
	wantCode(t, err, spec.CodeInvalid, "name")
	_, err = c.Auth.CreateToken(t.Context(), &dhowv1.CreateTokenRequest{Name: "x"})
	wantCode(t, err, spec.CodeInvalid, "role")
	_, err = c.Auth.CreateToken(t.Context(), &dhowv1.CreateTokenRequest{Name: "x", Role: dhowv1.Role_ROLE_ADMIN, Ttl: durationpb.New(-time.Hour)})
	wantCode(t, err, spec.CodeInvalid, "ttl")
}

func TestJoin(t *testing.T) {
	w := newWorld(t)
	joinTLS, err := pki.JoinTLS(w.ca.Fingerprint(), w.now)
	if err != nil {
		t.Fatal(err)
	}
	c := w.client(func(o *client.Options) { o.TLS = joinTLS })
	key, csr, err := pki.NewRequest()
	if err != nil {
		t.Fatal(err)
	}
	node := w.token("jn", dhowv1.Role_ROLE_JOIN_NODE, time.Hour)
	server := w.token("js", dhowv1.Role_ROLE_JOIN_SERVER, time.Hour)
	join := func(req *dhowv1.JoinRequest) (*dhowv1.JoinResponse, error) { return c.Auth.Join(t.Context(), req) }
	_, err = join(&dhowv1.JoinRequest{Token: w.admin, Name: "n1", Csr: csr})
	wantCode(t, err, spec.CodeDenied, "join")
	_, err = join(&dhowv1.JoinRequest{Token: "dhowj_x", Name: "n1", Csr: csr})
	wantCode(t, err, spec.CodeUnknownUser)
	_, err = join(&dhowv1.JoinRequest{Token: node, Name: "Bad Name", Csr: csr})
	wantCode(t, err, spec.CodeInvalid, "name")
	_, err = join(&dhowv1.JoinRequest{Token: node, Name: "n1", Csr: []byte{1, 2, 3}})
	wantCode(t, err, spec.CodeInvalid, "signing request")
	_, err = join(&dhowv1.JoinRequest{Token: node, Name: "n1", Csr: csr, Role: dhowv1.Role_ROLE_JOIN_SERVER})
	wantCode(t, err, spec.CodeDenied, "for join-node", "--role join-server")
	_, err = join(&dhowv1.JoinRequest{Token: server, Name: "s9", Csr: csr, Role: dhowv1.Role_ROLE_JOIN_NODE})
	wantCode(t, err, spec.CodeDenied, "--role join-node")
	res, err := join(&dhowv1.JoinRequest{Token: node, Name: "n1", Csr: csr, Role: dhowv1.Role_ROLE_JOIN_NODE, Info: &dhowv1.NodeInfo{Os: "linux"}})
	if err != nil {
		t.Fatal(err)
	}
	if len(res.CaKey) > 0 || len(res.GossipKey) == 0 || res.ClusterId != "testcluster" || len(res.Servers) == 0 {
		t.Errorf("what a node gets: %v", res)
	}
	creds, err := pki.Install(t.TempDir(), w.now, res.Certificate, res.Ca, key)
	if err != nil {
		t.Fatal(err)
	}
	if who, err := whoami(t.Context(), w.client(func(o *client.Options) { o.TLS = creds.ClientTLS() })); err != nil || who != "node/n1" {
		t.Error(who, err)
	}
	// It may come back under its name while it is not connected.
	if _, err := join(&dhowv1.JoinRequest{Token: node, Name: "n1", Csr: csr}); err != nil {
		t.Error(err)
	}
	w.propose(&dhowv1.Change{Op: &dhowv1.Change_Session{Session: &dhowv1.NodeSessionReport{Node: "n1", Session: &dhowv1.NodeSession{Id: "x", Server: "s2", Connected: true}}}})
	_, err = join(&dhowv1.JoinRequest{Token: node, Name: "n1", Csr: csr})
	wantCode(t, err, spec.CodeExists, "n1", "connected")
	_, err = join(&dhowv1.JoinRequest{Token: server, Name: "s1", Csr: csr})
	wantCode(t, err, spec.CodeExists, "s1")
	res, err = join(&dhowv1.JoinRequest{Token: server, Name: "s2", Csr: csr})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := pki.ParseCA(res.Ca, res.CaKey); err != nil {
		t.Error("a server gets the CA:", err)
	}
	w.clock.Add(3601)
	_, err = join(&dhowv1.JoinRequest{Token: node, Name: "n2", Csr: csr})
	wantCode(t, err, spec.CodeUnknownUser, "ended")
}

func TestTokenMadeOnAnotherServerAMomentAgo(t *testing.T) {
	w := newWorld(t)
	// This server has not applied the entry with the token yet.
	c := w.as(w.token("fresh", dhowv1.Role_ROLE_VIEWER, time.Hour))
	w.direct.mu.Lock()
	w.direct.index++
	w.direct.mu.Unlock()
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	// One that is there needs no leader; one that is not waits for the state.
	if _, err := whoami(t.Context(), c); err != nil {
		t.Error(err)
	}
	_, err := whoami(ctx, w.as("dhow_later_"+strings.Repeat("a", 32)))
	wantCode(t, err, spec.CodeTimeout)
	w.store.Apply(w.direct.index, 1, nil)
}
