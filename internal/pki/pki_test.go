package pki

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"dhow.dev/dhow/proto/spec"
)

func date(year int, m time.Month, day int) time.Time {
	return time.Date(year, m, day, 0, 0, 0, 0, time.UTC)
}

// clock is a wall clock that tests set.
type clock struct {
	mu sync.Mutex
	t  time.Time
}

func at(t time.Time) *clock { return &clock{t: t} }

func (c *clock) now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.t
}

func (c *clock) set(t time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.t = t
}

func newCA(t testing.TB, cluster string, now time.Time) *CA {
	t.Helper()
	ca, err := NewCA(cluster, now)
	if err != nil {
		t.Fatal(err)
	}
	return ca
}

func issue(t testing.TB, ca *CA, now func() time.Time, kind Kind, name string) *Credentials {
	t.Helper()
	c, err := ca.Issue(t.TempDir(), now, Identity{Cluster: ca.Cluster(), Kind: kind, Name: name}, "localhost", "127.0.0.1", "")
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// shake lets two sides do a handshake and exchange a byte each way, over a real
// socket. It returns what the server saw.
func shake(t *testing.T, server, client *tls.Config) (tls.ConnectionState, error) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	var state tls.ConnectionState
	served := make(chan error, 1)
	go func() {
		raw, err := l.Accept()
		if err != nil {
			served <- err
			return
		}
		defer raw.Close()
		conn := tls.Server(raw, server)
		var b [1]byte
		if _, err = io.ReadFull(conn, b[:]); err == nil {
			state = conn.ConnectionState()
			_, err = conn.Write(b[:])
		}
		served <- err
	}()
	conn, err := tls.Dial("tcp", l.Addr().String(), client)
	if err == nil {
		defer conn.Close()
		b := []byte{1}
		if _, err = conn.Write(b); err == nil {
			_, err = io.ReadFull(conn, b)
		}
	}
	l.Close()
	return state, errors.Join(err, <-served)
}

func TestNodeAndServerShakeHands(t *testing.T) {
	c := at(date(2027, 1, 1))
	ca := newCA(t, "blue", c.now())
	server, node := issue(t, ca, c.now, Server, "s1"), issue(t, ca, c.now, Node, "n1")
	state, err := shake(t, server.ServerTLS(), node.ClientTLS())
	if err != nil {
		t.Fatal(err)
	}
	id, err := IdentityOf(state.PeerCertificates[0])
	if err != nil || id != (Identity{"blue", Node, "n1"}) {
		t.Errorf("the server saw %v, %v", id, err)
	}
	if state.Version != tls.VersionTLS13 {
		t.Errorf("version %x", state.Version)
	}
	// People have no certificate.
	pinned, err := PinnedTLS(server.CA(), c.now)
	if err != nil {
		t.Fatal(err)
	}
	if state, err = shake(t, server.ServerTLS(), pinned); err != nil || len(state.PeerCertificates) != 0 {
		t.Errorf("with the CA only: %v", err)
	}
	// Curl checks what it dialled, by the usual rules.
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(EncodeCert(server.CA()))
	for _, name := range []string{"localhost", "127.0.0.1", ServerName} {
		if _, err := shake(t, server.ServerTLS(), &tls.Config{RootCAs: pool, ServerName: name, Time: c.now}); err != nil {
			t.Errorf("as curl, with %s: %v", name, err)
		}
	}
}

func TestHandshakesThatFail(t *testing.T) {
	c := at(date(2027, 1, 1))
	blue, red := newCA(t, "blue", c.now()), newCA(t, "red", c.now())
	twin := newCA(t, "blue", c.now()) // another CA that calls itself blue
	server, node := issue(t, blue, c.now, Server, "s1"), issue(t, blue, c.now, Node, "n1")
	foreign, forged := issue(t, red, c.now, Node, "n1"), issue(t, twin, c.now, Node, "n1")
	late := func() time.Time { return c.now().Add(Lifetime + time.Hour) }
	pin := func(ca []byte, now func() time.Time) *tls.Config {
		cfg, err := PinnedTLS(ca, now)
		if err != nil {
			t.Fatal(err)
		}
		return cfg
	}
	join := func(fingerprint string, now func() time.Time) *tls.Config {
		cfg, err := JoinTLS(fingerprint, now)
		if err != nil {
			t.Fatal(err)
		}
		return cfg
	}
	presenting := func(cfg *tls.Config, who *Credentials) *tls.Config {
		cfg.GetClientCertificate = who.getClientCertificate
		return cfg
	}
	for name, h := range map[string]struct {
		server, client *tls.Config
		want           string
	}{
		"client pins another CA":        {server.ServerTLS(), foreign.ClientTLS(), "not from the CA of cluster red"},
		"client pins a CA of that name": {server.ServerTLS(), forged.ClientTLS(), "not from the CA of cluster blue"},
		"pinned, another CA":            {server.ServerTLS(), pin(red.Certificate(), c.now), "not from the CA of cluster red"},
		"pinned, ended":                 {server.ServerTLS(), pin(blue.Certificate(), late), "check both clocks"},
		"a node plays server":           {node.ServerTLS(), node.ClientTLS(), "is node/n1, not a server"},
		"foreign client certificate":    {server.ServerTLS(), presenting(node.ClientTLS(), foreign), "not from the CA of cluster blue"},
		"forged client certificate":     {server.ServerTLS(), presenting(node.ClientTLS(), forged), "not from the CA of cluster blue"},
		"join, another fingerprint":     {server.ServerTLS(), join(red.Fingerprint(), c.now), "not the one of the join token"},
		"join, a node answers":          {node.ServerTLS(), join(blue.Fingerprint(), c.now), "not a server"},
		"join, ended":                   {server.ServerTLS(), join(blue.Fingerprint(), late), "check both clocks"},
		"raft, a node dials":            {server.RaftTLS(), presenting(server.RaftTLS(), node), "is node/n1, not a server"},
		"raft, a node answers":          {node.RaftTLS(), server.RaftTLS(), "is node/n1, not a server"},
		"raft, foreign":                 {server.RaftTLS(), presenting(server.RaftTLS(), issue(t, red, c.now, Server, "s1")), "not from the CA of cluster blue"},
		"raft, no certificate":          {server.RaftTLS(), pin(blue.Certificate(), c.now), "certificate"},
	} {
		_, err := shake(t, h.server, h.client)
		if err == nil || !strings.Contains(err.Error(), h.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// A server that shows the right CA certificate, but whose own certificate that
// CA did not sign, is refused: the CA's certificate is public.
func TestJoinRefusesAStolenChain(t *testing.T) {
	c := at(date(2027, 1, 1))
	blue, red := newCA(t, "blue", c.now()), newCA(t, "red", c.now())
	thief := issue(t, red, c.now, Server, "s1")
	cfg := thief.ServerTLS()
	cfg.GetCertificate = func(*tls.ClientHelloInfo) (*tls.Certificate, error) {
		pair := thief.current.Load().pair
		pair.Certificate = [][]byte{pair.Certificate[0], blue.Certificate()}
		return &pair, nil
	}
	join, err := JoinTLS(blue.Fingerprint(), c.now)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := shake(t, cfg, join); err == nil || !strings.Contains(err.Error(), "not from the CA") {
		t.Errorf("got %v", err)
	}
	if _, err := shake(t, issue(t, blue, c.now, Server, "s1").ServerTLS(), join); err != nil {
		t.Errorf("the right one: %v", err)
	}
	for _, bad := range []string{"", "abc", strings.Repeat("G", 64), strings.ToUpper(blue.Fingerprint())} {
		if _, err := JoinTLS(bad, c.now); spec.CodeOf(err) != spec.CodeInvalid {
			t.Errorf("fingerprint %q: %v", bad, err)
		}
	}
}

func TestServersShakeHandsForRaft(t *testing.T) {
	c := at(date(2027, 1, 1))
	ca := newCA(t, "blue", c.now())
	if _, err := shake(t, issue(t, ca, c.now, Server, "s1").RaftTLS(), issue(t, ca, c.now, Server, "s2").RaftTLS()); err != nil {
		t.Error(err)
	}
}

// A node that was off while its certificate ended can still shake hands with a
// server, to renew; for Raft an ended one is not enough.
func TestEndedCertificate(t *testing.T) {
	c := at(date(2027, 1, 1))
	ca := newCA(t, "blue", c.now())
	node, old := issue(t, ca, c.now, Node, "n1"), issue(t, ca, c.now, Server, "old")
	c.set(date(2027, 6, 1))
	server := issue(t, ca, c.now, Server, "s1")
	state, err := shake(t, server.ServerTLS(), node.ClientTLS())
	if err != nil {
		t.Fatal(err)
	}
	if !Expired(state.PeerCertificates[0], c.now()) {
		t.Error("not seen as expired")
	}
	if _, err := shake(t, server.RaftTLS(), old.RaftTLS()); err == nil {
		t.Error("raft takes an ended certificate")
	}
}

// Clocks that are wrong, forward or back, at birth or later.
func TestClocks(t *testing.T) {
	c := at(date(1970, 1, 1)) // no battery
	ca := newCA(t, "blue", c.now())
	server := issue(t, ca, c.now, Server, "s1")
	if _, err := shake(t, server.ServerTLS(), issue(t, ca, c.now, Node, "n1").ClientTLS()); err != nil {
		t.Errorf("in 1970: %v", err)
	}
	right := at(date(2027, 1, 1))
	server = issue(t, ca, right.now, Server, "s1")
	if _, err := shake(t, server.ServerTLS(), issue(t, ca, right.now, Node, "n1").ClientTLS()); err != nil {
		t.Errorf("born in 1970, now 2027: %v", err)
	}
	behind := at(date(1970, 1, 1))
	if _, err := shake(t, server.ServerTLS(), issue(t, ca, behind.now, Node, "n2").ClientTLS()); err != nil {
		t.Errorf("one side's clock is behind: %v", err)
	}
	// Signed under a clock a year ahead: good at once, and renewed once the
	// clock is right again.
	ahead := at(date(2028, 1, 1))
	n := issue(t, ca, ahead.now, Node, "n3")
	if n.Due() {
		t.Error("a new certificate is due")
	}
	ahead.set(date(2027, 1, 1))
	if _, err := shake(t, server.ServerTLS(), n.ClientTLS()); err != nil {
		t.Errorf("signed by a clock that was ahead: %v", err)
	}
	if !n.Due() {
		t.Error("a certificate from the future is to be renewed")
	}
}

func TestRenewal(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ca := newCA(t, "blue", time.Now().AddDate(30, 0, 0))
		// The bubble's clock starts in 2000; certificates from 2026 on.
		now := func() time.Time { return time.Now().AddDate(30, 0, 0) }
		node := issue(t, ca, now, Node, "n1")
		first := node.NotAfter()
		var down atomic.Bool
		var signed, changes atomic.Int32
		node.OnChange(func() { changes.Add(1) })
		r := &Renewer{Credentials: node, Logger: slog.New(slog.DiscardHandler), Sign: func(ctx context.Context, csr []byte) ([]byte, []byte, error) {
			signed.Add(1)
			if down.Load() {
				return nil, nil, spec.Errorf(spec.CodeUnavailable, "no server")
			}
			return ca.Signer(node.Identity(), now)(ctx, csr)
		}}
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- r.Run(ctx) }()
		time.Sleep(Lifetime*2/3 - time.Hour)
		if signed.Load() != 0 {
			t.Error("renewed too early")
		}
		down.Store(true)
		time.Sleep(26 * time.Hour)
		if n := signed.Load(); n < 10 || n > 60 {
			t.Errorf("tried %d times in a day", n)
		}
		down.Store(false)
		time.Sleep(time.Hour)
		synctest.Wait()
		if !node.NotAfter().After(first) || changes.Load() != 1 {
			t.Errorf("not renewed; %d changes", changes.Load())
		}
		again, err := Load(node.dir, now)
		if err != nil || !again.NotAfter().Equal(node.NotAfter()) {
			t.Errorf("on disk: %v", err)
		}
		time.Sleep(3 * Lifetime)
		if node.NotAfter().Before(now().Add(Lifetime / 4)) {
			t.Error("renewed only once")
		}
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}

// TLS configurations made before a renewal use the new certificate.
func TestRenewedCertificateIsUsedAtOnce(t *testing.T) {
	c := at(date(2027, 1, 1))
	ca := newCA(t, "blue", c.now())
	server, node := issue(t, ca, c.now, Server, "s1"), issue(t, ca, c.now, Node, "n1")
	serverTLS, clientTLS := server.ServerTLS(), node.ClientTLS()
	before, err := shake(t, serverTLS, clientTLS)
	if err != nil {
		t.Fatal(err)
	}
	c.set(date(2027, 6, 1))
	for _, x := range []*Credentials{server, node} {
		r := &Renewer{Credentials: x, Sign: ca.Signer(x.Identity(), c.now)}
		if err := r.Renew(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	after, err := shake(t, serverTLS, clientTLS)
	if err != nil {
		t.Fatal(err)
	}
	if before.PeerCertificates[0].Equal(after.PeerCertificates[0]) || bytes.Equal(before.PeerCertificates[0].RawSubjectPublicKeyInfo, after.PeerCertificates[0].RawSubjectPublicKeyInfo) {
		t.Error("the old certificate or key was used")
	}
}

// What a server answers to a renewal is not believed blindly, and a bad answer
// changes nothing.
func TestRenewalRefusesBadAnswers(t *testing.T) {
	c := at(date(2027, 1, 1))
	ca, twin := newCA(t, "blue", c.now()), newCA(t, "blue", c.now())
	node := issue(t, ca, c.now, Node, "n1")
	file := filepath.Join(node.dir, identityFile)
	before, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	_, otherCSR, err := NewRequest()
	if err != nil {
		t.Fatal(err)
	}
	for name, sign := range map[string]SignFunc{
		"another's name": ca.Signer(Identity{"blue", Node, "n2"}, c.now),
		"another kind":   ca.Signer(Identity{"blue", Server, "n1"}, c.now),
		"another CA":     twin.Signer(node.Identity(), c.now),
		"another key": func(ctx context.Context, _ []byte) ([]byte, []byte, error) {
			return ca.Signer(node.Identity(), c.now)(ctx, otherCSR)
		},
		"garbage": func(context.Context, []byte) ([]byte, []byte, error) { return []byte("x"), []byte("y"), nil },
		"a CA that did not sign": func(ctx context.Context, csr []byte) ([]byte, []byte, error) {
			cert, _, err := twin.Signer(node.Identity(), c.now)(ctx, csr)
			return cert, ca.Certificate(), err
		},
	} {
		r := &Renewer{Credentials: node, Sign: sign}
		if err := r.Renew(t.Context()); spec.CodeOf(err) != spec.CodeInvalid {
			t.Errorf("%s: %v", name, err)
		}
	}
	after, err := os.ReadFile(file)
	if err != nil || !bytes.Equal(before, after) {
		t.Errorf("the file changed: %v", err)
	}
}

func TestSignRefuses(t *testing.T) {
	now := date(2027, 1, 1)
	ca := newCA(t, "blue", now)
	_, good, err := NewRequest()
	if err != nil {
		t.Fatal(err)
	}
	weak, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	rsaCSR, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{}, weak)
	if err != nil {
		t.Fatal(err)
	}
	short, err := ecdsa.GenerateKey(elliptic.P224(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	shortCSR, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{}, short)
	if err != nil {
		t.Fatal(err)
	}
	tampered := bytes.Clone(good)
	tampered[len(tampered)-5] ^= 1
	id := Identity{"blue", Node, "n1"}
	for name, c := range map[string]struct {
		csr  []byte
		id   Identity
		code spec.Code
	}{
		"garbage":         {[]byte("garbage"), id, spec.CodeInvalid},
		"empty":           {nil, id, spec.CodeInvalid},
		"tampered":        {tampered, id, spec.CodeInvalid},
		"RSA":             {rsaCSR, id, spec.CodeInvalid},
		"short curve":     {shortCSR, id, spec.CodeInvalid},
		"another cluster": {good, Identity{"red", Node, "n1"}, spec.CodeDenied},
		"bad name":        {good, Identity{"blue", Node, "../n1"}, spec.CodeInvalid},
		"no name":         {good, Identity{"blue", Node, ""}, spec.CodeInvalid},
		"bad kind":        {good, Identity{"blue", "admin", "n1"}, spec.CodeInvalid},
	} {
		if _, err := ca.Sign(c.csr, c.id, now); spec.CodeOf(err) != c.code {
			t.Errorf("%s: %v", name, err)
		}
	}
	// What the request says of itself does not count.
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	greedy, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{
		DNSNames: []string{ServerName}, URIs: []*url.URL{Identity{"blue", Server, "s1"}.URI()},
	}, key)
	if err != nil {
		t.Fatal(err)
	}
	der, err := ca.Sign(greedy, id, now, "localhost")
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := IdentityOf(cert); err != nil || got != id || len(cert.DNSNames) != 0 || cert.IsCA {
		t.Errorf("signed for %v, names %v: %v", got, cert.DNSNames, err)
	}
}
