package auth

import (
	"crypto/tls"
	"crypto/x509"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	"dhow.dev/dhow/internal/pki"
	dhowv1 "dhow.dev/dhow/proto/dhow/v1"
	"dhow.dev/dhow/proto/spec"
)

func now() time.Time { return time.Date(2027, 1, 1, 0, 0, 0, 0, time.UTC) }

var fingerprint = strings.Repeat("0a", 32)

func TestTokenComesBack(t *testing.T) {
	for _, f := range []string{"", fingerprint} {
		made := New("ci-1", f)
		got, err := Parse(made.String())
		if err != nil || got != made || got.Join() != (f != "") {
			t.Errorf("%+v came back as %+v, %v", made, got, err)
		}
	}
	if one, other := New("a", ""), New("a", ""); one.Secret == other.Secret {
		t.Error("secrets repeat")
	}
}

func TestParseRefuses(t *testing.T) {
	good := New("ci", "").String()
	for _, s := range []string{
		"", "dhow", "dhow__", "hunter2", good[:len(good)-1], good + "x", strings.ToUpper(good), good + "_" + fingerprint,
		"dhow_a/b_" + strings.Repeat("a", 32), "dhow__" + strings.Repeat("a", 32), "dhow_" + strings.Repeat("a", 64) + "_" + strings.Repeat("a", 32),
		"dhowj_ci_" + strings.Repeat("a", 32), "dhowj_ci_" + strings.Repeat("a", 32) + "_xyz", strings.Replace(good, "_", "-", 1),
	} {
		_, err := Parse(s)
		if spec.CodeOf(err) != spec.CodeUnknownUser || !strings.Contains(err.Error(), "malformed token") {
			t.Errorf("%q: %v", s, err)
		}
	}
	secret := strings.Repeat("a", 31)
	if _, err := Parse("dhow_ci_" + secret); strings.Contains(err.Error(), secret) {
		t.Errorf("the error repeats the secret: %v", err)
	}
}

func TestVerify(t *testing.T) {
	access, join := New("ci", ""), New("nodes", fingerprint)
	stored := map[string]*dhowv1.Token{
		"ci":    {Role: dhowv1.Role_ROLE_DEPLOYER, SecretHash: access.Hash(), ExpiresAt: timestamppb.New(now().Add(time.Hour))},
		"nodes": {Role: dhowv1.Role_ROLE_JOIN_NODE, SecretHash: join.Hash()},
		"empty": {Role: dhowv1.Role_ROLE_ADMIN},
	}
	lookup := func(name string) (*dhowv1.Token, error) {
		if tok, ok := stored[name]; ok {
			return tok, nil
		}
		if name == "broken" {
			return nil, spec.Errorf(spec.CodeUnavailable, "no leader")
		}
		return nil, spec.Errorf(spec.CodeNotFound, "no token %s", name)
	}
	verify := func(tok Token, at time.Time) (Identity, error) { return Verify(tok.String(), lookup, at) }

	id, err := verify(access, now())
	if err != nil || id.Subject != "token/ci" || id.Caller() != Deployer {
		t.Errorf("access: %+v, %v", id, err)
	}
	id, err = verify(join, now())
	if err != nil || id.Caller() != JoinNode {
		t.Errorf("join: %+v, %v", id, err)
	}
	crossed := access
	crossed.Fingerprint = fingerprint
	forged := New("ci", "")
	for name, c := range map[string]struct {
		tok  Token
		at   time.Time
		code spec.Code
		text string
	}{
		"ended":                 {access, now().Add(time.Hour), spec.CodeUnknownUser, `"ci" ended 2027-01-01T01:00:00Z`},
		"forged secret":         {forged, now(), spec.CodeUnknownUser, "not known to this cluster, or its secret is wrong"},
		"forged, ended":         {forged, now().Add(time.Hour), spec.CodeUnknownUser, "or its secret is wrong"},
		"unknown name":          {New("other", ""), now(), spec.CodeUnknownUser, "not known to this cluster, or its secret is wrong"},
		"stored without secret": {New("empty", ""), now(), spec.CodeUnknownUser, "or its secret is wrong"},
		"access as join":        {crossed, now(), spec.CodeUnknownUser, "form of another"},
		"join as access":        {Token{Name: "nodes", Secret: join.Secret}, now(), spec.CodeUnknownUser, "form of another"},
		"state unavailable":     {New("broken", ""), now(), spec.CodeUnavailable, "no leader"},
	} {
		id, err := verify(c.tok, c.at)
		if spec.CodeOf(err) != c.code || !strings.Contains(err.Error(), c.text) || id != (Identity{}) {
			t.Errorf("%s: %+v, %v", name, id, err)
		}
		if err != nil && strings.Contains(err.Error(), c.tok.Secret) {
			t.Errorf("%s: the error repeats the secret", name)
		}
	}
}

// callers are all who may call, each as it arrives.
func callers() map[Caller]Identity {
	return map[Caller]Identity{
		Viewer:     {Subject: "token/v", Role: dhowv1.Role_ROLE_VIEWER},
		Deployer:   {Subject: "token/d", Role: dhowv1.Role_ROLE_DEPLOYER},
		Admin:      {Subject: "token/a", Role: dhowv1.Role_ROLE_ADMIN},
		JoinNode:   {Subject: "token/n", Role: dhowv1.Role_ROLE_JOIN_NODE},
		JoinServer: {Subject: "token/s", Role: dhowv1.Role_ROLE_JOIN_SERVER},
		NodeCert:   {Subject: "node/n1", Node: "n1"},
		ServerCert: {Subject: "server/s1", Server: "s1"},
		Nobody:     {},
	}
}

// TestRoles writes the whole table down once more, by role, so that a change of
// either is seen: what is not listed here must be refused.
func TestRoles(t *testing.T) {
	public := []string{"namespace", "workload", "revision", "instance", "node", "artifact", "event"}
	grants := map[Caller][]string{
		Viewer:     {"read logs", "fetch", "see info", "ask who it is"},
		JoinNode:   {"join as a node", "ask who it is"},
		JoinServer: {"join as a server", "ask who it is"},
		NodeCert:   {"fetch", "see info", "ask who it is", "renew its certificate", "hold a node's session"},
		ServerCert: {"fetch", "see info", "ask who it is", "renew its certificate", "act as a peer"},
	}
	for _, k := range public {
		grants[Viewer] = append(grants[Viewer], "read "+k)
	}
	grants[Deployer] = append(slices.Clone(grants[Viewer]), "upload", "write workload", "delete workload", "write artifact", "delete artifact")
	grants[Admin] = append(slices.Clone(grants[Viewer]), "upload", "create tokens", "remove servers", "read token", "write token", "delete token")
	for _, k := range public {
		grants[Admin] = append(grants[Admin], "write "+k, "delete "+k)
	}

	verbs := []Verb{
		VerbRead, VerbWrite, VerbDelete, VerbLogs, VerbFetch, VerbUpload, VerbInfo, VerbWhoAmI, VerbCreateToken,
		VerbRemoveServer, VerbJoinNode, VerbJoinServer, VerbRenew, VerbSession, VerbPeer, "something new",
	}
	used := 0
	for caller, id := range callers() {
		for _, verb := range verbs {
			for k := range dhowv1.Kind_name {
				kind := dhowv1.Kind(k)
				want := slices.Contains(grants[caller], string(verb))
				if verb == VerbRead || verb == VerbWrite || verb == VerbDelete {
					name := spec.KindName(kind)
					if kind == dhowv1.Kind_KIND_UNSPECIFIED {
						name = "token" // all kinds: as guarded as the most guarded
					}
					want = slices.Contains(grants[caller], string(verb)+" "+name)
				}
				err := Authorize(id, verb, kind)
				if want != (err == nil) {
					t.Errorf("%q: %s %s: allowed %v, want %v", caller, verb, kind, err == nil, want)
				}
				if want {
					used++
					continue
				}
				code := spec.CodeDenied
				if caller == Nobody {
					code = spec.CodeUnknownUser
				}
				if spec.CodeOf(err) != code {
					t.Errorf("%q: %s %s: %v", caller, verb, kind, err)
				}
			}
		}
	}
	if used == 0 {
		t.Error("nobody may do anything")
	}
}

func TestRefusalsSayWhatIsNeeded(t *testing.T) {
	err := Authorize(callers()[Viewer], VerbWrite, dhowv1.Kind_KIND_WORKLOAD)
	if err == nil || err.Error() != "token/v (viewer) may not write workloads: that takes deployer" {
		t.Errorf("got %v", err)
	}
}

func TestEndedCertificateMayOnlyBeRenewed(t *testing.T) {
	id := Identity{Subject: "node/n1", Node: "n1", Expired: true}
	for verb, want := range map[Verb]bool{VerbRenew: true, VerbWhoAmI: true, VerbSession: false, VerbFetch: false, VerbInfo: false} {
		if err := Authorize(id, verb, 0); want != (err == nil) {
			t.Errorf("%s: %v", verb, err)
		}
	}
}

func TestNodesTouchTheirOwnOnly(t *testing.T) {
	for _, c := range []struct {
		id   Identity
		node string
		ok   bool
	}{
		{Identity{Subject: "node/n1", Node: "n1"}, "n1", true},
		{Identity{Subject: "node/n1", Node: "n1"}, "n2", false},
		{Identity{Subject: "node/n1", Node: "n1"}, "", false},
		{Identity{}, "", false},
		{Identity{Subject: "server/n1", Server: "n1"}, "n1", false},
		{callers()[Admin], "n1", false},
	} {
		if err := OwnNode(c.id, c.node); c.ok != (err == nil) || !c.ok && spec.CodeOf(err) != spec.CodeDenied {
			t.Errorf("%+v for %q: %v", c.id, c.node, err)
		}
	}
}

func TestFromTLS(t *testing.T) {
	state := func(cluster string, kind pki.Kind, name string) *tls.ConnectionState {
		t.Helper()
		ca, err := pki.NewCA(cluster, now())
		if err != nil {
			t.Fatal(err)
		}
		_, csr, err := pki.NewRequest()
		if err != nil {
			t.Fatal(err)
		}
		der, err := ca.Sign(csr, pki.Identity{Cluster: cluster, Kind: kind, Name: name}, now())
		if err != nil {
			t.Fatal(err)
		}
		cert, err := x509.ParseCertificate(der)
		if err != nil {
			t.Fatal(err)
		}
		return &tls.ConnectionState{PeerCertificates: []*x509.Certificate{cert}}
	}
	for _, s := range []*tls.ConnectionState{nil, {}} {
		if _, ok, err := FromTLS(s, "blue", now()); ok || err != nil {
			t.Errorf("no certificate: %v, %v", ok, err)
		}
	}
	node := state("blue", pki.Node, "n1")
	id, ok, err := FromTLS(node, "blue", now())
	if err != nil || !ok || id != (Identity{Subject: "node/n1", Node: "n1"}) {
		t.Errorf("node: %+v, %v", id, err)
	}
	if id, _, err = FromTLS(state("blue", pki.Server, "s1"), "blue", now()); err != nil || id != (Identity{Subject: "server/s1", Server: "s1"}) {
		t.Errorf("server: %+v, %v", id, err)
	}
	if id, _, err = FromTLS(node, "blue", now().Add(pki.Lifetime+time.Hour)); err != nil || !id.Expired {
		t.Errorf("ended: %+v, %v", id, err)
	}
	if _, ok, err = FromTLS(node, "blue", now().Add(pki.Lifetime+RenewFor+time.Hour)); ok || spec.CodeOf(err) != spec.CodeUnknownUser || !strings.Contains(err.Error(), "join anew") {
		t.Errorf("ended long ago: %v, %v", ok, err)
	}
	if _, ok, err = FromTLS(node, "red", now()); ok || spec.CodeOf(err) != spec.CodeUnknownUser || !strings.Contains(err.Error(), "is of cluster blue, this is cluster red") {
		t.Errorf("foreign: %v, %v", ok, err)
	}
	plain := &tls.ConnectionState{PeerCertificates: []*x509.Certificate{{}}}
	if _, ok, err = FromTLS(plain, "blue", now()); ok || spec.CodeOf(err) != spec.CodeUnknownUser {
		t.Errorf("a certificate without identity: %v, %v", ok, err)
	}
}

func TestRoleNames(t *testing.T) {
	for v := range dhowv1.Role_name {
		r := dhowv1.Role(v)
		got, err := ParseRole(RoleName(r))
		if r == dhowv1.Role_ROLE_UNSPECIFIED {
			if spec.CodeOf(err) != spec.CodeInvalid {
				t.Errorf("unspecified: %v, %v", got, err)
			}
		} else if err != nil || got != r {
			t.Errorf("%s: %v, %v", r, got, err)
		}
	}
	if _, err := ParseRole("root"); spec.CodeOf(err) != spec.CodeInvalid || !strings.Contains(err.Error(), "admin, deployer, viewer") {
		t.Errorf("got %v", err)
	}
}

func FuzzParse(f *testing.F) {
	f.Add(New("ci", "").String())
	f.Add(New("ci", fingerprint).String())
	f.Add("dhowj_ci__")
	f.Fuzz(func(t *testing.T, s string) {
		tok, err := Parse(s)
		if err != nil {
			if spec.CodeOf(err) != spec.CodeUnknownUser || tok != (Token{}) {
				t.Errorf("%q: %+v, %v", s, tok, err)
			}
			return
		}
		if got := tok.String(); got != strings.TrimSpace(s) {
			t.Errorf("%q came back as %q", s, got)
		}
	})
}
