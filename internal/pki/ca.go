package pki

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/hex"
	"math/big"
	"net"
	"net/url"
	"path/filepath"
	"strings"
	"time"

	"dhow.dev/dhow/proto/spec"
)

const (
	caLifetime = 10 * 365 * 24 * time.Hour
	// Lifetime is how long a node's or server's certificate is good for. It is
	// renewed when a third of that is left.
	Lifetime = 30 * 24 * time.Hour
	caFile   = "ca.pem"
)

// birth is before any cluster's: certificates are valid from then, whatever a
// clock said when they were made. So a machine whose clock is behind accepts
// them, and one that starts in 1970 for want of a battery can found a cluster.
func birth() time.Time { return time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC) }

func atLeast(t, floor time.Time) time.Time {
	if t.Before(floor) {
		return floor
	}
	return t
}

// CA is the cluster's certificate authority. Every server has it.
type CA struct {
	cert    *x509.Certificate
	key     *ecdsa.PrivateKey
	cluster string
}

// NewCA makes the CA of a new cluster.
func NewCA(cluster string, now time.Time) (*CA, error) {
	if !label(cluster) {
		return nil, spec.Errorf(spec.CodeInvalid, "cluster id %q: want 1 to 63 of a-z, 0-9 and '-'", cluster)
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, spec.Errorf(spec.CodeInternal, "make the CA's key: %w", err)
	}
	template := &x509.Certificate{
		SerialNumber:          serial(),
		Subject:               pkix.Name{CommonName: "dhow CA " + cluster},
		NotBefore:             birth(),
		NotAfter:              atLeast(now, birth()).Add(caLifetime),
		KeyUsage:              x509.KeyUsageCertSign | x509.KeyUsageCRLSign,
		BasicConstraintsValid: true,
		IsCA:                  true,
		MaxPathLenZero:        true,
		URIs:                  []*url.URL{{Scheme: "dhow", Host: cluster}},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		return nil, spec.Errorf(spec.CodeInternal, "make the CA's certificate: %w", err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, spec.Errorf(spec.CodeInternal, "read the CA's new certificate: %w", err)
	}
	return &CA{cert: cert, key: key, cluster: cluster}, nil
}

// ParseCA puts together what another server sent at the join.
func ParseCA(certDER, keyPKCS8 []byte) (*CA, error) {
	cert, cluster, err := parseCACert(certDER)
	if err != nil {
		return nil, err
	}
	parsed, err := x509.ParsePKCS8PrivateKey(keyPKCS8)
	if err != nil {
		return nil, spec.Errorf(spec.CodeInvalid, "the CA's key: %w", err)
	}
	key, ok := parsed.(*ecdsa.PrivateKey)
	if !ok || !key.PublicKey.Equal(cert.PublicKey) {
		return nil, spec.Errorf(spec.CodeInvalid, "the CA's key does not belong to the CA's certificate")
	}
	return &CA{cert: cert, key: key, cluster: cluster}, nil
}

func parseCACert(der []byte) (*x509.Certificate, string, error) {
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, "", spec.Errorf(spec.CodeInvalid, "the CA's certificate: %w", err)
	}
	if !cert.IsCA || len(cert.URIs) != 1 || cert.URIs[0].Scheme != "dhow" || !label(cert.URIs[0].Host) || cert.URIs[0].Path != "" {
		return nil, "", spec.Errorf(spec.CodeInvalid, "the certificate %q is not a dhow CA's", cert.Subject.CommonName)
	}
	return cert, cert.URIs[0].Host, nil
}

// LoadCA reads the CA from the directory; CodeNotFound when there is none.
func LoadCA(dir string) (*CA, error) {
	path := filepath.Join(dir, caFile)
	b, err := readPEM(path)
	if err != nil {
		return nil, err
	}
	if len(b.certs) != 1 || b.key == nil {
		return nil, spec.Errorf(spec.CodeInvalid, "%s: want one certificate and one private key: restore it from a backup or from another server", path)
	}
	ca, err := ParseCA(b.certs[0], b.key)
	if err != nil {
		return nil, spec.Errorf(spec.CodeInvalid, "%s: %w", path, err)
	}
	return ca, nil
}

// Save writes the CA, key included, into the directory.
func (ca *CA) Save(dir string) error {
	key, err := ca.Key()
	if err != nil {
		return err
	}
	return writePEM(filepath.Join(dir, caFile), bundle{certs: [][]byte{ca.cert.Raw}, key: key})
}

// Cluster is the cluster's id.
func (ca *CA) Cluster() string { return ca.cluster }

// Certificate is the CA's own certificate, DER.
func (ca *CA) Certificate() []byte { return ca.cert.Raw }

// Key is the CA's private key, PKCS #8, DER. It goes to other servers only.
func (ca *CA) Key() ([]byte, error) {
	der, err := x509.MarshalPKCS8PrivateKey(ca.key)
	if err != nil {
		return nil, spec.Errorf(spec.CodeInternal, "encode the CA's key: %w", err)
	}
	return der, nil
}

// Fingerprint is the SHA-256 of the CA's certificate in hexadecimal digits, as
// join tokens carry it.
func (ca *CA) Fingerprint() string { return Fingerprint(ca.cert.Raw) }

// Fingerprint is the SHA-256 of a certificate in hexadecimal digits.
func Fingerprint(der []byte) string {
	sum := sha256.Sum256(der)
	return hex.EncodeToString(sum[:])
}

// Sign makes a certificate for the key in the signing request. Nothing else in
// the request counts: who the holder is was decided by whoever calls. Hosts are
// further names and addresses of a server, for clients that check what they
// dialled, such as curl.
func (ca *CA) Sign(csrDER []byte, id Identity, now time.Time, hosts ...string) ([]byte, error) {
	if err := id.Check(); err != nil {
		return nil, err
	}
	if id.Cluster != ca.cluster {
		return nil, spec.Errorf(spec.CodeDenied, "%s is of cluster %s, this is cluster %s", id, id.Cluster, ca.cluster)
	}
	csr, err := x509.ParseCertificateRequest(csrDER)
	if err != nil {
		return nil, spec.Errorf(spec.CodeInvalid, "signing request of %s: %w", id, err)
	}
	if err := csr.CheckSignature(); err != nil {
		return nil, spec.Errorf(spec.CodeInvalid, "signing request of %s: its signature is wrong: %w", id, err)
	}
	switch k := csr.PublicKey.(type) {
	case ed25519.PublicKey:
	case *ecdsa.PublicKey:
		if k.Curve.Params().BitSize < 256 {
			return nil, spec.Errorf(spec.CodeInvalid, "signing request of %s: the key is too short: use ECDSA P-256 or Ed25519", id)
		}
	default:
		return nil, spec.Errorf(spec.CodeInvalid, "signing request of %s: a key of type %T: use ECDSA P-256 or Ed25519", id, k)
	}
	end := atLeast(now, birth()).Add(Lifetime)
	if end.After(ca.cert.NotAfter) {
		end = ca.cert.NotAfter
	}
	template := &x509.Certificate{
		SerialNumber: serial(),
		Subject:      pkix.Name{CommonName: id.String()},
		NotBefore:    birth(),
		NotAfter:     end,
		KeyUsage:     x509.KeyUsageDigitalSignature,
		ExtKeyUsage:  []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth, x509.ExtKeyUsageServerAuth},
		URIs:         []*url.URL{id.URI()},
	}
	if id.Kind == Server {
		template.DNSNames = []string{ServerName}
		addHosts(template, hosts)
	}
	der, err := x509.CreateCertificate(rand.Reader, template, ca.cert, csr.PublicKey, ca.key)
	if err != nil {
		return nil, spec.Errorf(spec.CodeInternal, "sign the certificate of %s: %w", id, err)
	}
	return der, nil
}

func addHosts(template *x509.Certificate, hosts []string) {
	for _, h := range hosts {
		h = strings.Trim(h, "[]")
		if ip := net.ParseIP(h); ip != nil {
			template.IPAddresses = append(template.IPAddresses, ip)
		} else if h != "" && h != ServerName {
			template.DNSNames = append(template.DNSNames, h)
		}
	}
}

func serial() *big.Int {
	var b [16]byte
	_, _ = rand.Read(b[:]) // never fails
	b[0] &= 0x7f
	return new(big.Int).SetBytes(b[:])
}
