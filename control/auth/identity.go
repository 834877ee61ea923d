package auth

import (
	"crypto/tls"
	"strings"
	"time"

	"dhow.dev/dhow/internal/pki"
	dhowv1 "dhow.dev/dhow/proto/dhow/v1"
	"dhow.dev/dhow/proto/spec"
)

// RenewFor is how long after its end a certificate may still be renewed, so
// that a machine that was off for months comes back by itself.
const RenewFor = 365 * 24 * time.Hour

// Identity is who calls.
type Identity struct {
	// Subject is token/NAME, node/NAME or server/NAME.
	Subject string
	// Role is a token's; unspecified for nodes and servers.
	Role dhowv1.Role
	// Node is the node's name, if it is one.
	Node string
	// Server is the server's name, if it is one.
	Server string
	// Expired certificates may be renewed and nothing else.
	Expired bool
}

// FromTLS reads the identity out of a connection's certificate. The connection
// must have been made with pki's ServerTLS, which verified it. The second
// result is false when there is no certificate.
func FromTLS(state *tls.ConnectionState, cluster string, now time.Time) (Identity, bool, error) {
	if state == nil || len(state.PeerCertificates) == 0 {
		return Identity{}, false, nil
	}
	cert := state.PeerCertificates[0]
	who, err := pki.IdentityOf(cert)
	if err != nil {
		return Identity{}, false, spec.Errorf(spec.CodeUnknownUser, "client certificate: %w", err)
	}
	if who.Cluster != cluster {
		return Identity{}, false, spec.Errorf(spec.CodeUnknownUser, "the certificate of %s is of cluster %s, this is cluster %s: join this cluster with a join token", who, who.Cluster, cluster)
	}
	if now.After(cert.NotAfter.Add(RenewFor)) {
		return Identity{}, false, spec.Errorf(spec.CodeUnknownUser, "the certificate of %s ended %s, too long ago to be renewed: join anew with a join token", who, cert.NotAfter.UTC().Format(time.RFC3339))
	}
	id := Identity{Subject: who.String(), Expired: pki.Expired(cert, now)}
	switch who.Kind {
	case pki.Node:
		id.Node = who.Name
	case pki.Server:
		id.Server = who.Name
	}
	return id, true, nil
}

// RoleName is a role as people write it: admin, join-node.
func RoleName(r dhowv1.Role) string {
	return strings.ReplaceAll(strings.ToLower(strings.TrimPrefix(r.String(), "ROLE_")), "_", "-")
}

// ParseRole reads what RoleName wrote.
func ParseRole(s string) (dhowv1.Role, error) {
	v, ok := dhowv1.Role_value["ROLE_"+strings.ToUpper(strings.ReplaceAll(s, "-", "_"))]
	if !ok || v == 0 {
		return 0, spec.Errorf(spec.CodeInvalid, "role %q: want admin, deployer, viewer, join-node or join-server", s)
	}
	return dhowv1.Role(v), nil
}
