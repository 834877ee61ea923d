package node

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"dhow.dev/dhow/internal/client"
	"dhow.dev/dhow/internal/fsx"
	"dhow.dev/dhow/internal/pki"
	dhowv1 "dhow.dev/dhow/proto/dhow/v1"
	"dhow.dev/dhow/proto/spec"
)

const joinRetry = time.Second

// known is what a node keeps of its cluster beside its certificate.
type known struct {
	Cluster   string   `json:"cluster"`
	Servers   []string `json:"servers"` // API addresses
	Gossip    []string `json:"gossip"`
	GossipKey []byte   `json:"gossipKey"`

	path string
	mu   sync.Mutex
}

func loadKnown(dir string) (*known, error) {
	k := &known{path: filepath.Join(dir, "cluster.json")}
	b, err := os.ReadFile(k.path)
	if err != nil {
		return nil, fsx.Explain(err)
	}
	if err := json.Unmarshal(b, k); err != nil {
		return nil, spec.Errorf(spec.CodeInvalid, "%s: restore it, or empty the directory and join anew: %w", k.path, err)
	}
	return k, nil
}

func (k *known) save() error {
	b, err := json.MarshalIndent(k, "", "  ")
	if err != nil {
		return err
	}
	return fsx.WriteFile(k.path, append(b, '\n'), 0o600)
}

// learn takes the servers' addresses, and writes them when they are news.
func (k *known) learn(servers []string) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	sorted := slices.Sorted(slices.Values(servers))
	if slices.Equal(sorted, k.Servers) {
		return nil
	}
	k.Servers = sorted
	return k.save()
}

// fingerprintOf finds the CA's fingerprint in a join token.
func fingerprintOf(token string) (string, error) {
	parts := strings.Split(strings.TrimSpace(token), "_")
	if len(parts) != 4 || parts[0] != "dhowj" || len(parts[3]) != 64 {
		return "", spec.Errorf(spec.CodeInvalid, "this is no join token, which looks like dhowj_NAME_SECRET_FINGERPRINT: make one with dhow token create --role join-node")
	}
	return parts[3], nil
}

// identify loads the node's identity, or joins the cluster to get one.
func (n *Node) identify(ctx context.Context) error {
	c := &n.config
	creds, err := pki.Load(c.Dir, c.Now)
	if spec.CodeOf(err) == spec.CodeNotFound {
		return n.join(ctx)
	}
	if err != nil {
		return err
	}
	k, err := loadKnown(c.Dir)
	if spec.CodeOf(err) == spec.CodeNotFound && c.Token != "" {
		return n.join(ctx) // a crash came between the two files
	}
	if err != nil {
		return err
	}
	id := creds.Identity()
	if id.Kind != pki.Node || id.Name != c.Name {
		return spec.Errorf(spec.CodeInvalid, "directory %s belongs to %s, not to node/%s: choose another directory or name", c.Dir, id, c.Name)
	}
	if c.Token != "" {
		want, err := fingerprintOf(c.Token)
		if err != nil {
			return err
		}
		if got := pki.Fingerprint(creds.CA()); got != want {
			return spec.Errorf(spec.CodeInvalid, "directory %s belongs to cluster %s, and the join token to another one: choose another directory", c.Dir, id.Cluster)
		}
	}
	n.creds, n.known = creds, k
	return nil
}

// join trades the token for a certificate. While no server can be reached it
// goes on trying: both may just have been switched on.
func (n *Node) join(ctx context.Context) error {
	c := &n.config
	if c.Token == "" || len(c.Join) == 0 {
		return spec.Errorf(spec.CodeInvalid, "directory %s has no identity yet: give a server's address and a join token (--join HOST:7400 --token TOKEN)", c.Dir)
	}
	fingerprint, err := fingerprintOf(c.Token)
	if err != nil {
		return err
	}
	conf, err := pki.JoinTLS(fingerprint, c.Now)
	if err != nil {
		return err
	}
	cl, err := client.New(client.Options{Servers: c.Join, TLS: conf, Dial: c.Dialer.DialContext})
	if err != nil {
		return err
	}
	defer cl.Close()
	key, csr, err := pki.NewRequest()
	if err != nil {
		return err
	}
	req := &dhowv1.JoinRequest{Token: strings.TrimSpace(c.Token), Name: c.Name, Csr: csr, Info: n.info(c.Join), Role: dhowv1.Role_ROLE_JOIN_NODE}
	var res *dhowv1.JoinResponse
	for said := false; ; said = true {
		res, err = cl.Auth.Join(ctx, req)
		if err == nil {
			break
		}
		if spec.CodeOf(err) != spec.CodeUnavailable || ctx.Err() != nil {
			return err
		}
		if !said {
			c.Logger.Warn("cannot join yet; trying again", "error", err)
		}
		timer := time.NewTimer(joinRetry)
		select {
		case <-ctx.Done():
			timer.Stop()
			return errors.Join(ctx.Err(), err)
		case <-timer.C:
		}
	}
	k := &known{
		Cluster: res.GetClusterId(), Servers: res.GetServers(), Gossip: res.GetGossip(), GossipKey: res.GetGossipKey(),
		path: filepath.Join(c.Dir, "cluster.json"),
	}
	if len(k.Servers) == 0 {
		k.Servers = c.Join
	}
	slices.Sort(k.Servers)
	// The certificate comes last: with it the node has joined.
	if err := k.save(); err != nil {
		return err
	}
	if n.creds, err = pki.Install(c.Dir, c.Now, res.GetCertificate(), res.GetCa(), key); err != nil {
		return err
	}
	n.known = k
	c.Logger.Info("joined", "cluster", k.Cluster)
	return nil
}
