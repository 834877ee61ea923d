package replica

import (
	"errors"

	"github.com/hashicorp/raft"
)

// compact takes a snapshot whenever the log has grown enough, and lets Raft
// cut the log then. It sleeps until an entry wakes it.
func (r *Replica) compact() {
	due := make(chan struct{}, 1)
	r.logs.mu.Lock()
	r.logs.grown = func(entries, size uint64) {
		if entries < r.c.SnapshotEntries && size < r.c.SnapshotBytes {
			return
		}
		select {
		case due <- struct{}{}:
		default:
		}
	}
	r.logs.mu.Unlock()
	for {
		select {
		case <-due:
		case <-r.closing:
			return
		}
		if err := r.snapshot(); err != nil {
			r.c.Logger.Warn("no snapshot was taken; the log grows", "err", err)
		}
	}
}

// snapshot keeps half of the limits as trailing log, so that a server that was
// away for a moment needs no snapshot.
func (r *Replica) snapshot() error {
	entries, size := r.logs.snapshotted()
	if entries > 0 {
		average := size/entries + 1
		rc := r.raft.ReloadableConfig()
		rc.TrailingLogs = max(64, min(r.c.SnapshotEntries/2, r.c.SnapshotBytes/2/average))
		if err := r.raft.ReloadConfig(rc); err != nil {
			return err
		}
	}
	err := r.raft.Snapshot().Error()
	if errors.Is(err, raft.ErrNothingNewToSnapshot) || errors.Is(err, raft.ErrRaftShutdown) {
		return nil
	}
	return err
}
