// Package registry keeps artifacts: a content store on disk, its copies on a
// majority of servers, and the collection of what nobody uses. A blob is named
// by its digest and never changes. The room knows files and digests, not what
// modules are or who may have them.
package registry

import (
	"context"
	"io"
	"log/slog"
	"time"

	"dhow.dev/dhow/proto/spec"
)

// DefaultMaxBlob bounds a blob's size unless Config says otherwise.
const DefaultMaxBlob = 512 << 20

// Config of a Store.
type Config struct {
	// Dir holds the blobs; it is made when missing.
	Dir string
	// MaxBlob bounds a blob's size in bytes; 0: DefaultMaxBlob.
	MaxBlob int64
	// FS writes the files; nil: the operating system's.
	FS     FS
	Now    func() time.Time
	Logger *slog.Logger
}

// Blob is one stored blob.
type Blob struct {
	Digest string
	Size   int64
	// Modified is when it was last uploaded.
	Modified time.Time
}

// Peers are the other servers.
type Peers interface {
	// Servers names the other servers.
	Servers() []string
	// Put copies a blob to a server.
	Put(ctx context.Context, server, digest string, size int64, r io.Reader) error
	// Fetch reads a blob from a server; CodeNotFound when it has none.
	Fetch(ctx context.Context, server, digest string) (io.ReadCloser, error)
}

// Records are the cluster's artifact objects.
type Records interface {
	// Digests lists the artifacts that every server should have.
	Digests() (map[string]bool, error)
	// Changed gets a value soon after that list changed.
	Changed() <-chan struct{}
}

var _ = spec.CodeInvalid
