package peer

import (
	"crypto/tls"
	"maps"
	"slices"
	"sync"

	"dhow.dev/dhow/internal/client"
	"dhow.dev/dhow/internal/pki"
	"dhow.dev/dhow/proto/spec"
)

// Peers calls other servers with this one's certificate. It is the store's
// Proposer, the API's Reads and Peers, and the registry's Peers.
type Peers struct {
	c     Config
	reads reads

	mu      sync.Mutex
	clients map[string]*peer
}

// peer is the client of one server at one address.
type peer struct {
	addr   string
	client *client.Client
}

// New makes Peers.
func New(c Config) *Peers {
	p := &Peers{c: c.withDefaults(), clients: map[string]*peer{}}
	p.reads.ask = p.readIndex
	return p
}

// Servers names the other servers that are known, sorted.
func (p *Peers) Servers() []string {
	all := p.c.Addresses()
	delete(all, p.c.Server)
	return slices.Sorted(maps.Keys(all))
}

// client is the client of a server, made when it is first needed or when the
// server has moved.
func (p *Peers) client(server string) (*client.Client, error) {
	addr := p.c.Addresses()[server]
	if addr == "" {
		return nil, spec.Errorf(spec.CodeUnavailable, "server %s is not known to gossip yet", server)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if have := p.clients[server]; have != nil {
		if have.addr == addr {
			return have.client, nil
		}
		have.client.Close()
		delete(p.clients, server)
	}
	made, err := client.New(client.Options{Servers: []string{addr}, TLS: only(p.c.TLS, server), Peer: true})
	if err != nil {
		return nil, err
	}
	p.clients[server] = &peer{addr, made}
	return made, nil
}

// only accepts the one server, so that an address that changed hands is found
// out.
func only(conf *tls.Config, server string) *tls.Config {
	conf = conf.Clone()
	verify := conf.VerifyConnection
	conf.VerifyConnection = func(s tls.ConnectionState) error {
		if err := verify(s); err != nil {
			return err
		}
		id, err := pki.IdentityOf(s.PeerCertificates[0])
		if err != nil {
			return err
		}
		if id.Kind != pki.Server || id.Name != server {
			return spec.Errorf(spec.CodeUnavailable, "the address of server %s now belongs to %s", server, id)
		}
		return nil
	}
	return conf
}

// Reconnect has later calls use new connections, with the certificate of the
// moment: on an old one it ends some day, and calls are refused.
func (p *Peers) Reconnect() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, c := range p.clients {
		c.client.Reconnect()
	}
}

// Close closes connections.
func (p *Peers) Close() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, c := range p.clients {
		c.client.Close()
	}
}
