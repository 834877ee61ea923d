// Package replica agrees with the other servers on one log: Raft, its
// transport, snapshots and membership. It is the only user of
// hashicorp/raft. It knows the state only as an FSM, and the log only as
// numbered bytes.
package replica

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"time"

	dhowv1 "dhow.dev/dhow/proto/dhow/v1"
)

// Log keeps entries and a few stable values, synced.
type Log interface {
	First() (uint64, error)
	Last() (uint64, error)
	Get(index uint64) ([]byte, error)
	Append(first uint64, entries [][]byte) error
	DeleteRange(lo, hi uint64) error
	StableSet(key, value []byte) error
	StableGet(key []byte) ([]byte, error)
}

// FSM is the state that the log's entries make.
type FSM interface {
	// Apply is deterministic, and skips entries that it has.
	Apply(index, term uint64, data []byte) []*dhowv1.ProposalResult
	Applied() (index, term uint64)
	// Checkpoint writes the state as a directory; Restore replaces the state
	// by it.
	Checkpoint(dir string) error
	Restore(dir string) error
}

// Config of a Replica.
type Config struct {
	// Name of this server, forever.
	Name string
	// Address other servers reach it at.
	Address string
	// Bootstrap makes a new cluster of this server alone, unless there is one.
	Bootstrap bool
	// Dir is where snapshots are kept; it must be on the state's file system.
	Dir string
	Log Log
	FSM FSM
	// Listener takes the other servers' connections, Dial makes ours.
	Listener net.Listener
	Dial     func(ctx context.Context, addr string) (net.Conn, error)
	Logger   *slog.Logger
	// Clock defaults to time.Now.
	Clock func() time.Time
	// HeartbeatTimeout is how long a follower waits for its leader.
	// Default 300 ms.
	HeartbeatTimeout time.Duration
	// SnapshotEntries and SnapshotBytes of log make a snapshot. Default
	// 8,192 and 32 MiB.
	SnapshotEntries uint64
	SnapshotBytes   uint64
}

// Server is a member of the cluster.
type Server struct {
	Name    string
	Address string
	Voter   bool
	Leader  bool
	// LastContact is when the leader last heard from it; zero when unknown
	// (only the leader knows).
	LastContact time.Time
	// Index is the last log index it is known to hold (only the leader knows).
	Index uint64
}

// Replica is this server's part in the agreement.
type Replica struct{}

var errSkeleton = errors.New("replica: being built")

// Open starts taking part.
func Open(c Config) (*Replica, error) { return nil, errSkeleton }

// Propose gets p agreed upon and applied here. CodeNotLeader when another
// server leads: nothing was written. CodeUnavailable: it may have been.
func (r *Replica) Propose(ctx context.Context, p *dhowv1.Proposal) (*dhowv1.ProposalResult, error) {
	return nil, errSkeleton
}

// ReadIndex confirms leadership; a state of at least the index it returns
// has every write acknowledged before the call. CodeNotLeader else.
func (r *Replica) ReadIndex(ctx context.Context) (uint64, error) { return 0, errSkeleton }

// Leader is the leader's name and address, empty when there is none.
func (r *Replica) Leader() (name, addr string) { return "", "" }

// IsLeader tells whether this server leads and has applied all that earlier
// leaders wrote.
func (r *Replica) IsLeader() bool { return false }

// Term is the current Raft term.
func (r *Replica) Term() uint64 { return 0 }

// Lead waits until this server leads and has applied all that earlier
// leaders wrote. The context it returns ends with the leadership.
func (r *Replica) Lead(ctx context.Context) (leading context.Context, term uint64, err error) {
	return nil, 0, errSkeleton
}

// LeaderChanged returns a channel that is closed at the next change of leader.
func (r *Replica) LeaderChanged() <-chan struct{} { return nil }

// Servers are the members.
func (r *Replica) Servers() []Server { return nil }

// AddServer makes a server a voting member, once it has caught up. Leader only.
func (r *Replica) AddServer(ctx context.Context, name, addr string) error { return errSkeleton }

// RemoveServer removes a member. Leader only.
func (r *Replica) RemoveServer(ctx context.Context, name string) error { return errSkeleton }

// Barrier waits until all that was written before is applied here. Leader only.
func (r *Replica) Barrier(ctx context.Context) error { return errSkeleton }

// Shutdown hands leadership over, if this server leads, and stops.
func (r *Replica) Shutdown(ctx context.Context) error { return nil }
