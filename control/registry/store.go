package registry

import (
	"context"
	"io"
)

// FS is the seam at which tests break disks.
type FS interface{}

// Store keeps blobs on this server's disk. Safe for concurrent use.
type Store struct{}

// Open makes or opens the store and removes what crashes left half written.
func Open(c Config) (*Store, error) { return &Store{}, nil }

// Create starts a blob. The size is -1 when it is not known.
func (s *Store) Create(digest string, size int64) (*Writer, error) { return &Writer{}, nil }

// Reader opens a blob at an offset; CodeNotFound when it is not here.
func (s *Store) Reader(digest string, offset int64) (io.ReadCloser, Blob, error) {
	return nil, Blob{}, nil
}

// Stat tells about a blob; CodeNotFound when it is not here.
func (s *Store) Stat(digest string) (Blob, error) { return Blob{}, nil }

// Has tells whether the blob is here.
func (s *Store) Has(digest string) bool { return false }

// Delete removes a blob; a missing one is no error.
func (s *Store) Delete(digest string) error { return nil }

// Walk calls f for each blob, in the order of digests.
func (s *Store) Walk(f func(Blob) error) error { return nil }

// Writer takes a blob's bytes. Nothing can be read before Commit.
type Writer struct{}

// Write appends.
func (w *Writer) Write(p []byte) (int, error) { return len(p), nil }

// Commit verifies size and digest and makes the blob durable.
func (w *Writer) Commit() (Blob, error) { return Blob{}, nil }

// Close gives the blob up unless it was committed.
func (w *Writer) Close() error { return nil }

// Keeper copies blobs to other servers, fetches what this one lacks and removes
// what nobody needs.
type Keeper struct{}

// KeeperConfig of a Keeper.
type KeeperConfig struct {
	Store   *Store
	Peers   Peers
	Records Records
}

// NewKeeper makes a Keeper.
func NewKeeper(c KeeperConfig) *Keeper { return &Keeper{} }

// Replicate returns when a majority of servers, this one included, has the blob
// on disk.
func (k *Keeper) Replicate(ctx context.Context, digest string) error { return nil }

// Ensure fetches the blob from another server unless it is here.
func (k *Keeper) Ensure(ctx context.Context, digest string) error { return nil }

// Run fetches and collects until the context ends.
func (k *Keeper) Run(ctx context.Context) error { <-ctx.Done(); return nil }
