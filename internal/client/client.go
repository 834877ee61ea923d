package client

import (
	"context"
	"crypto/tls"
	"net"
	"net/http"
	"time"

	"connectrpc.com/connect"

	"dhow.dev/dhow/internal/pki"
	"dhow.dev/dhow/proto/dhow/v1/dhowv1connect"
	"dhow.dev/dhow/proto/spec"
	"dhow.dev/dhow/proto/wire"
)

const (
	dialTimeout = 3 * time.Second
	// After this long without a frame the connection is tried with a ping, and
	// given up when that is not answered.
	pingAfter   = 3 * time.Second
	pingTimeout = 2 * time.Second
	// The host in URLs. Which server it is, is decided when a connection is
	// made.
	host = "dhow-server"
)

// Options say whom to call, and as whom.
type Options struct {
	// Servers are host:port of the servers' APIs, tried in order.
	Servers []string
	// First is the index of the server to try first, so that many machines
	// with the same list spread; it may be larger than the list.
	First uint
	// TLS is one of pki's configurations for clients.
	TLS *tls.Config
	// Token is presented when it is not empty.
	Token string
	// Pinned keeps to Servers, whatever others the servers tell of.
	Pinned bool
	// Dial defaults to TCP.
	Dial func(ctx context.Context, network, addr string) (net.Conn, error)
	// HTTP1 makes the client use HTTP/1.1. Streams in both directions do not
	// work then.
	HTTP1 bool
	// Peer is for servers: they handle CodeNotLeader themselves. Others see
	// it as CodeUnavailable, once no server had a leader.
	Peer bool
	// Connect's own: the protocol, compression.
	Connect []connect.ClientOption
}

// Client calls any of a cluster's servers. It is safe for concurrent use.
type Client struct {
	Objects   dhowv1connect.ObjectServiceClient
	Artifacts dhowv1connect.ArtifactServiceClient
	Auth      dhowv1connect.AuthServiceClient
	Logs      dhowv1connect.LogServiceClient
	Cluster   dhowv1connect.ClusterServiceClient
	Functions dhowv1connect.FunctionServiceClient
	Usage     dhowv1connect.UsageServiceClient
	Agents    dhowv1connect.AgentServiceClient
	Peers     dhowv1connect.PeerServiceClient

	servers   *servers
	transport *http.Transport
}

// New builds a client. It does not connect yet.
func New(o Options) (*Client, error) {
	if len(o.Servers) == 0 {
		return nil, spec.Errorf(spec.CodeInvalid, "no server's address is known")
	}
	for _, a := range o.Servers {
		if err := CheckAddress(a); err != nil {
			return nil, err
		}
	}
	if o.TLS == nil {
		return nil, spec.Errorf(spec.CodeInvalid, "no TLS configuration: dhow has no plaintext port")
	}
	if o.Dial == nil {
		d := &net.Dialer{Timeout: dialTimeout, KeepAlive: 15 * time.Second}
		o.Dial = d.DialContext
	}
	conf := o.TLS.Clone()
	conf.NextProtos = []string{"h2"}
	protocols := new(http.Protocols)
	protocols.SetHTTP2(true)
	if o.HTTP1 {
		conf.NextProtos = []string{"http/1.1"}
		protocols = new(http.Protocols)
		protocols.SetHTTP1(true)
	}
	s := &servers{list: o.Servers, at: int(o.First % uint(len(o.Servers))), dial: o.Dial, tls: conf}
	t := &http.Transport{
		DialTLSContext: s.connect,
		Protocols:      protocols,
		// One call after another shall find its connection open.
		IdleConnTimeout:     5 * time.Minute,
		MaxIdleConnsPerHost: 256,
		DisableCompression:  true,
		HTTP2:               &http.HTTP2Config{SendPingTimeout: pingAfter, PingTimeout: pingTimeout},
	}
	c := &Client{servers: s, transport: t}
	h := &http.Client{Transport: s.route(t)}
	if o.Token != "" && !o.Pinned {
		h.Transport = learner{h.Transport, s}
	}
	opts := append([]connect.ClientOption{
		connect.WithReadMaxBytes(wire.MaxMessage),
		connect.WithSendMaxBytes(wire.MaxMessage),
		connect.WithInterceptors(leaderless(!o.Peer), wire.Client(), retry{s}, bearer(o.Token)),
		// Addresses of a LAN do not pay for compression.
		connect.WithAcceptCompression("gzip", nil, nil),
	}, o.Connect...)
	const base = "https://" + host
	c.Objects = dhowv1connect.NewObjectServiceClient(h, base, opts...)
	c.Artifacts = dhowv1connect.NewArtifactServiceClient(h, base, opts...)
	c.Auth = dhowv1connect.NewAuthServiceClient(h, base, opts...)
	c.Logs = dhowv1connect.NewLogServiceClient(h, base, opts...)
	c.Cluster = dhowv1connect.NewClusterServiceClient(h, base, opts...)
	c.Functions = dhowv1connect.NewFunctionServiceClient(h, base, opts...)
	c.Usage = dhowv1connect.NewUsageServiceClient(h, base, opts...)
	c.Agents = dhowv1connect.NewAgentServiceClient(h, base, opts...)
	c.Peers = dhowv1connect.NewPeerServiceClient(h, base, opts...)
	return c, nil
}

// FromContext builds the client of a context.
func FromContext(c Context, now func() time.Time) (*Client, error) {
	der, err := pki.DecodeCert([]byte(c.CA))
	if err != nil {
		return nil, spec.Errorf(spec.CodeInvalid, "context %q: ca: %w", c.Name, err)
	}
	conf, err := pki.PinnedTLS(der, now)
	if err != nil {
		return nil, spec.Errorf(spec.CodeInvalid, "context %q: ca: %w", c.Name, err)
	}
	out, err := New(Options{Servers: c.Servers, TLS: conf, Token: c.Token, Pinned: c.Pinned})
	if err != nil {
		return nil, spec.Errorf(spec.CodeInvalid, "context %q: %w", c.Name, err)
	}
	return out, nil
}

// CheckAddress tells whether a is host:port.
func CheckAddress(a string) error {
	h, port, err := net.SplitHostPort(a)
	if err != nil {
		return spec.Errorf(spec.CodeInvalid, "address %q: want host:port: %w", a, err)
	}
	if _, err := net.LookupPort("tcp", port); err != nil || h == "" {
		return spec.Errorf(spec.CodeInvalid, "address %q: want host:port", a)
	}
	return nil
}

// SetServers replaces the list of servers, as a Welcome tells it. Connections
// that are open stay. An empty list changes nothing.
func (c *Client) SetServers(list []string) { c.servers.set(list) }

// Server is the address that was last connected to, empty before that.
func (c *Client) Server() string { return c.servers.last() }

// Next has later calls go to another server over a new connection.
func (c *Client) Next() { c.servers.next(c.servers.epoch()) }

// Reconnect has later calls use new connections, which show the certificate
// of the moment. Streams that are open go on.
func (c *Client) Reconnect() { c.servers.renew() }

// Close closes connections that are not in use.
func (c *Client) Close() { c.transport.CloseIdleConnections() }
