package replica

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"

	"github.com/hashicorp/raft"

	"dhow.dev/dhow/proto/spec"
)

// keepSnapshots are kept: the newest, and one that may be being sent.
const keepSnapshots = 2

// snapshotStore keeps snapshots as directories: meta.json and data/, a
// checkpoint of the state. What is not complete has a name that ends in .tmp.
type snapshotStore struct {
	dir string
	fsm FSM
	seq atomic.Uint64
	// reap waits for snapshots that are being read.
	mu    sync.Mutex
	inUse map[string]int
}

func openSnapshots(dir string, f FSM) (*snapshotStore, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, snapshotError("make "+dir, err)
	}
	if err := syncDir(filepath.Dir(dir)); err != nil {
		return nil, snapshotError("make "+dir, err)
	}
	s := &snapshotStore{dir: dir, fsm: f, inUse: map[string]int{}}
	names, err := os.ReadDir(dir)
	if err != nil {
		return nil, snapshotError("read "+dir, err)
	}
	for _, n := range names {
		if strings.HasSuffix(n.Name(), ".tmp") {
			if err := os.RemoveAll(filepath.Join(dir, n.Name())); err != nil {
				return nil, snapshotError("clean "+dir, err)
			}
		}
	}
	return s, nil
}

func snapshotError(what string, err error) error {
	switch {
	case errors.Is(err, syscall.ENOSPC):
		return spec.Errorf(spec.CodeExhausted, "%s: the disk is full: make room: %w", what, err)
	case errors.Is(err, os.ErrPermission), errors.Is(err, syscall.EROFS):
		return spec.Errorf(spec.CodeDenied, "%s: give this user the right to write there: %w", what, err)
	}
	return spec.Errorf(spec.CodeInternal, "%s: %w", what, err)
}

func (s *snapshotStore) temporary() string {
	return filepath.Join(s.dir, fmt.Sprintf("checkpoint-%d.tmp", s.seq.Add(1)))
}

func (s *snapshotStore) data(id string) string { return filepath.Join(s.dir, id, "data") }

// List lists complete snapshots, newest first.
func (s *snapshotStore) List() ([]*raft.SnapshotMeta, error) {
	names, err := os.ReadDir(s.dir)
	if err != nil {
		return nil, snapshotError("list snapshots", err)
	}
	var metas []*raft.SnapshotMeta
	for _, n := range names {
		if strings.HasSuffix(n.Name(), ".tmp") || !n.IsDir() {
			continue
		}
		raw, err := os.ReadFile(filepath.Join(s.dir, n.Name(), "meta.json"))
		if err != nil {
			return nil, snapshotError("read snapshot "+n.Name(), err)
		}
		m := &raft.SnapshotMeta{}
		if err := json.Unmarshal(raw, m); err != nil {
			return nil, spec.Errorf(spec.CodeInternal, "%s is damaged: remove the directory if there is a newer one beside it: %w", filepath.Join(s.dir, n.Name()), err)
		}
		metas = append(metas, m)
	}
	slices.SortFunc(metas, func(a, b *raft.SnapshotMeta) int {
		return cmp.Or(cmp.Compare(b.Term, a.Term), cmp.Compare(b.Index, a.Index), cmp.Compare(b.ID, a.ID))
	})
	return metas, nil
}

// Open opens a snapshot for sending.
func (s *snapshotStore) Open(id string) (*raft.SnapshotMeta, io.ReadCloser, error) {
	metas, err := s.List()
	if err != nil {
		return nil, nil, err
	}
	for _, m := range metas {
		if m.ID != id {
			continue
		}
		a, size, err := newArchiveReader(s.data(id))
		if err != nil {
			return nil, nil, snapshotError("open snapshot "+id, err)
		}
		m.Size = size
		s.mu.Lock()
		s.inUse[id]++
		s.mu.Unlock()
		return m, &snapshotReader{archiveReader: a, s: s, id: id, dir: s.data(id)}, nil
	}
	return nil, nil, spec.Errorf(spec.CodeNotFound, "there is no snapshot %s", id)
}

// snapshotReader streams a snapshot; who has the same disk takes dir.
type snapshotReader struct {
	*archiveReader
	s    *snapshotStore
	id   string
	dir  string
	once sync.Once
}

// Close lets the snapshot go.
func (r *snapshotReader) Close() error {
	r.once.Do(func() {
		r.s.mu.Lock()
		defer r.s.mu.Unlock()
		r.s.inUse[r.id]--
	})
	return r.archiveReader.Close()
}

// Create begins a snapshot.
func (s *snapshotStore) Create(version raft.SnapshotVersion, index, term uint64, c raft.Configuration, ci uint64, _ raft.Transport) (raft.SnapshotSink, error) {
	id := fmt.Sprintf("%020d-%020d-%d", term, index, s.seq.Add(1))
	for {
		if _, err := os.Stat(filepath.Join(s.dir, id)); err != nil {
			break
		}
		id = fmt.Sprintf("%020d-%020d-%d", term, index, s.seq.Add(1))
	}
	k := &snapshotSink{s: s, tmp: filepath.Join(s.dir, id+".tmp"), meta: raft.SnapshotMeta{
		Version: version, ID: id, Index: index, Term: term, Configuration: c, ConfigurationIndex: ci,
	}}
	if err := os.Mkdir(k.tmp, 0o700); err != nil {
		return nil, snapshotError("make a snapshot", err)
	}
	return k, nil
}

// snapshotSink becomes a snapshot, of a local checkpoint or of an archive.
type snapshotSink struct {
	s    *snapshotStore
	tmp  string
	meta raft.SnapshotMeta

	pipe    *io.PipeWriter
	done    chan error
	adopted bool
	closed  bool
}

// ID names it.
func (k *snapshotSink) ID() string { return k.meta.ID }

// adopt takes a checkpoint directory.
func (k *snapshotSink) adopt(dir string) error {
	if err := os.Rename(dir, filepath.Join(k.tmp, "data")); err != nil {
		return snapshotError("keep the checkpoint", err)
	}
	k.adopted = true
	return nil
}

// Write takes a part of an archive, and unpacks it at once.
func (k *snapshotSink) Write(p []byte) (int, error) {
	if k.pipe == nil {
		data := filepath.Join(k.tmp, "data")
		if err := os.Mkdir(data, 0o700); err != nil {
			return 0, snapshotError("unpack a snapshot", err)
		}
		r, w := io.Pipe()
		k.pipe, k.done = w, make(chan error, 1)
		go func() {
			err := extract(r, data)
			if err == nil {
				var extra int64
				if extra, err = io.Copy(io.Discard, r); err == nil && extra > 0 {
					err = fmt.Errorf("snapshot: %d bytes too many", extra)
				}
			}
			r.CloseWithError(err)
			k.done <- err
		}()
	}
	return k.pipe.Write(p)
}

// Close makes the snapshot complete: after a crash it is there or it is not.
func (k *snapshotSink) Close() error {
	if k.closed {
		return nil
	}
	k.closed = true
	err := k.finish()
	if err != nil {
		removeAll(k.tmp)
		return snapshotError("keep a snapshot", err)
	}
	k.s.reap()
	return nil
}

func (k *snapshotSink) finish() error {
	if k.pipe != nil {
		if err := errors.Join(k.pipe.Close(), <-k.done); err != nil {
			return err
		}
	} else if !k.adopted {
		return errors.New("it is empty")
	}
	_, size, err := listArchive(filepath.Join(k.tmp, "data"))
	if err != nil {
		return err
	}
	k.meta.Size = size
	raw, err := json.Marshal(k.meta)
	if err != nil {
		return err
	}
	f, err := os.OpenFile(filepath.Join(k.tmp, "meta.json"), os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(raw)
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return err
	}
	if err := syncDir(k.tmp); err != nil {
		return err
	}
	if err := os.Rename(k.tmp, filepath.Join(k.s.dir, k.meta.ID)); err != nil {
		return err
	}
	return syncDir(k.s.dir)
}

// Cancel drops it.
func (k *snapshotSink) Cancel() error {
	if k.closed {
		return nil
	}
	k.closed = true
	if k.pipe != nil {
		_ = k.pipe.CloseWithError(errors.New("snapshot: cancelled"))
		<-k.done //nolint:errcheck // it failed, as it was to
	}
	return os.RemoveAll(k.tmp)
}

// reap removes old snapshots that nobody reads.
func (s *snapshotStore) reap() {
	metas, err := s.List()
	if err != nil || len(metas) <= keepSnapshots {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, m := range metas[keepSnapshots:] {
		if s.inUse[m.ID] > 0 {
			continue
		}
		// Renamed first, so that a half removed one is not taken for one.
		tmp := filepath.Join(s.dir, m.ID+".tmp")
		if os.Rename(filepath.Join(s.dir, m.ID), tmp) == nil {
			removeAll(tmp)
		}
	}
}

// removeAll cleans up; what stays is removed at the next start.
func removeAll(dir string) { _ = os.RemoveAll(dir) }
