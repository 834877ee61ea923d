package fsx

import (
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"

	"dhow.dev/dhow/proto/spec"
)

// Lock holds a directory for this process. The kernel lets go of it when the
// process ends, however it ends.
type Lock struct{ file *os.File }

// LockDir takes the directory, which must exist, or says who has it.
func LockDir(dir string) (*Lock, error) {
	path := filepath.Join(dir, "LOCK")
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, Explain(err)
	}
	err = syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
	if err != nil {
		owner, _ := os.ReadFile(path)
		_ = f.Close()
		if errors.Is(err, syscall.EWOULDBLOCK) {
			return nil, spec.Errorf(spec.CodeUnavailable, "%s is in use by process %s: stop it, or choose another data directory",
				dir, strings.TrimSpace(string(owner)))
		}
		return nil, Explain(err)
	}
	// The number is for people only: the lock itself is what counts.
	if err := f.Truncate(0); err == nil {
		_, _ = f.WriteAt([]byte(strconv.Itoa(os.Getpid())+"\n"), 0)
	}
	return &Lock{file: f}, nil
}

// Close lets the directory go.
func (l *Lock) Close() error { return l.file.Close() }
