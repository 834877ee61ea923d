package replica

import (
	"errors"
	"fmt"
	"io"
	"sync/atomic"

	"github.com/hashicorp/raft"

	dhowv1 "dhow.dev/dhow/proto/dhow/v1"
)

// fsm adapts FSM to Raft.
type fsm struct {
	r    *Replica
	seen atomic.Uint64
}

// applied is what a Raft future answers.
type applied struct {
	index, term uint64
	results     []*dhowv1.ProposalResult
}

// Apply applies an entry.
func (f *fsm) Apply(l *raft.Log) any {
	res := f.r.c.FSM.Apply(l.Index, l.Term, l.Data)
	f.seen.Store(l.Index)
	return applied{index: l.Index, term: l.Term, results: res}
}

// Snapshot makes a checkpoint; Raft applies nothing meanwhile.
func (f *fsm) Snapshot() (raft.FSMSnapshot, error) {
	if index, _ := f.r.c.FSM.Applied(); index > f.seen.Load() {
		// After a start the state may be ahead of what Raft has replayed. A
		// snapshot would then be labelled with too low an index.
		return nil, errors.New("the log is still being replayed")
	}
	dir := f.r.snaps.temporary()
	if err := f.r.c.FSM.Checkpoint(dir); err != nil {
		return nil, err
	}
	return &checkpoint{dir: dir}, nil
}

// Restore replaces the state by a snapshot of our own store.
func (f *fsm) Restore(rc io.ReadCloser) error {
	if w, ok := rc.(raft.ReadCloserWrapper); ok {
		rc = w.WrappedReadCloser()
	}
	s, ok := rc.(*snapshotReader)
	if !ok {
		return fmt.Errorf("a snapshot from elsewhere: %T", rc)
	}
	return f.r.c.FSM.Restore(s.dir)
}

// checkpoint is a directory on its way into the snapshot store.
type checkpoint struct{ dir string }

// Persist moves it there.
func (c *checkpoint) Persist(sink raft.SnapshotSink) error {
	s, ok := sink.(*snapshotSink)
	if !ok {
		return fmt.Errorf("a snapshot store that is not ours: %T", sink)
	}
	return s.adopt(c.dir)
}

// Release removes what was not moved.
func (c *checkpoint) Release() { removeAll(c.dir) }
