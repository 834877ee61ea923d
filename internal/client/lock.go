package client

import (
	"os"
	"path/filepath"
	"syscall"

	"dhow.dev/dhow/proto/spec"
)

// lock waits for its turn to change the context file.
func lock(path string) (unlock func(), err error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, spec.Errorf(spec.CodeInternal, "lock the context file: %w", err)
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX); err != nil {
		_ = f.Close()
		return nil, spec.Errorf(spec.CodeInternal, "lock the context file: %w", err)
	}
	return func() { _ = f.Close() }, nil
}

// target follows symbolic links, so that a linked context file stays linked.
func target(path string) string {
	if real, err := filepath.EvalSymlinks(path); err == nil {
		return real
	}
	return path
}
