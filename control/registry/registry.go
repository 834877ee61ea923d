// Package registry keeps artifacts: a content store on disk, its copies on a
// majority of servers, and the collection of what nobody uses. A blob is named
// by its digest and never changes. The room knows files and digests, not what
// modules are or who may have them.
package registry

import (
	"context"
	"io"
	"log/slog"
	"strings"
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
	Now    func() time.Time // nil: time.Now
	Logger *slog.Logger     // nil: none
}

// Blob is one stored blob.
type Blob struct {
	Digest string
	Size   int64
	// Modified is when it was last uploaded or asked for.
	Modified time.Time
}

// Peers are the other servers.
type Peers interface {
	// Servers names all other members, the dead ones, too: a majority is counted
	// over them and this one.
	Servers() []string
	// Put copies a blob to a server. It is on disk there when Put returns.
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

const algorithm = "sha256:"

// hexOf checks a digest and returns its hexadecimal part.
func hexOf(digest string) (string, error) {
	hex, ok := strings.CutPrefix(digest, algorithm)
	if !ok || !isHex(hex) {
		return "", spec.Errorf(spec.CodeInvalid, "digest %.80q: want sha256: and 64 lower-case hexadecimal digits", digest)
	}
	return hex, nil
}

func isHex(s string) bool {
	if len(s) != 64 {
		return false
	}
	for i := range len(s) {
		if (s[i] < '0' || s[i] > '9') && (s[i] < 'a' || s[i] > 'f') {
			return false
		}
	}
	return true
}
