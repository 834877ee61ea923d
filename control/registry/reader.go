package registry

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"hash"
	"io"
	"os"
	"path/filepath"

	"dhow.dev/dhow/internal/fsx"
	"dhow.dev/dhow/proto/spec"
)

// Reader opens a blob at an offset; CodeNotFound when it is not here. A blob
// that rotted on the disk is noticed: before the first byte when the offset is
// not 0, else at the end, where the reader fails instead of ending. It is then
// set aside, and the keeper fetches it anew.
func (s *Store) Reader(digest string, offset int64) (io.ReadCloser, Blob, error) {
	name, err := hexOf(digest)
	if err != nil {
		return nil, Blob{}, err
	}
	f, err := os.Open(s.path(name))
	if err != nil {
		return nil, Blob{}, missing(digest, err)
	}
	st, err := f.Stat()
	if err != nil {
		return nil, Blob{}, errors.Join(fsx.Explain(err), f.Close())
	}
	b := Blob{Digest: digest, Size: st.Size(), Modified: st.ModTime()}
	r := &reader{store: s, file: f, name: name, sum: sha256.New()}
	if offset == 0 {
		return r, b, nil
	}
	if _, err := io.Copy(io.Discard, r); err != nil {
		return nil, Blob{}, errors.Join(err, f.Close())
	}
	if offset < 0 || offset > b.Size {
		return nil, Blob{}, errors.Join(spec.Errorf(spec.CodeInvalid, "artifact %s has %d bytes, none at %d", digest, b.Size, offset), f.Close())
	}
	if _, err := f.Seek(offset, io.SeekStart); err != nil {
		return nil, Blob{}, errors.Join(fsx.Explain(err), f.Close())
	}
	return f, b, nil
}

// reader hashes what it reads.
type reader struct {
	store *Store
	file  *os.File
	name  string
	sum   hash.Hash
}

func (r *reader) Read(p []byte) (int, error) {
	n, err := r.file.Read(p)
	r.sum.Write(p[:n])
	if err == nil {
		return n, nil
	}
	if errors.Is(err, io.EOF) && hex.EncodeToString(r.sum.Sum(nil)) == r.name {
		return n, io.EOF
	}
	r.store.setAside(r.name, r.file, err)
	return n, spec.Errorf(spec.CodeUnavailable, "artifact %s%s is damaged on this server's disk and was set aside: try again, or ask another server", algorithm, r.name)
}

func (r *reader) Close() error { return r.file.Close() }

// setAside takes a damaged blob out of the store, unless it is another file by
// now.
func (s *Store) setAside(name string, f *os.File, cause error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	mine, err := f.Stat()
	if err != nil {
		return
	}
	if now, err := os.Stat(s.path(name)); err != nil || !os.SameFile(mine, now) {
		return
	}
	err = fsx.Rename(s.path(name), filepath.Join(s.c.Dir, damagedDir, name))
	s.c.Logger.Error("artifact is damaged on disk; check the disk", "digest", algorithm+name, "read", cause, "set_aside", err)
	select {
	case s.damaged <- struct{}{}:
	default: // the keeper knows already
	}
}
