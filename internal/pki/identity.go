// Package pki makes and checks the certificates that are a machine's identity:
// the cluster's CA, nodes' and servers' certificates, their files, renewal, and
// the TLS configurations built from them. It knows X.509 and TLS, and nothing
// of tokens, roles or the API.
package pki

import (
	"crypto/rand"
	"crypto/x509"
	"encoding/base32"
	"net/url"
	"strings"

	"dhow.dev/dhow/proto/spec"
)

// Kind is what a certificate's holder is.
type Kind string

// The kinds.
const (
	Node   Kind = "node"
	Server Kind = "server"
)

// ServerName is the DNS name in every server's certificate. Clients ask for it
// whatever address they dial, so addresses may change.
const ServerName = "dhow-server"

// Identity is what a certificate says about its holder.
type Identity struct {
	Cluster string
	Kind    Kind
	Name    string
}

// String is the subject, as node/NAME or server/NAME.
func (id Identity) String() string { return string(id.Kind) + "/" + id.Name }

// URI is the identity as it stands in a certificate:
// dhow://CLUSTER/node/NAME or dhow://CLUSTER/server/NAME.
func (id Identity) URI() *url.URL {
	return &url.URL{Scheme: "dhow", Host: id.Cluster, Path: "/" + id.String()}
}

// Check tells whether all parts are well formed.
func (id Identity) Check() error {
	if id.Kind != Node && id.Kind != Server {
		return spec.Errorf(spec.CodeInvalid, "identity: kind %q is neither node nor server", id.Kind)
	}
	if !label(id.Cluster) {
		return spec.Errorf(spec.CodeInvalid, "identity: cluster %q: want 1 to 63 of a-z, 0-9 and '-', not at either end", id.Cluster)
	}
	if !label(id.Name) {
		return spec.Errorf(spec.CodeInvalid, "identity: name %q: want 1 to 63 of a-z, 0-9 and '-', not at either end", id.Name)
	}
	return nil
}

// ParseIdentity reads what URI wrote, and nothing else.
func ParseIdentity(s string) (Identity, error) {
	rest, ok := strings.CutPrefix(s, "dhow://")
	parts := strings.Split(rest, "/")
	if !ok || len(parts) != 3 {
		return Identity{}, spec.Errorf(spec.CodeInvalid, "identity %q: want dhow://CLUSTER/node/NAME or dhow://CLUSTER/server/NAME", s)
	}
	id := Identity{Cluster: parts[0], Kind: Kind(parts[1]), Name: parts[2]}
	if err := id.Check(); err != nil {
		return Identity{}, err
	}
	return id, nil
}

// IdentityOf reads the identity out of a certificate, whose chain must have
// been verified.
func IdentityOf(cert *x509.Certificate) (Identity, error) {
	var found []string
	for _, u := range cert.URIs {
		if u.Scheme == "dhow" {
			found = append(found, u.String())
		}
	}
	if len(found) != 1 {
		return Identity{}, spec.Errorf(spec.CodeUnknownUser, "the certificate %q carries %d dhow identities, want 1", cert.Subject.CommonName, len(found))
	}
	return ParseIdentity(found[0])
}

// NewClusterID makes a random cluster id.
func NewClusterID() string {
	var b [10]byte
	_, _ = rand.Read(b[:]) // never fails
	return strings.ToLower(base32.StdEncoding.EncodeToString(b[:]))
}

// label tells whether s is a DNS label as dhow's names are.
func label(s string) bool {
	if s == "" || len(s) > 63 || s[0] == '-' || s[len(s)-1] == '-' {
		return false
	}
	for i := range len(s) {
		c := s[i]
		if (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '-' {
			return false
		}
	}
	return true
}
