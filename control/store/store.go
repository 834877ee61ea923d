package store

import (
	"context"
	"log/slog"
	"sync"
	"sync/atomic"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"

	dhowv1 "dhow.dev/dhow/proto/dhow/v1"
	"dhow.dev/dhow/proto/spec"
)

// Options configure a Store. The zero value is good.
type Options struct {
	Logger *slog.Logger
	// ClusterID is written into a new data directory; an old one must have the
	// same. Empty takes what is there.
	ClusterID string
	// FS is for tests that inject faults.
	FS vfs.FS
	// CacheBytes bounds the block cache of both databases, less their memtables.
	// Default 32 MiB, taken as it fills.
	CacheBytes int64
	// MemTableBytes is the size of one memtable. Default 4 MiB.
	MemTableBytes uint64
	// FeedEvents and FeedBytes bound the change feed. Default 65,536 and 16 MiB.
	FeedEvents int
	FeedBytes  int
	// MinFreeBytes of disk must be there for a proposal to be taken; a quarter
	// of it for an entry of the log. Default 32 MiB.
	MinFreeBytes uint64
}

func (o Options) withDefaults() Options {
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.FS == nil {
		o.FS = vfs.Default
	}
	if o.CacheBytes == 0 {
		o.CacheBytes = 32 << 20
	}
	if o.MemTableBytes == 0 {
		o.MemTableBytes = 4 << 20
	}
	if o.FeedEvents == 0 {
		o.FeedEvents = 1 << 16
	}
	if o.FeedBytes == 0 {
		o.FeedBytes = 16 << 20
	}
	if o.MinFreeBytes == 0 {
		o.MinFreeBytes = 32 << 20
	}
	return o
}

// Proposer gets a proposal agreed upon and applied.
type Proposer interface {
	Propose(ctx context.Context, p *dhowv1.Proposal) (*dhowv1.ProposalResult, error)
}

// Store is the state of one server.
type Store struct {
	dir       string
	clusterID string
	o         Options
	cache     *pebble.Cache
	fault     *fault
	space     *space
	log       *Log
	feed      *feed
	proposer  atomic.Pointer[Proposer]

	// applying is held by the one that changes the state: Apply, Checkpoint
	// and Restore.
	applying sync.Mutex
	// mu makes the state's snapshot and its revision one: it is held while a
	// batch is committed and while a view is taken.
	mu    sync.RWMutex
	state *state
	index uint64
	term  uint64
}

// Open opens or makes the data directory. It refuses the directory of another
// cluster, and that of a newer version.
func Open(dir string, o Options) (*Store, error) {
	o = o.withDefaults()
	fs := o.FS
	if err := makeDir(fs, dir); err != nil {
		return nil, openError(dir, err)
	}
	id, err := checkFormat(fs, dir, o.ClusterID)
	if err != nil {
		return nil, err
	}
	s := &Store{
		dir: dir, clusterID: id, o: o,
		cache: pebble.NewCache(o.CacheBytes),
		fault: newFault(o.Logger),
		space: &space{fs: fs, dir: dir, min: o.MinFreeBytes},
	}
	if s.log, err = openLog(s); err != nil {
		s.cache.Unref()
		return nil, openError(fs.PathJoin(dir, "log"), err)
	}
	if err := s.openState(); err != nil {
		_ = s.log.close()
		s.cache.Unref()
		return nil, openError(dir, err)
	}
	s.feed = newFeed(o.FeedEvents, o.FeedBytes, s.index)
	return s, nil
}

// Close ends all use of the directory. Views must be closed before. What the
// state has not yet on disk is flushed, so that the next Open need not apply
// it again.
func (s *Store) Close() error {
	s.feed.close()
	if err := s.fault.Err(); err != nil {
		// Pebble cannot be closed after a failure, and calls may hang in it; the
		// process has to end.
		return err
	}
	s.applying.Lock()
	defer s.applying.Unlock()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.state == nil {
		return nil
	}
	st := s.state
	s.state = nil
	err := s.fault.flush(st.db)
	if s.fault.Err() != nil {
		return err
	}
	if e := st.release(); err == nil {
		err = e
	}
	if e := s.log.close(); err == nil {
		err = e
	}
	s.cache.Unref()
	return err
}

// ClusterID is the cluster the directory belongs to; empty when none was told.
func (s *Store) ClusterID() string { return s.clusterID }

// Failed is closed when the disk failed in a way that only a restart can
// heal; Err then says what happened. Nothing acknowledged is lost.
func (s *Store) Failed() <-chan struct{} { return s.fault.failed }

// Err says why the store has failed, nil while it works.
func (s *Store) Err() error { return s.fault.Err() }

// SetProposer wires the way to consensus.
func (s *Store) SetProposer(p Proposer) { s.proposer.Store(&p) }

// Propose gets p agreed upon and returns once this server has applied it. A
// refusal is a *spec.Error.
func (s *Store) Propose(ctx context.Context, p *dhowv1.Proposal) (*dhowv1.ProposalResult, error) {
	prop := s.proposer.Load()
	if prop == nil {
		return nil, spec.Errorf(spec.CodeUnavailable, "the server is starting; try again")
	}
	if err := s.fault.Err(); err != nil {
		return nil, err
	}
	if err := s.space.check(1); err != nil {
		return nil, err
	}
	r, err := (*prop).Propose(ctx, p)
	if err != nil {
		return nil, err
	}
	if r.GetCode() != "" {
		return nil, &spec.Error{Code: spec.Code(r.GetCode()), Message: r.GetMessage()}
	}
	return r, s.WaitRevision(ctx, r.GetRevision())
}

// Applied is the index and term of the last entry applied.
func (s *Store) Applied() (index, term uint64) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.index, s.term
}

// Revision is the index of the last entry applied.
func (s *Store) Revision() uint64 { return s.feed.revision() }

// WaitRevision waits until the revision is applied here.
func (s *Store) WaitRevision(ctx context.Context, rev uint64) error { return s.feed.wait(ctx, rev) }

// Log is the Raft log and stable store.
func (s *Store) Log() *Log { return s.log }
