package api

import (
	"context"
	"io"
	"log/slog"
	"time"

	"dhow.dev/dhow/control/registry"
	"dhow.dev/dhow/control/store"
	"dhow.dev/dhow/internal/pki"
	dhowv1 "dhow.dev/dhow/proto/dhow/v1"
	"dhow.dev/dhow/proto/dhow/v1/dhowv1connect"
)

// Store is the replicated state; *store.Store is one.
type Store interface {
	Propose(ctx context.Context, p *dhowv1.Proposal) (*dhowv1.ProposalResult, error)
	Revision() uint64
	WaitRevision(ctx context.Context, rev uint64) error
	View() *store.View
	Watch(from uint64, sels ...*dhowv1.Selector) (*store.Watcher, error)
	Hash() (revision uint64, hash []byte, err error)
}

// Reads makes reads linearizable; *peer.Forwarder is one.
type Reads interface {
	// ReadIndex is an index such that a state of at least it has every write
	// acknowledged before the call.
	ReadIndex(ctx context.Context) (uint64, error)
}

// Blobs are the artifacts on this server's disk; *registry.Store is one.
type Blobs interface {
	Create(digest string, size int64) (*registry.Writer, error)
	Reader(digest string, offset int64) (io.ReadCloser, registry.Blob, error)
	Has(digest string) bool
}

// Copies are the artifacts on all servers' disks; *registry.Keeper is one.
type Copies interface {
	// Replicate returns when a majority of servers has the blob on disk.
	Replicate(ctx context.Context, digest string) error
}

// Sessions are the nodes' sessions with this server; *session.Hub is one.
type Sessions interface {
	// Logs asks a node for lines and gives them to send, until they end, send
	// fails or the context ends. CodeUnavailable when the node has no session
	// here.
	Logs(ctx context.Context, node string, q *dhowv1.LogQuery, send func([]*dhowv1.LogLine) error) error
	// Call has a node run a function. An error that is spec.Untouched says that
	// it did not begin.
	Call(ctx context.Context, node string, c *dhowv1.FunctionCall) (*dhowv1.FunctionResult, error)
	Functions(ctx context.Context, node string, q *dhowv1.FunctionsQuery) (*dhowv1.FunctionList, error)
	Usage(ctx context.Context, node string, q *dhowv1.UsageQuery) (*dhowv1.UsageList, error)
}

// Peers calls other servers with this one's certificate; *peer.Peers is one.
type Peers interface {
	// FetchAny reads a blob from any other server that has it.
	FetchAny(ctx context.Context, digest string, offset uint64) (body io.ReadCloser, size uint64, err error)
	// Logs is LogService.Logs on that server.
	Logs(ctx context.Context, server string, q *dhowv1.LogQuery, send func([]*dhowv1.LogLine) error) error
	// Call, Functions and Usage are the services' methods on that server.
	Call(ctx context.Context, server string, c *dhowv1.FunctionCall) (*dhowv1.CallResponse, error)
	Functions(ctx context.Context, server string, q *dhowv1.FunctionsQuery) (*dhowv1.FunctionsResponse, error)
	Usage(ctx context.Context, server string, q *dhowv1.UsageRequest) (*dhowv1.UsageResponse, error)
	// RemovePeer has the leader remove a server.
	RemovePeer(ctx context.Context, server string) error
}

// Cluster tells about the servers.
type Cluster interface {
	// Leader is the leader's name, empty when there is none.
	Leader() string
	Servers() []*dhowv1.Server
	// APIs are all servers' API addresses, empty while they are not all known;
	// Gossip are addresses for machines that join.
	APIs() []string
	Gossip() []string
	GossipKey() []byte
}

// Config is what an API needs. All fields are needed but those that say so.
type Config struct {
	// Server is this server's name.
	Server  string
	Version string
	Store   Store
	Reads   Reads
	CA      *pki.CA
	Blobs   Blobs
	Copies  Copies
	// Sessions is also the AgentService.
	Sessions Sessions
	Agents   dhowv1connect.AgentServiceHandler
	Peers    Peers
	// PeerService answers the other servers.
	PeerService dhowv1connect.PeerServiceHandler
	Cluster     Cluster
	Now         func() time.Time
	Logger      *slog.Logger
	// NewUID makes uids. Default: 128 random bits.
	NewUID func() string
	// WriteTimeout is how long a client may leave a stream's message unread
	// before the stream is ended. Default 30 s.
	WriteTimeout time.Duration
	// ReadTimeout is how long a call's request, or the next message of an
	// upload, may take to arrive. Default 30 s.
	ReadTimeout time.Duration
	// MaxBlob bounds an artifact's size. Default: the registry's.
	MaxBlob int64
}

func (c Config) withDefaults() Config {
	if c.NewUID == nil {
		c.NewUID = newUID
	}
	if c.WriteTimeout == 0 {
		c.WriteTimeout = 30 * time.Second
	}
	if c.ReadTimeout == 0 {
		c.ReadTimeout = 30 * time.Second
	}
	if c.MaxBlob == 0 {
		c.MaxBlob = registry.DefaultMaxBlob
	}
	return c
}
