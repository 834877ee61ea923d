package control

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"net/http"
	"os"
	"path/filepath"

	"connectrpc.com/connect"

	"dhow.dev/dhow/control/auth"
	"dhow.dev/dhow/internal/fsx"
	"dhow.dev/dhow/internal/pki"
	dhowv1 "dhow.dev/dhow/proto/dhow/v1"
	"dhow.dev/dhow/proto/dhow/v1/dhowv1connect"
	"dhow.dev/dhow/proto/spec"
)

// identity is what a server has from its birth or its join on.
type identity struct {
	ca        *pki.CA
	creds     *pki.Credentials
	gossipKey []byte
	// born: this start made the cluster. Raft is told, and the first token made.
	born bool
	// pending: the server has its certificate but may not be a member yet.
	pending bool
	// servers and gossip are addresses to begin with, from the join.
	servers, gossip []string
}

// facts are kept in server.json. It is written last, so that a crash in the
// middle of a birth or join begins anew.
type facts struct {
	Cluster   string   `json:"cluster"`
	Name      string   `json:"name"`
	Raft      string   `json:"raft"`
	GossipKey []byte   `json:"gossip_key"`
	Born      bool     `json:"born"`
	Pending   bool     `json:"pending"`
	Servers   []string `json:"servers,omitempty"`
	Gossip    []string `json:"gossip,omitempty"`
}

func identityDir(c Config) string { return filepath.Join(c.Dir, "identity") }
func factsFile(c Config) string   { return filepath.Join(c.Dir, "server.json") }

// loadIdentity finds the server's identity, or makes it: by a birth when there
// is nothing to join, else by a join.
func loadIdentity(ctx context.Context, c Config) (*identity, error) {
	data, err := os.ReadFile(factsFile(c))
	if errors.Is(err, os.ErrNotExist) {
		if err := fsx.MkdirAll(identityDir(c), 0o700); err != nil {
			return nil, fsx.Explain(err)
		}
		if len(c.Join) == 0 {
			return birth(c)
		}
		return join(ctx, c)
	} else if err != nil {
		return nil, fsx.Explain(err)
	}
	var f facts
	if err := json.Unmarshal(data, &f); err != nil {
		return nil, spec.Errorf(spec.CodeInvalid, "%s is damaged: %w; restore it from a backup, or join with an empty data directory", factsFile(c), err)
	}
	if f.Name != c.Name {
		return nil, spec.Errorf(spec.CodeInvalid, "%s belongs to server %q, not %q: start with --name %s, or with another data directory", c.Dir, f.Name, c.Name, f.Name)
	}
	if f.Raft != c.portAdvertised(c.Raft) {
		return nil, spec.Errorf(spec.CodeInvalid, "this server is known to the others at %s for Raft, not %s: start it with its old address, or remove it (dhow server remove %s) and join anew with an empty data directory",
			f.Raft, c.portAdvertised(c.Raft), f.Name)
	}
	ca, err := pki.LoadCA(identityDir(c))
	if err != nil {
		return nil, err
	}
	creds, err := pki.Load(identityDir(c), c.Clock)
	if err != nil {
		return nil, err
	}
	return &identity{ca: ca, creds: creds, gossipKey: f.GossipKey, born: f.Born, pending: f.Pending, servers: f.Servers, gossip: f.Gossip}, nil
}

// birth makes the identity of a new cluster.
func birth(c Config) (*identity, error) {
	cluster := pki.NewClusterID()
	ca, err := pki.NewCA(cluster, c.Clock())
	if err != nil {
		return nil, err
	}
	if err := ca.Save(identityDir(c)); err != nil {
		return nil, err
	}
	creds, err := ca.Issue(identityDir(c), c.Clock, pki.Identity{Cluster: cluster, Kind: pki.Server, Name: c.Name}, certHosts(c)...)
	if err != nil {
		return nil, err
	}
	key := make([]byte, 32)
	if _, err := rand.Read(key); err != nil {
		return nil, spec.Errorf(spec.CodeInternal, "make the gossip key: %w", err)
	}
	id := &identity{ca: ca, creds: creds, gossipKey: key, born: true}
	return id, id.save(c)
}

// join trades the join token for an identity in a running cluster.
func join(ctx context.Context, c Config) (*identity, error) {
	token, err := auth.Parse(c.Token)
	if err != nil {
		return nil, err
	}
	if !token.Join() {
		return nil, spec.Errorf(spec.CodeInvalid, "the token is an access token; a server joins with a join token: dhow token create --role join-server")
	}
	tlsConfig, err := pki.JoinTLS(token.Fingerprint, c.Clock)
	if err != nil {
		return nil, err
	}
	key, csr, err := pki.NewRequest()
	if err != nil {
		return nil, err
	}
	transport := &http.Transport{TLSClientConfig: tlsConfig}
	defer transport.CloseIdleConnections()
	var errs []error
	for _, addr := range c.Join {
		rpc := dhowv1connect.NewAuthServiceClient(&http.Client{Transport: transport}, "https://"+addr)
		res, err := rpc.Join(ctx, &dhowv1.JoinRequest{Token: c.Token, Name: c.Name, Csr: csr, Role: dhowv1.Role_ROLE_JOIN_SERVER})
		if err != nil {
			errs = append(errs, spec.Errorf(joinCode(err), "join through %s: %w", addr, err))
			continue
		}
		return joined(c, key, res)
	}
	return nil, errors.Join(errs...)
}

func joinCode(err error) spec.Code {
	switch connect.CodeOf(err) {
	case connect.CodeUnauthenticated, connect.CodePermissionDenied:
		return spec.CodeDenied
	case connect.CodeInvalidArgument, connect.CodeAlreadyExists:
		return spec.CodeInvalid
	default:
		return spec.CodeUnavailable
	}
}

func joined(c Config, key []byte, res *dhowv1.JoinResponse) (*identity, error) {
	ca, err := pki.ParseCA(res.GetCa(), res.GetCaKey())
	if err != nil {
		return nil, err
	}
	if err := ca.Save(identityDir(c)); err != nil {
		return nil, err
	}
	creds, err := pki.Install(identityDir(c), c.Clock, res.GetCertificate(), res.GetCa(), key)
	if err != nil {
		return nil, err
	}
	id := &identity{ca: ca, creds: creds, gossipKey: res.GetGossipKey(), pending: true, servers: res.GetServers(), gossip: res.GetGossip()}
	if len(id.servers) == 0 {
		id.servers = c.Join
	}
	return id, id.save(c)
}

func (id *identity) save(c Config) error {
	data, err := json.MarshalIndent(facts{
		Cluster: id.ca.Cluster(), Name: c.Name, Raft: c.portAdvertised(c.Raft), GossipKey: id.gossipKey,
		Born: id.born, Pending: id.pending, Servers: id.servers, Gossip: id.gossip,
	}, "", "  ")
	if err != nil {
		return spec.Errorf(spec.CodeInternal, "encode server.json: %w", err)
	}
	return fsx.Explain(fsx.WriteFile(factsFile(c), data, 0o600))
}

// settled records that the birth or join is over.
func (id *identity) settled(c Config) error {
	id.born, id.pending = false, false
	return id.save(c)
}

// certHosts are the names that curl may use for this server.
func certHosts(c Config) []string {
	return []string{"localhost", "127.0.0.1", "::1", c.Advertise}
}
