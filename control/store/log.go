package store

import (
	"encoding/binary"
	"errors"
	"fmt"
	"sync"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/sstable"

	"dhow.dev/dhow/proto/spec"
)

// Log keeps Raft's entries and its few stable values. A write has reached the
// disk when it returns.
type Log struct {
	s  *Store
	db *pebble.DB

	mu          sync.Mutex
	first, last uint64
}

func openLog(s *Store) (*Log, error) {
	o := s.options("log")
	for i := range o.Levels {
		// Entries are short-lived; compressing them costs more than it saves.
		o.Levels[i].Compression = func() *sstable.CompressionProfile { return sstable.NoCompression }
	}
	l := &Log{s: s}
	err := s.fault.guard(func() (err error) {
		l.db, err = pebble.Open(s.o.FS.PathJoin(s.dir, "log"), o)
		return err
	})
	if err != nil {
		return nil, err
	}
	if err := l.bounds(); err != nil {
		return nil, errors.Join(err, l.db.Close())
	}
	return l, nil
}

func (l *Log) close() error { return l.s.fault.guard(l.db.Close) }

func entryKey(index uint64) []byte {
	return binary.BigEndian.AppendUint64([]byte{'l'}, index)
}

func stableKey(key []byte) []byte { return append([]byte{'s'}, key...) }

// bounds finds the first and the last entry.
func (l *Log) bounds() error {
	it, err := l.db.NewIter(&pebble.IterOptions{LowerBound: []byte{'l'}, UpperBound: []byte{'m'}})
	if err != nil {
		return err
	}
	l.first, l.last = 0, 0
	if it.First() {
		l.first = binary.BigEndian.Uint64(it.Key()[1:])
	}
	if it.Last() {
		l.last = binary.BigEndian.Uint64(it.Key()[1:])
	}
	return errors.Join(it.Error(), it.Close())
}

// First is the lowest index, 0 when empty.
func (l *Log) First() (uint64, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.first, l.s.fault.Err()
}

// Last is the highest index, 0 when empty.
func (l *Log) Last() (uint64, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.last, l.s.fault.Err()
}

// Get returns the entry, nil when there is none.
func (l *Log) Get(index uint64) ([]byte, error) { return l.get(entryKey(index)) }

func (l *Log) get(key []byte) (val []byte, err error) {
	err = l.s.fault.guard(func() error {
		raw, c, err := l.db.Get(key)
		if errors.Is(err, pebble.ErrNotFound) {
			return nil
		}
		if err != nil {
			return spec.Errorf(spec.CodeInternal, "read the log: %w", err)
		}
		val = append(make([]byte, 0, len(raw)), raw...)
		return c.Close()
	})
	return val, err
}

// Append writes entries from index first on.
func (l *Log) Append(first uint64, entries [][]byte) error {
	if len(entries) == 0 {
		return nil
	}
	if first == 0 {
		return fmt.Errorf("store: log entries count from 1")
	}
	if err := l.s.space.check(4); err != nil {
		return err
	}
	size := 64
	for _, e := range entries {
		size += len(e) + 24
	}
	b := l.db.NewBatchWithSize(size)
	for i, e := range entries {
		if err := b.Set(entryKey(first+uint64(i)), e, nil); err != nil {
			return errors.Join(err, b.Close())
		}
	}
	if err := l.commit(b, pebble.Sync); err != nil {
		return err
	}
	l.s.space.wrote(size)
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.first == 0 || first < l.first {
		l.first = first
	}
	l.last = max(l.last, first+uint64(len(entries))-1)
	return nil
}

func (l *Log) commit(b *pebble.Batch, w *pebble.WriteOptions) error {
	err := l.s.fault.guard(func() error { return b.Commit(w) })
	if err != nil {
		return diskError("write the log", err)
	}
	return b.Close()
}

// DeleteRange removes entries lo to hi, both included.
func (l *Log) DeleteRange(lo, hi uint64) error {
	b := l.db.NewBatch()
	if err := b.DeleteRange(entryKey(lo), entryKey(hi+1), nil); err != nil {
		return errors.Join(err, b.Close())
	}
	// No need to wait for the disk: later writes are ordered after it, and
	// entries that come back are only old ones.
	if err := l.commit(b, pebble.NoSync); err != nil {
		return err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.s.fault.guard(l.bounds)
}

// StableSet writes a stable value.
func (l *Log) StableSet(key, value []byte) error {
	b := l.db.NewBatch()
	if err := b.Set(stableKey(key), value, nil); err != nil {
		return errors.Join(err, b.Close())
	}
	return l.commit(b, pebble.Sync)
}

// StableGet reads a stable value, nil when there is none.
func (l *Log) StableGet(key []byte) ([]byte, error) { return l.get(stableKey(key)) }
