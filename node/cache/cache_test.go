package cache

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/iotest"
	"time"

	"dhow.dev/dhow/internal/fsx"
	"dhow.dev/dhow/proto/spec"
)

// source serves artifacts, and does with each request what the test says.
type source struct {
	mu      sync.Mutex
	content map[string][]byte
	asked   []string // "digest@offset"
	// serve changes what is sent; nil sends all.
	serve func(request int, rest []byte) (io.Reader, error)
}

func (s *source) add(content string) string {
	sum := sha256.Sum256([]byte(content))
	digest := "sha256:" + hex.EncodeToString(sum[:])
	if s.content == nil {
		s.content = map[string][]byte{}
	}
	s.content[digest] = []byte(content)
	return digest
}

func (s *source) fetch(_ context.Context, digest string, offset int64) (io.ReadCloser, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.asked = append(s.asked, fmt.Sprintf("%s@%d", digest[7:11], offset))
	b, ok := s.content[digest]
	if !ok {
		return nil, spec.Errorf(spec.CodeNotFound, "no artifact %s", digest)
	}
	if offset > int64(len(b)) {
		return nil, spec.Errorf(spec.CodeInvalid, "offset %d is beyond the end", offset)
	}
	if s.serve != nil {
		r, err := s.serve(len(s.asked), b[offset:])
		if err != nil {
			return nil, err
		}
		return io.NopCloser(r), nil
	}
	return io.NopCloser(bytes.NewReader(b[offset:])), nil
}

func (s *source) requests() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.asked)
}

type clock struct{ now time.Time }

func (c *clock) tick() time.Time { c.now = c.now.Add(time.Second); return c.now }

func open(t *testing.T, dir string, s *source, most int64) *Cache {
	t.Helper()
	c := clock{time.Unix(1_000_000_000, 0)}
	if s.content == nil {
		s.content = map[string][]byte{}
	}
	k, err := New(Config{Dir: dir, MaxBytes: most, Fetch: s.fetch, Now: c.tick})
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// use opens and releases an artifact, and returns its content.
func use(t *testing.T, k *Cache, digest string) string {
	t.Helper()
	path, release, err := k.Open(t.Context(), digest)
	if err != nil {
		t.Fatal(err)
	}
	defer release()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// files lists what is in the directory.
func files(t *testing.T, dir string) []string {
	t.Helper()
	all, err := filepath.Glob(filepath.Join(dir, "*", "*"))
	if err != nil {
		t.Fatal(err)
	}
	for n, f := range all {
		all[n], _ = filepath.Rel(dir, f)
	}
	return all
}

func TestFetchesOnce(t *testing.T) {
	dir, s := t.TempDir(), &source{}
	digest := s.add("cargo")
	k := open(t, dir, s, 0)
	if k.Has(digest) {
		t.Error("it is there before it was fetched")
	}
	for range 3 {
		if got := use(t, k, digest); got != "cargo" {
			t.Errorf("got %q", got)
		}
	}
	again := open(t, dir, s, 0) // after a restart
	if got := use(t, again, digest); got != "cargo" || !again.Has(digest) {
		t.Errorf("after a restart: %q", got)
	}
	if s.requests() != 1 {
		t.Errorf("it was fetched %v", s.asked)
	}
	if got := files(t, dir); len(got) != 1 || again.Bytes() != 5 {
		t.Errorf("on disk: %v, %d bytes", got, again.Bytes())
	}
}

func TestManyAskAtOnce(t *testing.T) {
	s := &source{}
	digest := s.add("cargo")
	gate := make(chan struct{})
	s.serve = func(_ int, rest []byte) (io.Reader, error) {
		return io.MultiReader(bytes.NewReader(rest), readerFunc(func([]byte) (int, error) { <-gate; return 0, io.EOF })), nil
	}
	k := open(t, t.TempDir(), s, 0)
	impatient, cancel := context.WithCancel(t.Context())
	left := make(chan error)
	go func() { _, _, err := k.Open(impatient, digest); left <- err }()
	results := make(chan error, 20)
	for range cap(results) {
		go func() {
			path, release, err := k.Open(t.Context(), digest)
			if err == nil {
				_, err = os.Stat(path)
				release()
			}
			results <- err
		}()
	}
	cancel()
	if err := <-left; !errors.Is(err, context.Canceled) {
		t.Errorf("the impatient one got %v", err)
	}
	close(gate)
	for range cap(results) {
		if err := <-results; err != nil {
			t.Error(err)
		}
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	for _, e := range k.entries {
		if e.held != 0 {
			t.Errorf("held %d times after the last release", e.held)
		}
	}
}

func TestResumes(t *testing.T) {
	broken := errors.New("connection reset")
	dir, s := t.TempDir(), &source{}
	digest := s.add(strings.Repeat("0123456789", 100))
	s.serve = func(request int, rest []byte) (io.Reader, error) {
		switch request {
		case 1: // brings something: it goes on at once
			return io.MultiReader(bytes.NewReader(rest[:300]), iotest.ErrReader(broken)), nil
		case 2:
			return io.MultiReader(bytes.NewReader(rest[:100]), iotest.ErrReader(broken)), nil
		case 3: // brings nothing: the caller is told
			return nil, broken
		}
		return bytes.NewReader(rest), nil
	}
	k := open(t, dir, s, 0)
	if _, _, err := k.Open(t.Context(), digest); !errors.Is(err, broken) {
		t.Fatalf("got %v", err)
	}
	if k.Has(digest) || k.Bytes() != 400 {
		t.Errorf("the partial one: Has %v, %d bytes", k.Has(digest), k.Bytes())
	}
	k = open(t, dir, s, 0) // the process ended
	if got := use(t, k, digest); len(got) != 1000 {
		t.Errorf("got %d bytes", len(got))
	}
	h := digest[7:11]
	if want := []string{h + "@0", h + "@300", h + "@400", h + "@400"}; !slices.Equal(s.asked, want) {
		t.Errorf("asked for %v, want %v", s.asked, want)
	}
	if got := files(t, dir); len(got) != 1 {
		t.Errorf("left on disk: %v", got)
	}
}

// TestCrashBeforeRename: all bytes came, and then the process ended.
func TestCrashBeforeRename(t *testing.T) {
	dir, s := t.TempDir(), &source{}
	digest := s.add("cargo")
	open(t, dir, s, 0)
	if err := os.WriteFile(filepath.Join(dir, "partial", digest[7:]), []byte("cargo"), 0o600); err != nil {
		t.Fatal(err)
	}
	if got := use(t, open(t, dir, s, 0), digest); got != "cargo" || s.requests() != 0 {
		t.Errorf("got %q with the requests %v", got, s.asked)
	}
}

func TestPartialOfSomethingElse(t *testing.T) {
	dir, s := t.TempDir(), &source{}
	digest := s.add("cargo")
	open(t, dir, s, 0)
	if err := os.WriteFile(filepath.Join(dir, "partial", digest[7:]), []byte("xx"), 0o600); err != nil {
		t.Fatal(err)
	}
	if got := use(t, open(t, dir, s, 0), digest); got != "cargo" || s.requests() != 2 {
		t.Errorf("got %q with the requests %v", got, s.asked)
	}
}

func TestWrongContent(t *testing.T) {
	dir, s := t.TempDir(), &source{}
	digest := s.add("cargo")
	s.content[digest] = []byte("contraband")
	k := open(t, dir, s, 0)
	_, _, err := k.Open(t.Context(), digest)
	if !errors.Is(err, errMismatch) || !strings.Contains(err.Error(), digest) {
		t.Errorf("got %v", err)
	}
	if got := files(t, dir); len(got) != 0 {
		t.Errorf("left on disk: %v", got)
	}
}

func TestChangedOnDisk(t *testing.T) {
	dir, s := t.TempDir(), &source{}
	digest := s.add("cargo")
	use(t, open(t, dir, s, 0), digest)
	if err := os.WriteFile(filepath.Join(dir, "sha256", digest[7:]), []byte("carg0"), 0o600); err != nil {
		t.Fatal(err)
	}
	if got := use(t, open(t, dir, s, 0), digest); got != "cargo" {
		t.Errorf("got %q", got)
	}
}

func TestEvictsTheLeastRecentlyUsed(t *testing.T) {
	dir, s := t.TempDir(), &source{}
	a, b, c := s.add("aaaa"), s.add("bbbb"), s.add("cccc")
	k := open(t, dir, s, 10)
	_, release, err := k.Open(t.Context(), a)
	if err != nil {
		t.Fatal(err)
	}
	use(t, k, b)
	use(t, k, c) // a is older and held: b has to go
	if !k.Has(a) || k.Has(b) || !k.Has(c) {
		t.Errorf("a %v, b %v, c %v", k.Has(a), k.Has(b), k.Has(c))
	}
	release()
	release()
	use(t, k, c)
	k = open(t, dir, s, 10) // the order is known after a restart too
	use(t, k, b)
	if k.Has(a) || !k.Has(b) || !k.Has(c) {
		t.Errorf("after a restart: a %v, b %v, c %v", k.Has(a), k.Has(b), k.Has(c))
	}
	if k = open(t, dir, s, 4); k.Bytes() > 4 {
		t.Errorf("a smaller bound leaves %d bytes", k.Bytes())
	}
}

func TestLargerThanTheBound(t *testing.T) {
	s := &source{}
	digest := s.add("cargo")
	k := open(t, t.TempDir(), s, 2)
	path, release, err := k.Open(t.Context(), digest)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(path); err != nil {
		t.Errorf("it is held, and gone: %v", err)
	}
	release()
	if k.Bytes() != 0 {
		t.Errorf("%d bytes are left", k.Bytes())
	}
}

// fullFile is on a disk with room for a few bytes.
type fullFile struct {
	partFile
	room *int
	err  error
}

func (f fullFile) Write(p []byte) (int, error) {
	if len(p) > *f.room {
		n, _ := f.partFile.Write(p[:*f.room])
		*f.room = 0
		return n, f.err
	}
	*f.room -= len(p)
	return f.partFile.Write(p)
}

func TestDiskFull(t *testing.T) {
	dir, s := t.TempDir(), &source{}
	old, digest := s.add("old"), s.add("cargo")
	k := open(t, dir, s, 0)
	use(t, k, old)
	room := 3
	k.openFile = func(path string) (partFile, error) {
		f, err := openPart(path)
		return fullFile{f, &room, &os.PathError{Op: "write", Path: path, Err: syscall.ENOSPC}}, err
	}
	_, _, err := k.Open(t.Context(), digest)
	if spec.CodeOf(err) != spec.CodeExhausted || !fsx.Full(err) || !strings.Contains(err.Error(), dir) || !strings.Contains(err.Error(), "no space left") {
		t.Errorf("got %v", err)
	}
	if got := files(t, dir); len(got) != 0 {
		t.Errorf("left on the full disk: %v", got)
	}
	k.openFile = openPart
	if got := use(t, k, digest); got != "cargo" {
		t.Errorf("with room again: %q", got)
	}
}

// TestDiskFullMakesRoom: what nobody holds gives way.
func TestDiskFullMakesRoom(t *testing.T) {
	dir, s := t.TempDir(), &source{}
	held, idle, digest := s.add("held"), s.add("idle"), s.add("cargo")
	k := open(t, dir, s, 0)
	_, release, err := k.Open(t.Context(), held)
	if err != nil {
		t.Fatal(err)
	}
	defer release()
	use(t, k, idle)
	k.openFile = func(path string) (partFile, error) {
		room := 3
		if !k.Has(idle) {
			room = 100
		}
		f, err := openPart(path)
		return fullFile{f, &room, syscall.ENOSPC}, err
	}
	if got := use(t, k, digest); got != "cargo" {
		t.Errorf("got %q", got)
	}
	if !k.Has(held) || k.Has(idle) {
		t.Errorf("held %v, idle %v", k.Has(held), k.Has(idle))
	}
}

// syncFails is a disk that loses what it took.
type syncFails struct{ partFile }

func (syncFails) Sync() error { return syscall.EIO }

func TestFailedSyncIsNotAnArtifact(t *testing.T) {
	dir, s := t.TempDir(), &source{}
	digest := s.add("cargo")
	k := open(t, dir, s, 0)
	k.openFile = func(path string) (partFile, error) {
		f, err := openPart(path)
		return syncFails{f}, err
	}
	if _, _, err := k.Open(t.Context(), digest); !errors.Is(err, syscall.EIO) || k.Has(digest) {
		t.Errorf("got %v, Has %v", err, k.Has(digest))
	}
}

func TestBadDigests(t *testing.T) {
	k := open(t, t.TempDir(), &source{}, 0)
	for _, d := range []string{"", "sha256:", "sha256:" + strings.Repeat("A", 64), "sha256:../../../../etc/passwd", "md5:" + strings.Repeat("0", 64), "sha256:" + strings.Repeat("0", 65)} {
		if _, _, err := k.Open(t.Context(), d); spec.CodeOf(err) != spec.CodeInvalid {
			t.Errorf("%q: %v", d, err)
		}
	}
	unknown := "sha256:" + strings.Repeat("0", 64)
	if _, _, err := k.Open(t.Context(), unknown); spec.CodeOf(err) != spec.CodeNotFound {
		t.Errorf("unknown: %v", err)
	}
	if got := files(t, k.c.Dir); len(got) != 0 {
		t.Errorf("left on disk: %v", got)
	}
}

func TestForeignFilesGo(t *testing.T) {
	dir, s := t.TempDir(), &source{}
	open(t, dir, s, 0)
	for _, f := range []string{"sha256/readme", "partial/x.tmp"} {
		if err := os.WriteFile(filepath.Join(dir, f), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	open(t, dir, s, 0)
	if got := files(t, dir); len(got) != 0 {
		t.Errorf("left: %v", got)
	}
}

type readerFunc func([]byte) (int, error)

func (f readerFunc) Read(p []byte) (int, error) { return f(p) }
