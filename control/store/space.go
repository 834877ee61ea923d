package store

import (
	"sync/atomic"

	"github.com/cockroachdb/pebble/v2/vfs"

	"dhow.dev/dhow/proto/spec"
)

// lookEvery is how many written bytes may pass between two looks at the disk,
// while there is plenty of room.
const lookEvery = 4 << 20

// space refuses writes before the disk is full, so that a full disk is a
// clear refusal that passes once there is room, and not a failure.
type space struct {
	fs  vfs.FS
	dir string
	min uint64

	free    atomic.Uint64
	written atomic.Int64
}

// wrote counts what fills the disk.
func (s *space) wrote(n int) { s.written.Add(int64(n)) }

// check wants 1/part of the minimum to be free.
func (s *space) check(part uint64) error {
	if s.free.Load() > 4*s.min && s.written.Load() < lookEvery {
		return nil
	}
	u, err := s.fs.GetDiskUsage(s.dir)
	if err != nil {
		return nil // Not every file system can tell; the write itself will.
	}
	s.free.Store(u.AvailBytes)
	s.written.Store(0)
	if u.AvailBytes < s.min/part {
		return spec.Errorf(spec.CodeExhausted, "the disk of the data directory %s is full: %d MiB are free and %d MiB must be: make room",
			s.dir, u.AvailBytes>>20, s.min/part>>20)
	}
	return nil
}
