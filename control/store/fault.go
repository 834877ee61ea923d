package store

import (
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"runtime"
	"strings"
	"sync"
	"syscall"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"

	"dhow.dev/dhow/proto/spec"
)

// fault is the latch that a failed disk throws. Pebble cannot go on after a
// failed write of its log or manifest, and says so through Logger.Fatalf,
// which by default ends the process from wherever it is. Here it ends only
// the goroutine or the call, and the server ends itself in order.
type fault struct {
	logger *slog.Logger
	failed chan struct{}
	mu     sync.Mutex
	err    error
}

func newFault(l *slog.Logger) *fault { return &fault{logger: l, failed: make(chan struct{})} }

// Err is the first failure.
func (f *fault) Err() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.err
}

func (f *fault) fail(err error) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.err == nil {
		f.err = diskError("the disk failed and the server must be restarted", err)
		close(f.failed)
		f.logger.Error("store failed", "err", err)
	}
	return f.err
}

type fatal struct{ err error }

// guard runs a call into Pebble. Once failed, none is made any more.
func (f *fault) guard(call func() error) (err error) {
	if err := f.Err(); err != nil {
		return err
	}
	defer func() {
		if p := recover(); p != nil {
			v, ok := p.(fatal)
			if !ok {
				panic(p)
			}
			err = f.fail(v.err)
		}
	}()
	return call()
}

// flush waits until all of the database is on disk, or the disk has failed.
func (f *fault) flush(db *pebble.DB) error {
	var done <-chan struct{}
	err := f.guard(func() (err error) {
		done, err = db.AsyncFlush()
		return err
	})
	if err != nil {
		return err
	}
	select {
	case <-done:
		return nil
	case <-f.failed:
		return f.Err()
	}
}

// pebbleLogger is what Pebble logs to.
type pebbleLogger struct {
	*fault
	db string
}

// Infof is of no use to anyone but Pebble's developers.
func (l pebbleLogger) Infof(string, ...any) {}

// Errorf logs.
func (l pebbleLogger) Errorf(format string, args ...any) {
	l.logger.Warn("pebble", "db", l.db, "err", fmt.Sprintf(format, args...))
}

// Fatalf must not return: Pebble counts on it. A call of ours is unwound by
// a panic that guard takes; a goroutine of Pebble's ends.
func (l pebbleLogger) Fatalf(format string, args ...any) {
	err := fmt.Errorf(format, args...)
	for _, a := range args {
		if e, ok := a.(error); ok {
			err = fmt.Errorf("%s: %w", l.db, e)
		}
	}
	_ = l.fail(err)
	if guarded() {
		panic(fatal{err})
	}
	runtime.Goexit()
}

// guarded tells whether guard is among the callers.
func guarded() bool {
	pcs := make([]uintptr, 64)
	frames := runtime.CallersFrames(pcs[:runtime.Callers(2, pcs)])
	for {
		f, more := frames.Next()
		if strings.HasSuffix(f.Function, "store.(*fault).guard") {
			return true
		}
		if !more {
			return false
		}
	}
}

// backgroundError is called by Pebble when a flush or compaction failed. It
// would be tried again at once and for ever, so it ends here.
func (f *fault) backgroundError(err error) {
	if errors.Is(err, vfs.ErrUnsupported) || errors.Is(err, pebble.ErrCancelledCompaction) {
		return
	}
	_ = f.fail(err)
	runtime.Goexit()
}

// openError says what is wrong with a data directory.
func openError(path string, err error) error {
	if _, ok := errors.AsType[*spec.Error](err); ok {
		return err
	}
	switch {
	case errors.Is(err, syscall.EROFS), errors.Is(err, fs.ErrPermission):
		return spec.Errorf(spec.CodeDenied, "%s cannot be written: give this user the right to write there, or choose another data directory: %w", path, err)
	case pebble.IsCorruptionError(err):
		return spec.Errorf(spec.CodeInternal, "%s is damaged: restore it from a backup, or empty the data directory and join again: %w", path, err)
	case errors.Is(err, syscall.EAGAIN), strings.Contains(err.Error(), "lock held"):
		return spec.Errorf(spec.CodeUnavailable, "%s is in use by another process: %w", path, err)
	}
	return diskError("cannot open "+path, err)
}

// diskError tells a full disk from other failures.
func diskError(what string, err error) error {
	if errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) {
		return spec.Errorf(spec.CodeExhausted, "%s: the disk is full: make room: %w", what, err)
	}
	if _, ok := errors.AsType[*spec.Error](err); ok {
		return err
	}
	return spec.Errorf(spec.CodeInternal, "%s: %w", what, err)
}
