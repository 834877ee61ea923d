package replica

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"hash"
	"io"
	"os"
	"path/filepath"
	"strings"
)

// An archive is a flat directory as a stream whose length is known before it
// is read: the magic, the number of files, for each its name and size, then
// their contents, then the SHA-256 of all that.
const archiveMagic = "dhow snapshot 1\n"

const (
	maxArchiveFiles = 1 << 20
	maxArchiveName  = 255
)

type archiveFile struct {
	name string
	size int64
}

func listArchive(dir string) (files []archiveFile, size int64, err error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, 0, err
	}
	for _, e := range entries {
		i, err := e.Info()
		if err != nil {
			return nil, 0, err
		}
		if !i.Mode().IsRegular() {
			return nil, 0, fmt.Errorf("%s is no regular file", e.Name())
		}
		files = append(files, archiveFile{e.Name(), i.Size()})
		size += i.Size()
	}
	return files, size + int64(len(archiveHead(files))) + sha256.Size, nil
}

func archiveHead(files []archiveFile) []byte {
	b := []byte(archiveMagic)
	b = binary.AppendUvarint(b, uint64(len(files)))
	for _, f := range files {
		b = binary.AppendUvarint(b, uint64(len(f.name)))
		b = append(b, f.name...)
		b = binary.AppendUvarint(b, uint64(f.size))
	}
	return b
}

// archiveReader streams a directory.
type archiveReader struct {
	dir   string
	files []archiveFile
	sum   hash.Hash
	cur   io.Reader
	open  *os.File
	ended bool
}

func newArchiveReader(dir string) (*archiveReader, int64, error) {
	files, size, err := listArchive(dir)
	if err != nil {
		return nil, 0, err
	}
	return &archiveReader{dir: dir, files: files, sum: sha256.New(), cur: bytes.NewReader(archiveHead(files))}, size, nil
}

// Read streams.
func (a *archiveReader) Read(p []byte) (int, error) {
	for {
		n, err := a.cur.Read(p)
		if n > 0 {
			if !a.ended {
				a.sum.Write(p[:n])
			}
			return n, nil
		}
		if err == nil {
			continue
		}
		if !errors.Is(err, io.EOF) || a.ended {
			return 0, err
		}
		if err := a.next(); err != nil {
			return 0, err
		}
	}
}

func (a *archiveReader) next() error {
	if err := a.Close(); err != nil {
		return err
	}
	if len(a.files) == 0 {
		a.ended = true
		a.cur = bytes.NewReader(a.sum.Sum(nil))
		return nil
	}
	f, err := os.Open(filepath.Join(a.dir, a.files[0].name))
	if err != nil {
		return err
	}
	a.open, a.cur = f, io.LimitReader(f, a.files[0].size)
	a.files = a.files[1:]
	return nil
}

// Close closes the file being read.
func (a *archiveReader) Close() error {
	if a.open == nil {
		return nil
	}
	f := a.open
	a.open = nil
	return f.Close()
}

// extract writes an archive's files into the directory, synced, and fails on
// one that is cut off, changed or names files elsewhere.
func extract(r io.Reader, dir string) error {
	sum := sha256.New()
	in := &byteReader{r: io.TeeReader(r, sum)}
	files, err := readHead(in)
	if err != nil {
		return fmt.Errorf("snapshot: %w", err)
	}
	for _, f := range files {
		if err := extractFile(in, filepath.Join(dir, f.name), f.size); err != nil {
			return fmt.Errorf("snapshot: %s: %w", f.name, err)
		}
	}
	want := sum.Sum(nil)
	got := make([]byte, sha256.Size)
	if _, err := io.ReadFull(r, got); err != nil {
		return fmt.Errorf("snapshot: cut off before its checksum: %w", err)
	}
	if !bytes.Equal(got, want) {
		return errors.New("snapshot: was damaged on its way: its checksum differs")
	}
	return syncDir(dir)
}

// byteReader reads single bytes without reading ahead.
type byteReader struct {
	r io.Reader
	b [1]byte
}

// Read reads.
func (b *byteReader) Read(p []byte) (int, error) { return b.r.Read(p) }

// ReadByte reads one.
func (b *byteReader) ReadByte() (byte, error) {
	_, err := io.ReadFull(b.r, b.b[:])
	return b.b[0], err
}

func readHead(in *byteReader) ([]archiveFile, error) {
	magic := make([]byte, len(archiveMagic))
	if _, err := io.ReadFull(in, magic); err != nil || string(magic) != archiveMagic {
		return nil, errors.New("is none, or of another version")
	}
	n, err := binary.ReadUvarint(in)
	if err != nil || n > maxArchiveFiles {
		return nil, fmt.Errorf("its list of files is broken (%d files, %w)", n, err)
	}
	var files []archiveFile
	for range n {
		l, err := binary.ReadUvarint(in)
		if err != nil || l == 0 || l > maxArchiveName {
			return nil, fmt.Errorf("a file name is broken (%d bytes, %w)", l, err)
		}
		name := make([]byte, l)
		if _, err := io.ReadFull(in, name); err != nil {
			return nil, err
		}
		size, err := binary.ReadUvarint(in)
		if err != nil || size > 1<<62 {
			return nil, fmt.Errorf("a file's size is broken (%d, %w)", size, err)
		}
		f := archiveFile{string(name), int64(size)}
		if f.name == "." || f.name == ".." || strings.ContainsAny(f.name, "/\\\x00") {
			return nil, fmt.Errorf("it has a file called %q", f.name)
		}
		files = append(files, f)
	}
	return files, nil
}

func extractFile(in io.Reader, path string, size int64) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	n, err := io.Copy(f, io.LimitReader(in, size))
	if err == nil && n != size {
		err = fmt.Errorf("cut off after %d of %d bytes", n, size)
	}
	if err == nil {
		err = f.Sync()
	}
	return errors.Join(err, f.Close())
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
