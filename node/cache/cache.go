// Package cache keeps artifacts on a node's disk, by digest: fetched once,
// verified, bounded in size. It knows nothing of what is in them.
//
//	DIR/sha256/HEX     whole and verified; its modification time is its last use
//	DIR/partial/HEX    the beginning of one, to go on from
//
// A file gets its place under sha256 by a rename after it was synced, so that
// a crash leaves an artifact whole or not at all. The first use after a start
// verifies it again.
package cache

import (
	"context"
	"encoding/hex"
	"errors"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"dhow.dev/dhow/internal/fsx"
	"dhow.dev/dhow/proto/spec"
)

// Config configures a Cache.
type Config struct {
	// Dir belongs to the cache alone.
	Dir string
	// MaxBytes bounds what is on disk, as far as nobody holds it. The least
	// recently used goes first. Default 4 GiB.
	MaxBytes int64
	// Fetch reads an artifact from the offset on.
	Fetch  func(ctx context.Context, digest string, offset int64) (io.ReadCloser, error)
	Logger *slog.Logger
	Now    func() time.Time // default time.Now
}

// Cache is a directory of verified artifacts.
type Cache struct {
	c        Config
	openFile func(path string) (partFile, error) // tests inject faults here

	mu      sync.Mutex
	entries map[string]*entry // by hex digest
	flights map[string]*flight
}

// entry is an artifact, whole or partial, on disk.
type entry struct {
	path     string
	size     int64
	used     time.Time
	partial  bool
	verified bool // in this process
	held     int
}

// New opens the cache in Config.Dir and drops what does not belong there.
func New(c Config) (*Cache, error) {
	if c.MaxBytes <= 0 {
		c.MaxBytes = 4 << 30
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	if c.Now == nil {
		c.Now = time.Now //nolint:forbidigo // the default clock
	}
	k := &Cache{c: c, openFile: openPart, entries: map[string]*entry{}, flights: map[string]*flight{}}
	for _, d := range []string{k.dir(true), k.dir(false)} {
		if err := fsx.MkdirAll(d, 0o700); err != nil {
			return nil, err
		}
	}
	for _, partial := range []bool{true, false} { // a whole one wins
		if err := k.scan(partial); err != nil {
			return nil, err
		}
	}
	k.evictLocked(c.MaxBytes)
	return k, nil
}

func (k *Cache) dir(partial bool) string {
	if partial {
		return filepath.Join(k.c.Dir, "partial")
	}
	return filepath.Join(k.c.Dir, "sha256")
}

func (k *Cache) path(hexDigest string, partial bool) string {
	return filepath.Join(k.dir(partial), hexDigest)
}

// scan takes in what a former process left.
func (k *Cache) scan(partial bool) error {
	all, err := os.ReadDir(k.dir(partial))
	if err != nil {
		return fsx.Explain(err)
	}
	for _, d := range all {
		path := k.path(d.Name(), partial)
		info, err := d.Info()
		if err != nil || !info.Mode().IsRegular() || !isHex(d.Name()) {
			k.c.Logger.Warn("removing what is no artifact", "path", path)
			if err := os.RemoveAll(path); err != nil {
				return fsx.Explain(err)
			}
			continue
		}
		if old := k.entries[d.Name()]; old != nil {
			_ = os.Remove(old.path) // fetched again meanwhile
		}
		k.entries[d.Name()] = &entry{path: path, size: info.Size(), used: info.ModTime(), partial: partial}
	}
	return nil
}

// parse checks a digest and returns its hexadecimal digits, which are safe as
// a file's name.
func parse(digest string) (string, error) {
	h, ok := strings.CutPrefix(digest, "sha256:")
	if !ok || !isHex(h) {
		return "", spec.Errorf(spec.CodeInvalid, "%.100q is no digest: give \"sha256:\" and 64 hexadecimal digits in lower case", digest)
	}
	return h, nil
}

func isHex(s string) bool {
	b, err := hex.DecodeString(s)
	return err == nil && len(b) == 32 && strings.ToLower(s) == s
}

// Open returns the path of the artifact's file, fetching it if it is not
// there. The file stays until release is called, which may be called twice.
func (k *Cache) Open(ctx context.Context, digest string) (path string, release func(), err error) {
	h, err := parse(digest)
	if err != nil {
		return "", nil, err
	}
	for {
		k.mu.Lock()
		if e := k.entries[h]; e != nil && !e.partial && e.verified {
			defer k.mu.Unlock()
			e.held++
			return k.handOutLocked(e)
		}
		f := k.flights[h]
		if f == nil {
			f = k.takeOffLocked(ctx, h)
		}
		f.waiters++
		k.mu.Unlock()
		e, err := k.await(ctx, f)
		switch {
		case err == nil:
			k.mu.Lock()
			defer k.mu.Unlock()
			return k.handOutLocked(e)
		case ctx.Err() != nil || !errors.Is(err, context.Canceled):
			return "", nil, err
		}
		// Others cancelled what this call had joined.
	}
}

// Has tells whether the artifact is there whole.
func (k *Cache) Has(digest string) bool {
	h, err := parse(digest)
	if err != nil {
		return false
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	e := k.entries[h]
	return e != nil && !e.partial
}

// Bytes is what the cache has on disk.
func (k *Cache) Bytes() int64 {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.totalLocked()
}

func (k *Cache) totalLocked() int64 {
	var n int64
	for _, e := range k.entries {
		n += e.size
	}
	return n
}

// handOutLocked gives a held entry to a caller.
func (k *Cache) handOutLocked(e *entry) (string, func(), error) {
	e.used = k.c.Now()
	_ = os.Chtimes(e.path, e.used, e.used) // for the order after a restart
	return e.path, sync.OnceFunc(func() {
		k.mu.Lock()
		defer k.mu.Unlock()
		e.held--
		k.evictLocked(k.c.MaxBytes)
	}), nil
}

// evictLocked removes the least recently used until what is left fits.
func (k *Cache) evictLocked(most int64) {
	for total := k.totalLocked(); total > most; {
		var oldest string
		for h, e := range k.entries {
			if e.held == 0 && k.flights[h] == nil && (oldest == "" || e.used.Before(k.entries[oldest].used)) {
				oldest = h
			}
		}
		if oldest == "" {
			return
		}
		e := k.entries[oldest]
		if err := os.Remove(e.path); err != nil && !errors.Is(err, os.ErrNotExist) {
			k.c.Logger.Warn("an artifact cannot be removed", "path", e.path, "error", err)
		}
		total -= e.size
		delete(k.entries, oldest)
	}
}
