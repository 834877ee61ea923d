package peer

import (
	"context"
	"crypto/tls"
	"log/slog"
	"time"

	"dhow.dev/dhow/control/auth"
	dhowv1 "dhow.dev/dhow/proto/dhow/v1"
)

// Replica is this server's part in Raft; *replica.Replica is one.
type Replica interface {
	// Propose is CodeNotLeader when nothing was written.
	Propose(ctx context.Context, p *dhowv1.Proposal) (*dhowv1.ProposalResult, error)
	ReadIndex(ctx context.Context) (uint64, error)
	Leader() (name, addr string)
	// LeaderChanged is closed at the next change of leader.
	LeaderChanged() <-chan struct{}
	AddServer(ctx context.Context, name, addr string) error
	RemoveServer(ctx context.Context, name string) error
}

// Config of Peers, the Forwarder and the Service.
type Config struct {
	// Server is this server's name.
	Server  string
	Replica Replica
	// Addresses are the API addresses of all servers that are known, by name.
	Addresses func() map[string]string
	// TLS presents this server's certificate; pki's ClientTLS.
	TLS *tls.Config
	// Caller is who makes a call.
	Caller func(ctx context.Context) auth.Identity
	Logger *slog.Logger
	// Patience is how long calls wait for a leader. Default 10 s.
	Patience time.Duration
}

func (c Config) withDefaults() Config {
	if c.Patience == 0 {
		c.Patience = 10 * time.Second
	}
	return c
}
