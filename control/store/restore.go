package store

import (
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/cockroachdb/pebble/v2/vfs"

	"dhow.dev/dhow/proto/spec"
)

// Checkpoint flushes the state and writes it as a directory of its own, which
// must not exist yet. Tables are hard links, so that it takes little time and
// space.
func (s *Store) Checkpoint(dir string) error {
	s.applying.Lock()
	defer s.applying.Unlock()
	if s.state == nil {
		return errClosed()
	}
	db := s.state.db
	err := s.fault.flush(db)
	if err == nil {
		err = s.fault.guard(func() error { return db.Checkpoint(dir) })
	}
	if err != nil {
		return diskError("make a checkpoint of the state in "+dir, err)
	}
	return nil
}

// Restore replaces the state by that of a checkpoint directory, which stays as
// it is. A crash at any point leaves the old state or the new. Views keep what
// they see; watchers are told to list again.
func (s *Store) Restore(dir string) error {
	s.applying.Lock()
	defer s.applying.Unlock()
	if s.state == nil {
		return errClosed()
	}
	if err := s.space.check(4); err != nil {
		return err
	}
	fs := s.o.FS
	name := fmt.Sprintf("state-%d", stateNumber(s.state.name)+1)
	path := fs.PathJoin(s.dir, name)
	st, err := s.restored(dir, name)
	if err != nil {
		_ = fs.RemoveAll(path)
		return diskError("restore the state from "+dir, err)
	}
	index, term, err := readApplied(st.db)
	if err == nil {
		err = writeFile(fs, s.dir, "STATE", []byte(name+"\n"))
	}
	if err != nil {
		// STATE may name either directory now, so neither may go.
		return s.fault.fail(errors.Join(err, st.release()))
	}
	old := s.state
	old.onClose = func() error { return fs.RemoveAll(fs.PathJoin(s.dir, old.name)) }
	s.mu.Lock()
	s.state, s.index, s.term = st, index, term
	s.mu.Unlock()
	s.feed.reset(index)
	return old.release()
}

// restored copies the checkpoint and opens the copy.
func (s *Store) restored(dir, name string) (*state, error) {
	fs := s.o.FS
	to := fs.PathJoin(s.dir, name)
	if err := fs.RemoveAll(to); err != nil {
		return nil, err
	}
	if err := copyCheckpoint(fs, dir, to); err != nil {
		return nil, err
	}
	if err := syncDir(fs, s.dir); err != nil {
		return nil, err
	}
	return s.openStateDB(name)
}

// copyCheckpoint links the tables, which never change, and copies the rest.
func copyCheckpoint(fs vfs.FS, from, to string) error {
	names, err := fs.List(from)
	if err != nil {
		return err
	}
	if err := fs.MkdirAll(to, 0o700); err != nil {
		return err
	}
	manifest := false
	for _, n := range names {
		a, b := fs.PathJoin(from, n), fs.PathJoin(to, n)
		if strings.HasSuffix(n, ".sst") || strings.HasSuffix(n, ".blob") {
			err = vfs.LinkOrCopy(fs, a, b)
		} else {
			manifest = manifest || strings.HasPrefix(n, "MANIFEST-")
			err = copyFile(fs, a, b)
		}
		if err != nil {
			return err
		}
	}
	if !manifest {
		return spec.Errorf(spec.CodeInvalid, "%s is no checkpoint: it has no MANIFEST", from)
	}
	return syncDir(fs, to)
}

func copyFile(fs vfs.FS, from, to string) error {
	src, err := fs.Open(from)
	if err != nil {
		return err
	}
	defer func() { _ = src.Close() }()
	dst, err := fs.Create(to, vfs.WriteCategoryUnspecified)
	if err != nil {
		return err
	}
	_, err = io.Copy(dst, src)
	if err == nil {
		err = dst.Sync()
	}
	return errors.Join(err, dst.Close())
}
