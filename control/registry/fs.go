package registry

import (
	"io"
	"os"

	"dhow.dev/dhow/internal/fsx"
)

// FS writes files: the seam at which tests break disks.
type FS interface {
	// Create makes a new file.
	Create(path string) (File, error)
	// Rename moves it and makes the move durable.
	Rename(from, to string) error
}

// File is being written.
type File interface {
	io.WriteCloser
	Sync() error
}

type osFS struct{}

func (osFS) Create(path string) (File, error) {
	return os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
}

func (osFS) Rename(from, to string) error { return fsx.Rename(from, to) }
