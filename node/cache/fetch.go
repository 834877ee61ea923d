package cache

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"os"

	"dhow.dev/dhow/internal/fsx"
	"dhow.dev/dhow/proto/spec"
)

// flight is the fetching of one artifact, for all who wait for it.
type flight struct {
	cancel  context.CancelFunc
	waiters int // under Cache.mu; the last one to leave cancels
	done    chan struct{}
	entry   *entry // held once for each waiter
	err     error
}

// takeOffLocked starts a flight. It outlives its first waiter if there are
// others.
func (k *Cache) takeOffLocked(ctx context.Context, h string) *flight {
	ctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	f := &flight{cancel: cancel, done: make(chan struct{})}
	k.flights[h] = f
	go func() {
		defer cancel()
		err := k.get(ctx, h)
		k.mu.Lock()
		defer k.mu.Unlock()
		delete(k.flights, h)
		if f.err = err; err == nil {
			f.entry = k.entries[h]
			f.entry.held += f.waiters
		}
		close(f.done)
	}()
	return f
}

// await waits for a flight and returns its entry, held.
func (k *Cache) await(ctx context.Context, f *flight) (*entry, error) {
	select {
	case <-f.done:
		return f.entry, f.err
	case <-ctx.Done():
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	select {
	case <-f.done:
		return f.entry, f.err
	default:
	}
	if f.waiters--; f.waiters == 0 {
		f.cancel()
	}
	return nil, ctx.Err()
}

// get makes the artifact whole and verified on disk.
func (k *Cache) get(ctx context.Context, h string) error {
	k.mu.Lock()
	e := k.entries[h]
	k.mu.Unlock()
	if e != nil && !e.partial {
		if k.verify(h, e) {
			return nil
		}
		k.c.Logger.Warn("an artifact has changed on disk; it is fetched again", "path", e.path)
		k.forget(h)
	}
	err := k.fetch(ctx, h)
	if err != nil && fsx.Full(err) {
		// Better to fetch others again later than not to run this one.
		k.forget(h)
		k.mu.Lock()
		k.evictLocked(0)
		k.mu.Unlock()
		err = k.fetch(ctx, h)
	}
	switch {
	case err == nil:
		return nil
	case fsx.Full(err):
		k.forget(h)
		return fmt.Errorf("artifact sha256:%s does not fit on the disk of %s: %w", h, k.c.Dir, fsx.Explain(err))
	}
	k.notePartial(h)
	return fmt.Errorf("fetching artifact sha256:%s: %w", h, err)
}

// verify hashes a file that this process did not write.
func (k *Cache) verify(h string, e *entry) bool {
	f, err := os.Open(e.path)
	if err != nil {
		return false
	}
	defer func() { _ = f.Close() }()
	sum := sha256.New()
	if _, err := io.Copy(sum, f); err != nil || hex.EncodeToString(sum.Sum(nil)) != h {
		return false
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	e.verified = true
	return true
}

// forget removes what there is of an artifact.
func (k *Cache) forget(h string) {
	k.mu.Lock()
	defer k.mu.Unlock()
	delete(k.entries, h)
	for _, partial := range []bool{true, false} {
		_ = os.Remove(k.path(h, partial))
	}
}

// notePartial counts what an interrupted fetch left.
func (k *Cache) notePartial(h string) {
	k.mu.Lock()
	defer k.mu.Unlock()
	path := k.path(h, true)
	info, err := os.Stat(path)
	switch {
	case err != nil:
	case info.Size() == 0:
		_ = os.Remove(path)
	default:
		k.entries[h] = &entry{path: path, size: info.Size(), used: k.c.Now(), partial: true}
	}
}

// partFile is what a partial artifact is written to.
type partFile interface {
	io.ReadWriteCloser
	Truncate(size int64) error
	Sync() error
}

func openPart(path string) (partFile, error) {
	return os.OpenFile(path, os.O_CREATE|os.O_RDWR|os.O_APPEND, 0o600) //nolint:gosec // the name is a digest
}

// errMismatch is worth one try from the start.
var errMismatch = errors.New("its content does not have its digest")

// fetch continues the partial file, if any, and gives it its place when whole.
// It goes on after a broken connection as long as that brought something.
func (k *Cache) fetch(ctx context.Context, h string) error {
	mismatches := 0
	for {
		before := k.partialSize(h)
		err := k.fetchOnce(ctx, h)
		switch {
		case err == nil:
			return k.place(h)
		case errors.Is(err, errMismatch):
			k.forget(h)
			if mismatches++; before == 0 || mismatches > 1 {
				return spec.Errorf(spec.CodeInternal, "%w: what was sent is not what was asked for", err)
			}
		case ctx.Err() != nil:
			return ctx.Err()
		case fsx.Full(err) || k.partialSize(h) <= before:
			return err
		}
	}
}

func (k *Cache) partialSize(h string) int64 {
	info, err := os.Stat(k.path(h, true))
	if err != nil {
		return 0
	}
	return info.Size()
}

// fetchOnce appends what one stream brings.
func (k *Cache) fetchOnce(ctx context.Context, h string) (err error) {
	f, err := k.openFile(k.path(h, true))
	if err != nil {
		return err
	}
	defer func() {
		if cerr := f.Close(); err == nil {
			err = cerr
		}
	}()
	sum := sha256.New()
	offset, err := io.Copy(sum, f)
	if err != nil {
		return fmt.Errorf("reading the partial file: %w", err)
	}
	if offset > 0 && is(sum, h) {
		return f.Sync() // a crash came between the last byte and the rename
	}
	if err := k.receive(ctx, h, f, sum, offset); err != nil {
		return err
	}
	if !is(sum, h) {
		return errMismatch
	}
	return f.Sync()
}

func (k *Cache) receive(ctx context.Context, h string, f io.Writer, sum hash.Hash, offset int64) error {
	r, err := k.c.Fetch(ctx, "sha256:"+h, offset)
	if err != nil {
		return err
	}
	defer func() { _ = r.Close() }()
	_, err = io.Copy(io.MultiWriter(f, sum), r)
	return err
}

func is(sum hash.Hash, h string) bool { return hex.EncodeToString(sum.Sum(nil)) == h }

// place renames the whole file to where it is found.
func (k *Cache) place(h string) error {
	from, to := k.path(h, true), k.path(h, false)
	if err := os.Rename(from, to); err != nil {
		return err
	}
	for _, partial := range []bool{true, false} {
		if err := fsx.SyncDir(k.dir(partial)); err != nil {
			return err
		}
	}
	info, err := os.Stat(to)
	if err != nil {
		return err
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	k.entries[h] = &entry{path: to, size: info.Size(), used: k.c.Now(), verified: true}
	k.evictLocked(k.c.MaxBytes)
	return nil
}
