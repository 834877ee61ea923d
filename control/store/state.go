package store

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"sync/atomic"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/bloom"
	"github.com/cockroachdb/pebble/v2/sstable"
)

// state is one opened state directory. It lives until its last user, the
// store or a view, has released it.
type state struct {
	db      *pebble.DB
	name    string
	refs    atomic.Int64
	onClose func() error
}

func (st *state) release() error {
	if st.refs.Add(-1) > 0 {
		return nil
	}
	err := st.db.Close()
	if st.onClose != nil {
		err = errors.Join(err, st.onClose())
	}
	return err
}

// options are common to both databases: small memory, one background job at a
// time.
func (s *Store) options(db string) *pebble.Options {
	f := s.fault
	o := &pebble.Options{
		FS:                          s.o.FS,
		Cache:                       s.cache,
		MemTableSize:                s.o.MemTableBytes,
		MemTableStopWritesThreshold: 4,
		L0CompactionThreshold:       4,
		L0StopWritesThreshold:       24,
		MaxOpenFiles:                256,
		DisableTableStats:           true,
		FormatMajorVersion:          pebble.FormatValueSeparation,
		Logger:                      pebbleLogger{f, db},
		EventListener:               &pebble.EventListener{BackgroundError: f.backgroundError},
	}
	// Pebble's own scheduler looks ten times a second whether the limit on
	// compactions was raised. Ours is always one, so nothing needs to look.
	o.Experimental.CompactionScheduler = pebble.NewConcurrencyLimitSchedulerWithNoPeriodicGrantingForTest()
	o.CompactionConcurrencyRange = func() (lower, upper int) { return 1, 1 }
	return o
}

func (s *Store) openStateDB(name string) (*state, error) {
	o := s.options("state")
	o.DisableWAL = true
	for i := range o.Levels {
		o.Levels[i].FilterPolicy = bloom.FilterPolicy(10)
		o.Levels[i].Compression = func() *sstable.CompressionProfile { return sstable.SnappyCompression }
	}
	st := &state{name: name}
	st.refs.Store(1)
	err := s.fault.guard(func() (err error) {
		st.db, err = pebble.Open(s.o.FS.PathJoin(s.dir, name), o)
		return err
	})
	return st, err
}

// openState opens the directory that STATE names, and removes what a crash
// in the middle of a restore left.
func (s *Store) openState() error {
	fs := s.o.FS
	raw, err := readFile(fs, fs.PathJoin(s.dir, "STATE"))
	name := strings.TrimSpace(string(raw))
	switch {
	case errors.Is(err, os.ErrNotExist):
		name = "state-1"
		// A new one; without STATE none was ever in use.
		if err := s.removeStates(""); err != nil {
			return err
		}
	case err != nil:
		return err
	case stateNumber(name) == 0:
		return fmt.Errorf("STATE says %q, which is no state directory", name)
	default:
		if _, err := fs.Stat(fs.PathJoin(s.dir, name)); err != nil {
			return fmt.Errorf("the directory that STATE names: %w", err)
		}
		if err := s.removeStates(name); err != nil {
			return err
		}
	}
	st, err := s.openStateDB(name)
	if err != nil {
		return err
	}
	if raw == nil {
		if err := writeFile(fs, s.dir, "STATE", []byte(name+"\n")); err != nil {
			return errors.Join(err, st.release())
		}
	}
	if s.index, s.term, err = readApplied(st.db); err != nil {
		return errors.Join(err, st.release())
	}
	s.state = st
	return nil
}

func stateNumber(name string) int {
	n, err := strconv.Atoi(strings.TrimPrefix(name, "state-"))
	if err != nil || !strings.HasPrefix(name, "state-") {
		return 0
	}
	return n
}

// removeStates removes all state directories but one.
func (s *Store) removeStates(but string) error {
	list, err := s.o.FS.List(s.dir)
	if err != nil {
		return err
	}
	for _, n := range list {
		if stateNumber(n) > 0 && n != but {
			if err := s.o.FS.RemoveAll(s.o.FS.PathJoin(s.dir, n)); err != nil {
				return err
			}
		}
	}
	return nil
}

func readApplied(db pebble.Reader) (index, term uint64, err error) {
	raw, c, err := db.Get(keyApplied)
	if errors.Is(err, pebble.ErrNotFound) {
		return 0, 0, nil
	}
	if err != nil {
		return 0, 0, err
	}
	defer func() { _ = c.Close() }()
	if len(raw) != 16 {
		return 0, 0, fmt.Errorf("the applied index has %d bytes", len(raw))
	}
	return binary.BigEndian.Uint64(raw), binary.BigEndian.Uint64(raw[8:]), nil
}
