package host

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"sync"
)

// File is a Store whose values are in memory and in a file, where they survive
// a restart and a crash: what changes something returns once it is on the disk.
// Changes at the same time share one wait for the disk.
type File struct {
	memory *Memory
	path   string
	unlock func() error

	syncing sync.Mutex // held while waiting for the disk; taken before mu
	synced  int64      // bytes of the log that are on the disk

	mu       sync.Mutex // held while the log is written
	f        *os.File   // nil when closed
	appended int64      // bytes of the log
	broken   error      // why nothing can be changed any more
	dropped  int64
}

// OpenFile opens a store or makes an empty one. Only one File at a time can
// have a path open, of all processes. Beside it are path.lock and, if bytes had
// changed on the disk, path.damaged with what followed them.
func OpenFile(path string, l StoreLimits) (*File, error) {
	unlock, err := lock(path + ".lock")
	if err != nil {
		return nil, fmt.Errorf("the store %s is in use: %w", path, err)
	}
	s := &File{memory: NewMemory(l), path: path, unlock: unlock}
	if err := s.open(); err != nil {
		return nil, errors.Join(fmt.Errorf("the store %s: %w", path, err), s.Close())
	}
	return s, nil
}

func (s *File) open() error {
	f, err := os.OpenFile(s.path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return err
	}
	s.f = f
	b, err := io.ReadAll(f)
	if err != nil {
		return err
	}
	if len(b) < len(logMagic) && logMagic[:len(b)] == string(b) {
		return s.rewrite() // new, or a crash while it was
	}
	if string(b[:min(len(b), len(logMagic))]) != logMagic {
		return errors.New("this is another kind of file")
	}
	whole, torn := replay(b[len(logMagic):], s.apply)
	whole += len(logMagic)
	if rest := b[whole:]; len(rest) > 0 {
		s.dropped = int64(len(rest))
		if !torn {
			if err := os.WriteFile(s.path+".damaged", rest, 0o600); err != nil {
				return err
			}
		}
		if err := f.Truncate(int64(whole)); err != nil {
			return err
		}
	}
	s.appended, s.synced = int64(whole), int64(whole)
	return f.Sync()
}

func (s *File) apply(kind byte, key string, value []byte) {
	if kind == recordDeleted {
		s.memory.deleteLocked(key)
		return
	}
	s.memory.putLocked(key, slices.Clone(value))
}

// Dropped is how many bytes at the file's end could not be read when it was
// opened. After a crash it is what no change had returned for.
func (s *File) Dropped() int64 { return s.dropped }

// Close waits for changes under way. Later ones fail.
func (s *File) Close() error {
	s.syncing.Lock()
	defer s.syncing.Unlock()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.f == nil && s.broken != nil {
		return nil
	}
	var err error
	if s.f != nil {
		err = s.f.Close()
	}
	s.f, s.broken = nil, os.ErrClosed
	return errors.Join(err, s.unlock())
}

// Get implements Store.
func (s *File) Get(ctx context.Context, key string) ([]byte, error) { return s.memory.Get(ctx, key) }

// List implements Store.
func (s *File) List(ctx context.Context, prefix, after string, limit int) ([]string, error) {
	return s.memory.List(ctx, prefix, after, limit)
}

// Set implements Store.
func (s *File) Set(_ context.Context, key string, value []byte) error {
	return s.change(func() (byte, string, []byte, error) {
		return recordSet, key, value, s.memory.checkLocked(key, value)
	})
}

// Delete implements Store.
func (s *File) Delete(_ context.Context, key string) error {
	return s.change(func() (byte, string, []byte, error) { return recordDeleted, key, nil, nil })
}

// Add implements Store.
func (s *File) Add(_ context.Context, key string, delta int64) (sum int64, err error) {
	err = s.change(func() (byte, string, []byte, error) {
		if sum, err = s.memory.sumLocked(key, delta); err != nil {
			return 0, "", nil, err
		}
		value := strconv.AppendInt(nil, sum, 10)
		return recordSet, key, value, s.memory.checkLocked(key, value)
	})
	return sum, err
}

// change writes what decide says to the log and to memory, and waits for the
// disk.
func (s *File) change(decide func() (kind byte, key string, value []byte, err error)) error {
	upTo, err := s.append(decide)
	if err != nil {
		return err
	}
	if err := s.sync(upTo); err != nil {
		return err
	}
	return s.compact()
}

func (s *File) append(decide func() (byte, string, []byte, error)) (int64, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.memory.mu.Lock()
	defer s.memory.mu.Unlock()
	if s.broken != nil {
		return 0, s.broken
	}
	kind, key, value, err := decide()
	if err != nil {
		return 0, err
	}
	if _, known := s.memory.values[key]; kind == recordDeleted && !known {
		return s.appended, nil // but an earlier deletion may not be on the disk yet
	}
	record := appendRecord(nil, kind, key, value)
	if _, err := s.f.WriteAt(record, s.appended); err != nil {
		// What was written of it is written over by the next one.
		return 0, fmt.Errorf("writing the store: %w", err)
	}
	s.appended += int64(len(record))
	s.apply(kind, key, value)
	return s.appended, nil
}

// sync returns when so many bytes of the log are on the disk.
func (s *File) sync(upTo int64) error {
	s.syncing.Lock()
	defer s.syncing.Unlock()
	if s.synced >= upTo {
		return nil
	}
	s.mu.Lock()
	f, appended, broken := s.f, s.appended, s.broken
	s.mu.Unlock()
	if broken != nil {
		return broken
	}
	if err := f.Sync(); err != nil {
		// What the disk holds now is not known, and a second try might hide it.
		s.mu.Lock()
		s.broken = fmt.Errorf("writing the store: %w", err)
		s.mu.Unlock()
		return err
	}
	s.synced = appended
	return nil
}

// compact writes the log anew when most of it is about what is gone.
func (s *File) compact() error {
	const least = 1 << 20
	if !s.wasteful(least) {
		return nil
	}
	s.syncing.Lock()
	defer s.syncing.Unlock()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.broken != nil {
		return s.broken
	}
	s.memory.mu.RLock()
	defer s.memory.mu.RUnlock()
	if s.appended <= least+2*s.memory.bytes {
		return nil // another one was faster
	}
	return s.rewrite()
}

func (s *File) wasteful(least int64) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.memory.mu.RLock()
	defer s.memory.mu.RUnlock()
	return s.appended > least+2*s.memory.bytes
}

// rewrite replaces the file by one with what is in memory now. Until the new
// one is whole and has the name, the old one is the store.
func (s *File) rewrite() error {
	b := []byte(logMagic)
	for key, value := range s.memory.values {
		b = appendRecord(b, recordSet, key, value)
	}
	temp := s.path + ".new"
	f, err := os.OpenFile(temp, os.O_RDWR|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(b)
	if err = errors.Join(err, f.Sync()); err == nil {
		err = os.Rename(temp, s.path)
	}
	if err != nil {
		return errors.Join(err, f.Close(), os.Remove(temp))
	}
	old := s.f
	s.f, s.appended, s.synced = f, int64(len(b)), int64(len(b))
	return errors.Join(old.Close(), syncDir(filepath.Dir(s.path)))
}

func syncDir(dir string) error {
	d, err := os.Open(dir) //nolint:gosec // the store's own
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
