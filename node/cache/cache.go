// Package cache keeps artifacts on a node's disk, by digest: fetched once,
// verified, bounded in size. It knows nothing of what is in them.
package cache

import (
	"context"
	"io"
	"log/slog"
)

// Config configures a Cache.
type Config struct {
	// Dir belongs to the cache alone.
	Dir string
	// MaxBytes bounds what is kept of artifacts nobody holds. Default 4 GiB.
	MaxBytes int64
	// Fetch reads an artifact from the offset on.
	Fetch  func(ctx context.Context, digest string, offset int64) (io.ReadCloser, error)
	Logger *slog.Logger
}

// Cache is a directory of verified artifacts.
type Cache struct{}

// New opens the cache in Config.Dir and drops what a crash left.
func New(c Config) (*Cache, error) { return &Cache{}, nil }

// Open returns the path of the artifact's file, fetching it if it is not there. The file
// stays until release is called.
func (c *Cache) Open(ctx context.Context, digest string) (path string, release func(), err error) {
	return "", func() {}, context.Canceled
}
