package pki

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"dhow.dev/dhow/proto/spec"
)

const identityFile = "identity.pem"

// Credentials are a machine's certificate and key. TLS configurations made from
// them use the newest at each handshake. Safe for concurrent use.
type Credentials struct {
	dir     string
	now     func() time.Time
	current atomic.Pointer[loaded]

	mu       sync.Mutex
	onChange []func()
}

// loaded is one certificate with what belongs to it. It never changes.
type loaded struct {
	id   Identity
	leaf *x509.Certificate
	pair tls.Certificate
	ca   *x509.Certificate
	pool *x509.CertPool
}

// NewRequest makes a key (PKCS #8, DER) and its signing request (PKCS #10, DER).
func NewRequest() (key, csr []byte, err error) {
	priv, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, nil, spec.Errorf(spec.CodeInternal, "make a key: %w", err)
	}
	if key, err = x509.MarshalPKCS8PrivateKey(priv); err != nil {
		return nil, nil, spec.Errorf(spec.CodeInternal, "encode a key: %w", err)
	}
	if csr, err = x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{}, priv); err != nil {
		return nil, nil, spec.Errorf(spec.CodeInternal, "make a signing request: %w", err)
	}
	return key, csr, nil
}

// Load reads the credentials from the directory; CodeNotFound when there are
// none yet.
func Load(dir string, now func() time.Time) (*Credentials, error) {
	path := filepath.Join(dir, identityFile)
	b, err := readPEM(path)
	if err != nil {
		return nil, err
	}
	if len(b.certs) != 2 {
		return nil, spec.Errorf(spec.CodeInvalid, "%s: want two certificates, its own and the CA's: join the cluster anew", path)
	}
	l, err := assemble(b.certs[0], b.certs[1], b.key)
	if err != nil {
		return nil, spec.Errorf(spec.CodeInvalid, "%s: join the cluster anew: %w", path, err)
	}
	c := &Credentials{dir: dir, now: now}
	c.current.Store(l)
	return c, nil
}

// Install checks what a server granted, writes it into the directory, which
// must exist, and loads it.
func Install(dir string, now func() time.Time, certDER, caDER, keyPKCS8 []byte) (*Credentials, error) {
	c := &Credentials{dir: dir, now: now}
	return c, c.replace(certDER, caDER, keyPKCS8)
}

// Issue makes the credentials of a machine that has the CA itself.
func (ca *CA) Issue(dir string, now func() time.Time, id Identity, hosts ...string) (*Credentials, error) {
	key, csr, err := NewRequest()
	if err != nil {
		return nil, err
	}
	cert, err := ca.Sign(csr, id, now(), hosts...)
	if err != nil {
		return nil, err
	}
	return Install(dir, now, cert, ca.Certificate(), key)
}

func (c *Credentials) replace(certDER, caDER, keyPKCS8 []byte) error {
	l, err := assemble(certDER, caDER, keyPKCS8)
	if err != nil {
		return err
	}
	if old := c.current.Load(); old != nil {
		if l.id != old.id {
			return spec.Errorf(spec.CodeInvalid, "the new certificate is for %s of cluster %s, not for %s of cluster %s", l.id, l.id.Cluster, old.id, old.id.Cluster)
		}
		if !l.ca.Equal(old.ca) {
			return spec.Errorf(spec.CodeInvalid, "the new certificate comes from another CA")
		}
	}
	b := bundle{certs: [][]byte{certDER, caDER}, key: keyPKCS8}
	if err := writePEM(filepath.Join(c.dir, identityFile), b); err != nil {
		return err
	}
	c.current.Store(l)
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, f := range c.onChange {
		f()
	}
	return nil
}

// OnChange has f called after each renewal, so that whoever holds connections
// can make new ones before the old certificate ends. F must not block.
func (c *Credentials) OnChange(f func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.onChange = append(c.onChange, f)
}

// assemble checks that the parts belong together.
func assemble(certDER, caDER, keyPKCS8 []byte) (*loaded, error) {
	ca, cluster, err := parseCACert(caDER)
	if err != nil {
		return nil, err
	}
	leaf, err := x509.ParseCertificate(certDER)
	if err != nil {
		return nil, spec.Errorf(spec.CodeInvalid, "the certificate: %w", err)
	}
	id, err := IdentityOf(leaf)
	if err != nil {
		return nil, err
	}
	if id.Cluster != cluster {
		return nil, spec.Errorf(spec.CodeInvalid, "the certificate is of cluster %s, its CA of cluster %s", id.Cluster, cluster)
	}
	if err := leaf.CheckSignatureFrom(ca); err != nil {
		return nil, spec.Errorf(spec.CodeInvalid, "the certificate of %s was not signed by the CA that came with it: %w", id, err)
	}
	parsed, err := x509.ParsePKCS8PrivateKey(keyPKCS8)
	if err != nil {
		return nil, spec.Errorf(spec.CodeInvalid, "the private key of %s: %w", id, err)
	}
	key, ok := parsed.(*ecdsa.PrivateKey)
	if !ok || !key.PublicKey.Equal(leaf.PublicKey) {
		return nil, spec.Errorf(spec.CodeInvalid, "the private key does not belong to the certificate of %s", id)
	}
	pool := x509.NewCertPool()
	pool.AddCert(ca)
	return &loaded{
		id: id, leaf: leaf, ca: ca, pool: pool,
		// With the CA in the chain a joining machine can check its fingerprint.
		pair: tls.Certificate{Certificate: [][]byte{certDER, caDER}, PrivateKey: key, Leaf: leaf},
	}, nil
}

// Identity is whose they are.
func (c *Credentials) Identity() Identity { return c.current.Load().id }

// CA is the certificate of the cluster's CA, DER.
func (c *Credentials) CA() []byte { return c.current.Load().ca.Raw }

// NotAfter is when the certificate ends.
func (c *Credentials) NotAfter() time.Time { return c.current.Load().leaf.NotAfter }

// Due tells whether it is time to renew: a third of the lifetime is left, or
// the end is so far off that it was signed under a clock that ran ahead.
func (c *Credentials) Due() bool {
	left := c.NotAfter().Sub(atLeast(c.now(), birth()))
	return left <= Lifetime/3 || left > Lifetime+24*time.Hour
}
