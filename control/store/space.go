package store

import (
	"github.com/cockroachdb/pebble/v2/vfs"

	"dhow.dev/dhow/proto/spec"
)

// space refuses writes before the disk is full, so that a full disk is a
// clear refusal that passes once there is room, and not a failure.
type space struct {
	fs  vfs.FS
	dir string
	min uint64
}

// check wants 1/part of the minimum to be free.
func (s *space) check(part uint64) error {
	u, err := s.fs.GetDiskUsage(s.dir)
	if err != nil {
		return nil // Not every file system can tell; the write itself will.
	}
	if u.AvailBytes < s.min/part {
		return spec.Errorf(spec.CodeExhausted, "the disk of the data directory %s is full: %d MiB are free and %d MiB must be: make room",
			s.dir, u.AvailBytes>>20, s.min/part>>20)
	}
	return nil
}
