package registry

import (
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"dhow.dev/dhow/internal/fsx"
	"dhow.dev/dhow/proto/spec"
)

// Directories within the store's.
const (
	blobDir    = "sha256"
	partialDir = "partial" // being uploaded
	damagedDir = "damaged" // set aside by a read
)

// Store keeps blobs on this server's disk. Safe for concurrent use.
type Store struct {
	c       Config
	next    atomic.Uint64 // numbers partial files
	damaged chan struct{}

	// mu makes a look at a blob's age and its removal one step.
	mu sync.Mutex
}

// Open makes or opens the store and removes what crashes left half written.
func Open(c Config) (*Store, error) {
	if c.MaxBlob == 0 {
		c.MaxBlob = DefaultMaxBlob
	}
	if c.FS == nil {
		c.FS = osFS{}
	}
	if c.Now == nil {
		c.Now = time.Now //nolint:forbidigo // the default clock
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	s := &Store{c: c, damaged: make(chan struct{}, 1)}
	for _, d := range []string{partialDir, damagedDir} {
		if err := os.RemoveAll(filepath.Join(c.Dir, d)); err != nil {
			return nil, fsx.Explain(err)
		}
	}
	for _, d := range []string{blobDir, partialDir, damagedDir} {
		if err := fsx.MkdirAll(filepath.Join(c.Dir, d), 0o700); err != nil {
			return nil, err
		}
	}
	return s, nil
}

func (s *Store) path(hex string) string { return filepath.Join(s.c.Dir, blobDir, hex) }

// Create starts a blob. The size is -1 when it is not known.
func (s *Store) Create(digest string, size int64) (*Writer, error) {
	hex, err := hexOf(digest)
	if err != nil {
		return nil, err
	}
	if size > s.c.MaxBlob {
		return nil, tooLarge(digest, size, s.c.MaxBlob)
	}
	if size == 0 {
		return nil, empty(digest)
	}
	partial := filepath.Join(s.c.Dir, partialDir, hex+"."+strconv.FormatUint(s.next.Add(1), 10))
	f, err := s.c.FS.Create(partial)
	if err != nil {
		return nil, full(digest, err)
	}
	return newWriter(s, f, partial, hex, size), nil
}

// Stat tells about a blob; CodeNotFound when it is not here.
func (s *Store) Stat(digest string) (Blob, error) {
	hex, err := hexOf(digest)
	if err != nil {
		return Blob{}, err
	}
	st, err := os.Stat(s.path(hex))
	if err != nil {
		return Blob{}, missing(digest, err)
	}
	return Blob{Digest: digest, Size: st.Size(), Modified: st.ModTime()}, nil
}

// Has tells whether the blob is here. Who asks is about to use it, so the
// keeper spares it for as long as it spares a new one.
func (s *Store) Has(digest string) bool {
	hex, err := hexOf(digest)
	if err != nil {
		return false
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.c.Now()
	if os.Chtimes(s.path(hex), now, now) == nil {
		return true
	}
	_, err = os.Stat(s.path(hex)) // a read-only disk can still be read
	return err == nil
}

// Delete removes a blob; a missing one is no error.
func (s *Store) Delete(digest string) error {
	hex, err := hexOf(digest)
	if err != nil {
		return err
	}
	return fsx.Remove(s.path(hex))
}

// deleteUnused removes a blob unless it was uploaded or asked for since.
func (s *Store) deleteUnused(digest string, since time.Time) (bool, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	b, err := s.Stat(digest)
	if err != nil || b.Modified.After(since) {
		return false, nil // it is gone already
	}
	return true, s.Delete(digest)
}

// Walk calls f for each blob, in the order of digests.
func (s *Store) Walk(f func(Blob) error) error {
	entries, err := os.ReadDir(filepath.Join(s.c.Dir, blobDir))
	if err != nil {
		return fsx.Explain(err)
	}
	for _, e := range entries {
		if !isHex(e.Name()) {
			continue
		}
		st, err := e.Info()
		if errors.Is(err, os.ErrNotExist) {
			continue // removed meanwhile
		}
		if err != nil {
			return fsx.Explain(err)
		}
		if err := f(Blob{Digest: algorithm + e.Name(), Size: st.Size(), Modified: st.ModTime()}); err != nil {
			return err
		}
	}
	return nil
}

func missing(digest string, err error) error {
	if errors.Is(err, os.ErrNotExist) {
		return spec.Errorf(spec.CodeNotFound, "artifact %s is not on this server's disk", digest)
	}
	return fsx.Explain(err)
}

func tooLarge(digest string, size, most int64) error {
	return spec.Errorf(spec.CodeExhausted, "artifact %s has %d bytes or more; at most %d are taken", digest, size, most)
}

func empty(digest string) error {
	return spec.Errorf(spec.CodeInvalid, "artifact %s is empty", digest)
}

func full(digest string, err error) error {
	return spec.Errorf(spec.CodeOf(fsx.Explain(err)), "store artifact %s: %w", digest, fsx.Explain(err))
}
