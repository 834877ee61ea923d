//go:build !linux

package wasmrt

import (
	"os"
	"time"
)

const openNonblock = 0

func setAppend(_ *os.File, on bool) error {
	if on {
		return os.ErrInvalid
	}
	return nil
}

func setTimes(f *os.File, atime, mtime time.Time) error { return os.ErrInvalid }

func kernels(*os.File) bool { return false }

// link and rename work within a directory; between two, programs copy.
func (d *directory) link(old string, to *directory, name string) errno {
	if d != to {
		return errnoXdev
	}
	return errnoOf(d.root.Link(old, name))
}

func (d *directory) rename(old string, to *directory, name string) errno {
	if d != to {
		return errnoXdev
	}
	return errnoOf(d.root.Rename(old, name))
}

func (*directory) setLinkTimes(string, time.Time, time.Time) errno { return errnoNotsup }
