// Package loop runs the planner on the leader: watch, plan, propose, repeat.
// In the room: Core, one pass as a pure function of what it was given, and
// Loop, the goroutine around it. It decides nothing itself.
package loop

import (
	"context"
	"log/slog"
	"time"

	"dhow.dev/dhow/control/plan/liveness"
	"dhow.dev/dhow/control/store"
	dhowv1 "dhow.dev/dhow/proto/dhow/v1"
)

// Store is what the loop needs of the state; *store.Store is one.
type Store interface {
	View() *store.View
	Watch(from uint64, sels ...*dhowv1.Selector) (*store.Watcher, error)
	Propose(ctx context.Context, p *dhowv1.Proposal) (*dhowv1.ProposalResult, error)
}

// Facts is where gossip's knowledge comes from.
type Facts interface {
	// Facts returns what is known now.
	Facts() liveness.Facts
	// Changed gets a value soon after the facts changed.
	Changed() <-chan struct{}
}

// Config of a Loop.
type Config struct {
	Store  Store
	Facts  Facts            // nil: no gossip; sessions alone tell
	Clock  func() time.Time // nil: time.Now
	Logger *slog.Logger
}

// Loop plans while this server leads.
type Loop struct{ config Config }

// New makes a Loop.
func New(c Config) *Loop { return &Loop{config: c} }

// Run plans as the leader of the term until the context ends or a proposal
// fails in a way that only a new start can heal. Call it once all entries of
// earlier terms are applied here.
func (l *Loop) Run(ctx context.Context, term uint64) error { <-ctx.Done(); return nil }
