package registry

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"

	"dhow.dev/dhow/proto/spec"
)

func digestOf(content []byte) string {
	sum := sha256.Sum256(content)
	return algorithm + hex.EncodeToString(sum[:])
}

func open(t *testing.T, c Config) *Store {
	t.Helper()
	if c.Dir == "" {
		c.Dir = t.TempDir()
	}
	s, err := Open(c)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func put(s *Store, content []byte) error {
	w, err := s.Create(digestOf(content), int64(len(content)))
	if err != nil {
		return err
	}
	defer w.Close()
	if _, err := w.Write(content); err != nil {
		return err
	}
	_, err = w.Commit()
	return err
}

func get(s *Store, digest string, offset int64) ([]byte, error) {
	r, _, err := s.Reader(digest, offset)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	return io.ReadAll(r)
}

// files lists what lies in the store's directory.
func files(t *testing.T, s *Store) []string {
	t.Helper()
	var out []string
	err := filepath.WalkDir(s.c.Dir, func(path string, d os.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			rel, _ := filepath.Rel(s.c.Dir, path)
			out = append(out, rel)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func TestStoreKeepsBlobs(t *testing.T) {
	s := open(t, Config{})
	content := bytes.Repeat([]byte("dhow"), 1000)
	d := digestOf(content)
	if s.Has(d) {
		t.Error("has what was not stored")
	}
	for range 2 { // again is cheap and harmless
		if err := put(s, content); err != nil {
			t.Fatal(err)
		}
	}
	again := open(t, Config{Dir: s.c.Dir})
	for _, offset := range []int64{0, 1, 3999, 4000} {
		got, err := get(again, d, offset)
		if err != nil || !bytes.Equal(got, content[offset:]) {
			t.Errorf("from %d: %d bytes, %v", offset, len(got), err)
		}
	}
	if b, err := again.Stat(d); err != nil || b.Size != 4000 || b.Digest != d {
		t.Errorf("stat: %+v, %v", b, err)
	}
	if _, err := get(again, d, 4001); spec.CodeOf(err) != spec.CodeInvalid {
		t.Errorf("beyond the end: %v", err)
	}
	for range 2 {
		if err := again.Delete(d); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := get(again, d, 0); spec.CodeOf(err) != spec.CodeNotFound {
		t.Errorf("after delete: %v", err)
	}
}

func TestBadUploadsLeaveNothing(t *testing.T) {
	s := open(t, Config{MaxBlob: 100})
	content := []byte("some content")
	d := digestOf(content)
	write := func(digest string, size int64, parts ...string) error {
		w, err := s.Create(digest, size)
		if err != nil {
			return err
		}
		defer w.Close()
		for _, p := range parts {
			if _, err := w.Write([]byte(p)); err != nil {
				return err
			}
		}
		_, err = w.Commit()
		return err
	}
	for name, c := range map[string]struct {
		err  error
		code spec.Code
		text string
	}{
		"other content":       {write(d, 12, "SOME CONTENT"), spec.CodeInvalid, "what arrived has the digest"},
		"cut short":           {write(d, 12, "some "), spec.CodeInvalid, "5 bytes arrived of 12"},
		"cut short, unknown":  {write(d, -1, "some "), spec.CodeInvalid, "what arrived has the digest"},
		"too long":            {write(d, 12, "some content", "!"), spec.CodeInvalid, "more than the 12 bytes"},
		"announced too large": {write(d, 101, ""), spec.CodeExhausted, "at most 100"},
		"too large":           {write(d, -1, strings.Repeat("x", 60), strings.Repeat("x", 60)), spec.CodeExhausted, "at most 100"},
		"empty":               {write(digestOf(nil), 0), spec.CodeInvalid, "empty"},
		"empty, unknown":      {write(digestOf(nil), -1), spec.CodeInvalid, "empty"},
		"no digest":           {write("", -1, "x"), spec.CodeInvalid, "want sha256:"},
		"a path":              {write("sha256:../../../etc/passwd", -1, "x"), spec.CodeInvalid, "want sha256:"},
		"upper case":          {write(strings.ToUpper(d), -1, "x"), spec.CodeInvalid, "want sha256:"},
	} {
		if spec.CodeOf(c.err) != c.code || !strings.Contains(c.err.Error(), c.text) {
			t.Errorf("%s: %v", name, c.err)
		}
	}
	w, err := s.Create(d, 12)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write(content[:5]); err != nil {
		t.Fatal(err)
	}
	if s.Has(d) {
		t.Error("can be read before it is complete")
	}
	if err := w.Close(); err != nil { // the client went away
		t.Fatal(err)
	}
	if left := files(t, s); len(left) != 0 {
		t.Errorf("left behind: %v", left)
	}
}

func TestOpenRemovesHalfWritten(t *testing.T) {
	s := open(t, Config{})
	if err := put(s, []byte("whole")); err != nil {
		t.Fatal(err)
	}
	w, err := s.Create(digestOf([]byte("half")), 4)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write([]byte("ha")); err != nil {
		t.Fatal(err)
	}
	// The process dies here; another starts.
	again := open(t, Config{Dir: s.c.Dir})
	if left := files(t, again); len(left) != 1 || !again.Has(digestOf([]byte("whole"))) {
		t.Errorf("files: %v", left)
	}
}

func TestConcurrentUploadsOfTheSame(t *testing.T) {
	s := open(t, Config{})
	content := bytes.Repeat([]byte("x"), 100_000)
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			if err := put(s, content); err != nil {
				t.Error(err)
			}
			if got, err := get(s, digestOf(content), 0); err != nil || !bytes.Equal(got, content) {
				t.Errorf("read back %d bytes: %v", len(got), err)
			}
		})
	}
	wg.Wait()
	if left := files(t, s); len(left) != 1 {
		t.Errorf("files: %v", left)
	}
}

// brokenFS fails at one of its calls.
type brokenFS struct {
	osFS
	at  string
	err error
}

func (b brokenFS) Create(path string) (File, error) {
	if b.at == "create" {
		return nil, b.err
	}
	f, err := b.osFS.Create(path)
	return brokenFile{f, b}, err
}

func (b brokenFS) Rename(from, to string) error {
	if b.at == "rename" {
		return b.err
	}
	return b.osFS.Rename(from, to)
}

type brokenFile struct {
	File
	fs brokenFS
}

func (f brokenFile) Write(p []byte) (int, error) {
	if f.fs.at == "write" {
		n, _ := f.File.Write(p[:len(p)/2])
		return n, f.fs.err
	}
	return f.File.Write(p)
}

func (f brokenFile) Sync() error {
	if f.fs.at == "sync" {
		return f.fs.err
	}
	return f.File.Sync()
}

func (f brokenFile) Close() error {
	err := f.File.Close()
	if f.fs.at == "close" {
		return f.fs.err
	}
	return err
}

func TestDiskErrorsLeaveNothing(t *testing.T) {
	for _, at := range []string{"create", "write", "sync", "close", "rename"} {
		for cause, code := range map[error]spec.Code{syscall.ENOSPC: spec.CodeExhausted, syscall.EIO: spec.CodeInternal} {
			s := open(t, Config{FS: brokenFS{at: at, err: cause}})
			content := []byte("some content")
			err := put(s, content)
			if spec.CodeOf(err) != code || !errors.Is(err, cause) {
				t.Errorf("%s %v: %v", at, cause, err)
			}
			if left := files(t, s); len(left) != 0 || s.Has(digestOf(content)) {
				t.Errorf("%s %v: left behind: %v", at, cause, left)
			}
		}
	}
}

// A real disk that is really full.
func TestFullDisk(t *testing.T) {
	dir := t.TempDir()
	if os.Getuid() != 0 {
		t.Skip("needs root, to mount a small disk")
	}
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size=256k"); err != nil {
		t.Skipf("cannot mount a small disk here: %v", err)
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(dir, 0); err != nil {
			t.Error(err)
		}
	})
	s := open(t, Config{Dir: dir})
	small := bytes.Repeat([]byte("s"), 50_000)
	if err := put(s, small); err != nil {
		t.Fatal(err)
	}
	err := put(s, bytes.Repeat([]byte("L"), 400_000))
	if spec.CodeOf(err) != spec.CodeExhausted || !strings.Contains(err.Error(), "free some") {
		t.Errorf("got %v", err)
	}
	if left := files(t, s); len(left) != 1 {
		t.Errorf("left behind: %v", left)
	}
	if got, err := get(s, digestOf(small), 0); err != nil || !bytes.Equal(got, small) {
		t.Errorf("what was there before: %v", err)
	}
	if err := put(s, bytes.Repeat([]byte("t"), 50_000)); err != nil {
		t.Errorf("there is room again: %v", err)
	}
}

func TestDamagedBlobIsSetAside(t *testing.T) {
	content := bytes.Repeat([]byte("dhow"), 100_000)
	for name, damage := range map[string]func(path string) error{
		"flipped": func(path string) error {
			bad := bytes.Clone(content)
			bad[200_000] ^= 1
			return os.WriteFile(path, bad, 0o600)
		},
		"cut":   func(path string) error { return os.Truncate(path, 1000) },
		"empty": func(path string) error { return os.Truncate(path, 0) },
		"grown": func(path string) error { return os.WriteFile(path, append(bytes.Clone(content), 'x'), 0o600) },
	} {
		for _, offset := range []int64{0, 500} {
			s := open(t, Config{})
			if err := put(s, content); err != nil {
				t.Fatal(err)
			}
			d := digestOf(content)
			if err := damage(s.path(strings.TrimPrefix(d, algorithm))); err != nil {
				t.Fatal(err)
			}
			_, err := get(s, d, offset)
			if spec.CodeOf(err) != spec.CodeUnavailable || !strings.Contains(err.Error(), "damaged") {
				t.Errorf("%s from %d: %v", name, offset, err)
			}
			if s.Has(d) {
				t.Errorf("%s from %d: still there", name, offset)
			}
			if err := put(s, content); err != nil {
				t.Errorf("%s: stored anew: %v", name, err)
			}
		}
	}
}

func TestOpenSaysWhatIsWrong(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(Config{Dir: filepath.Join(file, "x")}); err == nil || !strings.Contains(err.Error(), file) {
		t.Errorf("a file in the way: %v", err)
	}
}

func FuzzDigest(f *testing.F) {
	f.Add("sha256:" + strings.Repeat("0", 64))
	f.Add("sha256:../" + strings.Repeat("0", 61))
	f.Fuzz(func(t *testing.T, s string) {
		name, err := hexOf(s)
		if err != nil {
			if spec.CodeOf(err) != spec.CodeInvalid {
				t.Errorf("%q: %v", s, err)
			}
			return
		}
		if filepath.Base(name) != name || algorithm+name != s {
			t.Errorf("%q became the file %q", s, name)
		}
	})
}
