package registry

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"hash"
	"os"

	"dhow.dev/dhow/proto/spec"
)

// Writer takes a blob's bytes. Nothing can be read before Commit. Not for
// concurrent use.
type Writer struct {
	store   *Store
	file    File
	partial string
	digest  string
	name    string // the digest's hexadecimal part
	size    int64  // expected, -1 for unknown
	written int64
	sum     hash.Hash
	err     error // the first; all later calls fail with it
	closed  bool
}

func newWriter(s *Store, f File, partial, name string, size int64) *Writer {
	return &Writer{store: s, file: f, partial: partial, digest: algorithm + name, name: name, size: size, sum: sha256.New()}
}

// Write appends.
func (w *Writer) Write(p []byte) (int, error) {
	if w.err != nil {
		return 0, w.err
	}
	total := w.written + int64(len(p))
	switch {
	case w.closed:
		w.err = spec.Errorf(spec.CodeInternal, "artifact %s: write after the end", w.digest)
	case total > w.store.c.MaxBlob:
		w.err = tooLarge(w.digest, total, w.store.c.MaxBlob)
	case w.size >= 0 && total > w.size:
		w.err = spec.Errorf(spec.CodeInvalid, "artifact %s: more than the %d bytes that were announced", w.digest, w.size)
	}
	if w.err != nil {
		return 0, w.err
	}
	n, err := w.file.Write(p)
	w.written += int64(n)
	w.sum.Write(p[:n])
	if err != nil {
		w.err = full(w.digest, err)
	}
	return n, w.err
}

// Commit verifies size and digest and makes the blob durable. After an error
// nothing is left of it.
func (w *Writer) Commit() (Blob, error) {
	if w.err == nil {
		w.err = w.commit()
	}
	if err := errors.Join(w.err, w.Close()); err != nil {
		return Blob{}, w.err
	}
	return w.store.Stat(w.digest)
}

func (w *Writer) commit() error {
	if w.closed {
		return spec.Errorf(spec.CodeInternal, "artifact %s: commit after the end", w.digest)
	}
	if w.written == 0 {
		return empty(w.digest)
	}
	if w.size >= 0 && w.written != w.size {
		return spec.Errorf(spec.CodeInvalid, "artifact %s: %d bytes arrived of %d: the upload was cut short; try again", w.digest, w.written, w.size)
	}
	if got := hex.EncodeToString(w.sum.Sum(nil)); got != w.name {
		return spec.Errorf(spec.CodeInvalid, "artifact %s: what arrived has the digest %s%s: it was changed on its way, or is another file", w.digest, algorithm, got)
	}
	if err := w.file.Sync(); err != nil {
		return full(w.digest, err)
	}
	w.closed = true
	if err := w.file.Close(); err != nil {
		return full(w.digest, err)
	}
	// Another upload of the same may have been faster: its content is equal.
	if err := w.store.c.FS.Rename(w.partial, w.store.path(w.name)); err != nil {
		return full(w.digest, err)
	}
	w.partial = ""
	return nil
}

// Close gives the blob up unless it was committed.
func (w *Writer) Close() error {
	if !w.closed {
		w.closed = true
		_ = w.file.Close() // nothing of it is kept
	}
	if w.partial == "" {
		return nil
	}
	err := os.Remove(w.partial)
	w.partial = ""
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	return err
}
