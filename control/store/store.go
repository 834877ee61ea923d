// Package store is the replicated state: typed tables in Pebble, a
// deterministic Apply, immutable snapshot reads and a change feed by revision.
// It is the only user of Pebble. It reads no clock, draws no random numbers
// and knows nothing of consensus: a Proposer is given to it.
package store

import (
	"context"
	"errors"
	"log/slog"

	"github.com/cockroachdb/pebble/v2/vfs"

	dhowv1 "dhow.dev/dhow/proto/dhow/v1"
)

// Options configure a Store. The zero value is good.
type Options struct {
	Logger *slog.Logger
	// ClusterID is written into a new data directory; an old one must have the
	// same. Empty takes what is there.
	ClusterID string
	// FS is for tests that inject faults.
	FS vfs.FS
	// CacheBytes bounds the block cache of both databases. Default 8 MiB.
	CacheBytes int64
	// MemTableBytes is the size of one memtable. Default 4 MiB.
	MemTableBytes uint64
	// FeedEvents and FeedBytes bound the change feed. Default 65,536 and 16 MiB.
	FeedEvents int
	FeedBytes  int
	// MinFreeBytes of disk must be there for a proposal to be taken.
	// Default 32 MiB.
	MinFreeBytes uint64
}

// Proposer gets a proposal agreed upon and applied.
type Proposer interface {
	Propose(ctx context.Context, p *dhowv1.Proposal) (*dhowv1.ProposalResult, error)
}

// Store is the state of one server.
type Store struct{}

var errSkeleton = errors.New("store: being built")

// Open opens or makes the data directory.
func Open(dir string, o Options) (*Store, error) { return nil, errSkeleton }

// Close ends all use of the directory.
func (s *Store) Close() error { return nil }

// ClusterID is the cluster the directory belongs to.
func (s *Store) ClusterID() string { return "" }

// Failed is closed when the disk failed in a way that only a restart can
// heal; Err then says what happened.
func (s *Store) Failed() <-chan struct{} { return nil }

// Err says why the store has failed, nil while it works.
func (s *Store) Err() error { return nil }

// SetProposer wires the way to consensus.
func (s *Store) SetProposer(p Proposer) {}

// Propose gets p agreed upon and returns once this server has applied it. A
// refusal is a *spec.Error.
func (s *Store) Propose(ctx context.Context, p *dhowv1.Proposal) (*dhowv1.ProposalResult, error) {
	return nil, errSkeleton
}

// Apply applies one log entry, a marshalled Command. It is deterministic.
func (s *Store) Apply(index, term uint64, data []byte) []*dhowv1.ProposalResult { return nil }

// Applied is the index and term of the last entry applied.
func (s *Store) Applied() (index, term uint64) { return 0, 0 }

// Revision is the index of the last entry applied.
func (s *Store) Revision() uint64 { return 0 }

// WaitRevision waits until the revision is applied here.
func (s *Store) WaitRevision(ctx context.Context, rev uint64) error { return errSkeleton }

// Log is the Raft log and stable store.
func (s *Store) Log() *Log { return nil }

// Checkpoint writes the state as a directory of its own.
func (s *Store) Checkpoint(dir string) error { return errSkeleton }

// Restore replaces the state by that of a checkpoint directory.
func (s *Store) Restore(dir string) error { return errSkeleton }

// Hash hashes the state at the applied revision.
func (s *Store) Hash() (revision uint64, hash []byte, err error) { return 0, nil, errSkeleton }

// View is an immutable snapshot. It must be closed.
type View struct{}

// View takes a snapshot of the state.
func (s *Store) View() *View { return &View{} }

// Close releases the snapshot.
func (v *View) Close() {}

// Revision of the snapshot.
func (v *View) Revision() uint64 { return 0 }

// Get finds one object; CodeNotFound when it is not there.
func (v *View) Get(ref *dhowv1.Ref) (*dhowv1.Object, error) { return nil, errSkeleton }

// List lists what the selector takes, in key order, after the key of an
// earlier answer; next is empty when there is no more.
func (v *View) List(sel *dhowv1.Selector, after string, limit int) (objs []*dhowv1.Object, next string, err error) {
	return nil, "", errSkeleton
}

// Watcher follows the change feed.
type Watcher struct{}

// Watch follows changes after the revision that any of the selectors takes;
// no selector takes all. CodeTooOld when they are no longer kept.
func (s *Store) Watch(from uint64, sels ...*dhowv1.Selector) (*Watcher, error) {
	return nil, errSkeleton
}

// Next waits for something newer and returns all there is. All changes up to
// revision have then been returned. CodeTooOld when the watcher was too slow.
func (w *Watcher) Next(ctx context.Context) (events []*dhowv1.WatchEvent, revision uint64, err error) {
	return nil, 0, errSkeleton
}

// Close ends the watch; Next returns an error.
func (w *Watcher) Close() {}

// Log keeps Raft's entries and its few stable values, synced.
type Log struct{}

// First is the lowest index, 0 when empty.
func (l *Log) First() (uint64, error) { return 0, errSkeleton }

// Last is the highest index, 0 when empty.
func (l *Log) Last() (uint64, error) { return 0, errSkeleton }

// Get returns the entry, nil when there is none.
func (l *Log) Get(index uint64) ([]byte, error) { return nil, errSkeleton }

// Append writes entries from index first on, synced.
func (l *Log) Append(first uint64, entries [][]byte) error { return errSkeleton }

// DeleteRange removes entries lo to hi, both included.
func (l *Log) DeleteRange(lo, hi uint64) error { return errSkeleton }

// StableSet writes a stable value, synced.
func (l *Log) StableSet(key, value []byte) error { return errSkeleton }

// StableGet reads a stable value, nil when there is none.
func (l *Log) StableGet(key []byte) ([]byte, error) { return nil, errSkeleton }
