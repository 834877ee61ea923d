package session

import (
	"context"
	"log/slog"
	"time"

	"dhow.dev/dhow/control/auth"
	"dhow.dev/dhow/control/store"
	dhowv1 "dhow.dev/dhow/proto/dhow/v1"
)

// Store is the replicated state; *store.Store is one.
type Store interface {
	Propose(ctx context.Context, p *dhowv1.Proposal) (*dhowv1.ProposalResult, error)
	Revision() uint64
	WaitRevision(ctx context.Context, rev uint64) error
	View() *store.View
	Watch(from uint64, sels ...*dhowv1.Selector) (*store.Watcher, error)
}

// Config of a Hub. All fields are needed but those that have a default.
type Config struct {
	// Server is this server's name.
	Server string
	Store  Store
	// Caller is who makes a call.
	Caller func(ctx context.Context) auth.Identity
	// Servers are all servers' API addresses, for Welcome.
	Servers func() []string
	Now     func() time.Time
	Logger  *slog.Logger
	// NewID makes ids of sessions and questions. Default: 128 random bits.
	NewID func() string
	// Heartbeat is how often a node with few others around sends one; many
	// nodes send them less often, so that a server gets no more than
	// 1,000 a second. Default 1 s.
	Heartbeat time.Duration
	// Silence is how many heartbeats may be missed. Default 3.
	Silence int
	// WriteTimeout is how long a node may leave a message unread. Default 10 s.
	WriteTimeout time.Duration
	// AnswerTimeout is how long a node may take to begin an answer. Default 10 s.
	AnswerTimeout time.Duration
}
