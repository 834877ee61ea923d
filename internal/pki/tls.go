package pki

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"time"

	"dhow.dev/dhow/proto/spec"
)

// The configurations below check certificates in VerifyConnection, which also
// runs when a session is resumed, instead of by crypto/tls's own rule: so the
// errors can say which cluster, whose certificate and what to do.

// ServerTLS is for the API. It asks for a client certificate and permits none.
// One that is given must come from the cluster's CA. It may have ended, so that
// a machine that was off for long can still renew it: whoever reads the
// identity must check Expired.
func (c *Credentials) ServerTLS() *tls.Config {
	return &tls.Config{
		MinVersion:     tls.VersionTLS13,
		NextProtos:     []string{"h2", "http/1.1"},
		GetCertificate: c.getCertificate,
		ClientAuth:     tls.RequestClientCert,
		VerifyConnection: func(s tls.ConnectionState) error {
			if len(s.PeerCertificates) == 0 {
				return nil
			}
			l := c.current.Load()
			// Judged at the time of its end: only the signature counts here.
			_, err := verify(s.PeerCertificates, l.pool, l.id.Cluster, s.PeerCertificates[0].NotAfter)
			return err
		},
	}
}

// ClientTLS is for calls to servers: it presents the certificate and accepts
// servers of this cluster only.
func (c *Credentials) ClientTLS() *tls.Config {
	return &tls.Config{
		MinVersion:           tls.VersionTLS13,
		ServerName:           ServerName,
		InsecureSkipVerify:   true, // VerifyConnection verifies
		GetClientCertificate: c.getClientCertificate,
		VerifyConnection: func(s tls.ConnectionState) error {
			l := c.current.Load()
			return verifyServer(s.PeerCertificates, l.pool, l.id.Cluster, c.now())
		},
	}
}

// RaftTLS is for connections between servers: both sides must be servers of
// this cluster with a certificate that has not ended. One configuration serves
// both ends.
func (c *Credentials) RaftTLS() *tls.Config {
	cfg := c.ClientTLS()
	cfg.NextProtos = []string{"dhow-raft"}
	cfg.ClientAuth = tls.RequireAnyClientCert
	cfg.GetCertificate = c.getCertificate
	return cfg
}

// PinnedTLS is for people's tools: it accepts servers that the given CA (DER)
// signed for. Who calls is told by a token.
func PinnedTLS(caDER []byte, now func() time.Time) (*tls.Config, error) {
	ca, cluster, err := parseCACert(caDER)
	if err != nil {
		return nil, err
	}
	pool := x509.NewCertPool()
	pool.AddCert(ca)
	return &tls.Config{
		MinVersion:         tls.VersionTLS13,
		ServerName:         ServerName,
		InsecureSkipVerify: true, // VerifyConnection verifies
		VerifyConnection: func(s tls.ConnectionState) error {
			return verifyServer(s.PeerCertificates, pool, cluster, now())
		},
	}, nil
}

// JoinTLS is for a machine that joins: it knows the CA by the fingerprint in
// its join token only. The handshake fails before anything is sent when the
// server is not one of that CA's.
func JoinTLS(fingerprint string, now func() time.Time) (*tls.Config, error) {
	if !isFingerprint(fingerprint) {
		return nil, spec.Errorf(spec.CodeInvalid, "fingerprint %q: want 64 hexadecimal digits", fingerprint)
	}
	return &tls.Config{
		MinVersion:         tls.VersionTLS13,
		ServerName:         ServerName,
		InsecureSkipVerify: true, // VerifyConnection verifies
		VerifyConnection: func(s tls.ConnectionState) error {
			for _, cert := range s.PeerCertificates {
				if Fingerprint(cert.Raw) != fingerprint {
					continue
				}
				ca, cluster, err := parseCACert(cert.Raw)
				if err != nil {
					return err
				}
				pool := x509.NewCertPool()
				pool.AddCert(ca)
				return verifyServer(s.PeerCertificates, pool, cluster, now())
			}
			return spec.Errorf(spec.CodeUnknownUser, "the server's CA is not the one of the join token (fingerprint %s...): the address is of another cluster, or the token is", fingerprint[:12])
		},
	}, nil
}

func isFingerprint(s string) bool {
	if len(s) != 64 {
		return false
	}
	for i := range len(s) {
		if (s[i] < '0' || s[i] > '9') && (s[i] < 'a' || s[i] > 'f') {
			return false
		}
	}
	return true
}

func (c *Credentials) getCertificate(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	return &c.current.Load().pair, nil
}

func (c *Credentials) getClientCertificate(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
	return &c.current.Load().pair, nil
}

// Expired tells whether the certificate has ended.
func Expired(cert *x509.Certificate, now time.Time) bool { return now.After(cert.NotAfter) }

func verifyServer(chain []*x509.Certificate, pool *x509.CertPool, cluster string, now time.Time) error {
	id, err := verify(chain, pool, cluster, now)
	if err != nil {
		return err
	}
	if id.Kind != Server {
		return spec.Errorf(spec.CodeUnknownUser, "the other side is %s, not a server", id)
	}
	if err := chain[0].VerifyHostname(ServerName); err != nil {
		return spec.Errorf(spec.CodeUnknownUser, "the certificate of %s: %w", id, err)
	}
	return nil
}

// verify checks that the chain's first certificate was signed by the pool's CA,
// is good at the time, and carries an identity of the cluster.
func verify(chain []*x509.Certificate, pool *x509.CertPool, cluster string, now time.Time) (Identity, error) {
	if len(chain) == 0 {
		return Identity{}, spec.Errorf(spec.CodeUnknownUser, "the other side shows no certificate")
	}
	leaf := chain[0]
	now = atLeast(now, birth())
	_, err := leaf.Verify(x509.VerifyOptions{
		Roots:       pool,
		CurrentTime: now,
		KeyUsages:   []x509.ExtKeyUsage{x509.ExtKeyUsageAny},
	})
	if err != nil {
		return Identity{}, explain(err, leaf, cluster, now)
	}
	id, err := IdentityOf(leaf)
	if err != nil {
		return Identity{}, err
	}
	if id.Cluster != cluster {
		return Identity{}, spec.Errorf(spec.CodeUnknownUser, "the certificate of %s is of cluster %s, not %s", id, id.Cluster, cluster)
	}
	return id, nil
}

func explain(err error, leaf *x509.Certificate, cluster string, now time.Time) error {
	who := leaf.Subject.CommonName
	if _, ok := errors.AsType[x509.UnknownAuthorityError](err); ok {
		return spec.Errorf(spec.CodeUnknownUser, "the certificate of %q is not from the CA of cluster %s: the address is of another cluster, or this side's CA is: %w", who, cluster, err)
	}
	if invalid, ok := errors.AsType[x509.CertificateInvalidError](err); ok && invalid.Reason == x509.Expired {
		return spec.Errorf(spec.CodeUnknownUser, "the certificate of %q ended %s and it is %s here: check both clocks; if they are right, renew it or join anew",
			who, leaf.NotAfter.UTC().Format(time.RFC3339), now.UTC().Format(time.RFC3339))
	}
	return spec.Errorf(spec.CodeUnknownUser, "the certificate of %q: %w", who, err)
}
