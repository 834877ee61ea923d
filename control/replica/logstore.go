package replica

import (
	"encoding/binary"
	"fmt"
	"sync"
	"time"

	"github.com/hashicorp/raft"
)

const (
	// cacheBytes of the newest entries are kept in memory: followers and the
	// state want them right after they were written.
	cacheBytes   = 4 << 20
	cacheEntries = 1024
	// keepInvisible is how many entries that are no commands are remembered.
	keepInvisible = 1024
)

// logStore adapts Log to Raft's log and stable store.
type logStore struct {
	log Log

	mu    sync.Mutex
	cache map[uint64]*raft.Log
	bytes int
	// lo and hi bound the cache.
	lo, hi uint64
	// invisible holds the entries that the FSM never sees, newest last.
	invisible map[uint64]struct{}
	order     []uint64
	// Since the last snapshot.
	entries, size uint64
	grown         func(entries, size uint64)
}

func newLogStore(l Log) *logStore {
	return &logStore{log: l, cache: map[uint64]*raft.Log{}, invisible: map[uint64]struct{}{}}
}

// FirstIndex is the lowest index.
func (s *logStore) FirstIndex() (uint64, error) { return s.log.First() }

// LastIndex is the highest index.
func (s *logStore) LastIndex() (uint64, error) { return s.log.Last() }

// GetLog reads an entry.
func (s *logStore) GetLog(index uint64, l *raft.Log) error {
	s.mu.Lock()
	c, ok := s.cache[index]
	s.mu.Unlock()
	if ok {
		*l = *c
		return nil
	}
	raw, err := s.log.Get(index)
	if err != nil {
		return err
	}
	if raw == nil {
		return raft.ErrLogNotFound
	}
	if err := decodeEntry(raw, l); err != nil {
		return fmt.Errorf("entry %d: %w", index, err)
	}
	l.Index = index
	return nil
}

// StoreLog writes one entry.
func (s *logStore) StoreLog(l *raft.Log) error { return s.StoreLogs([]*raft.Log{l}) }

// StoreLogs writes entries.
func (s *logStore) StoreLogs(logs []*raft.Log) error {
	if len(logs) == 0 {
		return nil
	}
	raw := make([][]byte, len(logs))
	size := 0
	for i, l := range logs {
		raw[i] = encodeEntry(l)
		size += len(raw[i])
	}
	if err := s.log.Append(logs[0].Index, raw); err != nil {
		return err
	}
	s.mu.Lock()
	for _, l := range logs {
		s.remember(l)
	}
	s.entries += uint64(len(logs))
	s.size += uint64(size)
	grown, entries, total := s.grown, s.entries, s.size
	s.mu.Unlock()
	if grown != nil {
		grown(entries, total)
	}
	return nil
}

func (s *logStore) remember(l *raft.Log) {
	if l.Type != raft.LogCommand {
		s.invisible[l.Index] = struct{}{}
		if s.order = append(s.order, l.Index); len(s.order) > keepInvisible {
			delete(s.invisible, s.order[0])
			s.order = s.order[1:]
		}
	} else {
		delete(s.invisible, l.Index)
	}
	if s.hi != 0 && l.Index != s.hi+1 {
		s.forget()
	}
	if s.lo == 0 {
		s.lo = l.Index
	}
	s.hi = l.Index
	c := *l
	s.cache[l.Index] = &c
	s.bytes += len(l.Data)
	for s.lo < s.hi && (s.bytes > cacheBytes || s.hi-s.lo >= cacheEntries) {
		s.bytes -= len(s.cache[s.lo].Data)
		delete(s.cache, s.lo)
		s.lo++
	}
}

func (s *logStore) forget() {
	clear(s.cache)
	s.bytes, s.lo, s.hi = 0, 0, 0
}

// visible is the highest index up to the given one that the FSM sees.
func (s *logStore) visible(index uint64) uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	for {
		if _, ok := s.invisible[index]; !ok {
			return index
		}
		index--
	}
}

// snapshotted starts counting anew, and answers what was counted.
func (s *logStore) snapshotted() (entries, size uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	entries, size = s.entries, s.size
	s.entries, s.size = 0, 0
	return entries, size
}

// DeleteRange removes entries, both ends included.
func (s *logStore) DeleteRange(lo, hi uint64) error {
	s.mu.Lock()
	if hi >= s.lo {
		s.forget()
	}
	s.mu.Unlock()
	return s.log.DeleteRange(lo, hi)
}

// Set writes a stable value.
func (s *logStore) Set(key, val []byte) error { return s.log.StableSet(key, val) }

// Get reads a stable value, empty when there is none.
func (s *logStore) Get(key []byte) ([]byte, error) { return s.log.StableGet(key) }

// SetUint64 writes a stable number.
func (s *logStore) SetUint64(key []byte, val uint64) error {
	return s.log.StableSet(key, binary.BigEndian.AppendUint64(nil, val))
}

// GetUint64 reads a stable number, 0 when there is none.
func (s *logStore) GetUint64(key []byte) (uint64, error) {
	raw, err := s.log.StableGet(key)
	if err != nil || raw == nil {
		return 0, err
	}
	if len(raw) != 8 {
		return 0, fmt.Errorf("stable value %s has %d bytes", key, len(raw))
	}
	return binary.BigEndian.Uint64(raw), nil
}

// An entry is its type, term, time, and its extensions and data with the
// length of the former before them.
const entryHeader = 1 + 8 + 8 + 4

func encodeEntry(l *raft.Log) []byte {
	b := make([]byte, 0, entryHeader+len(l.Extensions)+len(l.Data))
	b = append(b, byte(l.Type))
	b = binary.BigEndian.AppendUint64(b, l.Term)
	var at int64
	if !l.AppendedAt.IsZero() {
		at = l.AppendedAt.UnixNano()
	}
	b = binary.BigEndian.AppendUint64(b, uint64(at))
	b = binary.BigEndian.AppendUint32(b, uint32(len(l.Extensions)))
	b = append(b, l.Extensions...)
	return append(b, l.Data...)
}

func decodeEntry(b []byte, l *raft.Log) error {
	if len(b) < entryHeader {
		return fmt.Errorf("has only %d bytes", len(b))
	}
	ext := uint64(binary.BigEndian.Uint32(b[17:]))
	if uint64(len(b)-entryHeader) < ext {
		return fmt.Errorf("its extensions are cut off")
	}
	*l = raft.Log{Type: raft.LogType(b[0]), Term: binary.BigEndian.Uint64(b[1:])}
	if at := int64(binary.BigEndian.Uint64(b[9:])); at != 0 {
		l.AppendedAt = time.Unix(0, at)
	}
	b = b[entryHeader:]
	if ext > 0 {
		l.Extensions = b[:ext]
	}
	l.Data = b[ext:]
	return nil
}
