package host

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
)

// eachStore runs a test on each implementation.
func eachStore(t *testing.T, l StoreLimits, f func(t *testing.T, s Store)) {
	t.Helper()
	t.Run("memory", func(t *testing.T) { f(t, NewMemory(l)) })
	t.Run("file", func(t *testing.T) { f(t, openFile(t, filepath.Join(t.TempDir(), "kv"), l)) })
}

func openFile(t *testing.T, path string, l StoreLimits) *File {
	t.Helper()
	s, err := OpenFile(path, l)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s
}

func TestStore(t *testing.T) {
	eachStore(t, StoreLimits{}, func(t *testing.T, s Store) {
		ctx := t.Context()
		if _, err := s.Get(ctx, "k"); !errors.Is(err, ErrNotFound) {
			t.Errorf("an unknown key: %v", err)
		}
		value := []byte("value")
		for _, err := range []error{s.Set(ctx, "k", value), s.Set(ctx, "empty", nil), s.Delete(ctx, "unknown")} {
			if err != nil {
				t.Error(err)
			}
		}
		value[0] = 'X'
		if v, err := s.Get(ctx, "k"); err != nil || string(v) != "value" {
			t.Errorf("got %q, %v", v, err)
		}
		if v, err := s.Get(ctx, "empty"); err != nil || len(v) != 0 {
			t.Errorf("an empty value: %q, %v", v, err)
		}
		if err := s.Delete(ctx, "k"); err != nil {
			t.Error(err)
		}
		if _, err := s.Get(ctx, "k"); !errors.Is(err, ErrNotFound) {
			t.Errorf("a deleted key: %v", err)
		}
	})
}

func TestStoreLists(t *testing.T) {
	eachStore(t, StoreLimits{}, func(t *testing.T, s Store) {
		for _, key := range []string{"b/2", "a", "b/1", "b", "c", "b/3"} {
			if err := s.Set(t.Context(), key, nil); err != nil {
				t.Fatal(err)
			}
		}
		for _, c := range []struct {
			prefix, after string
			limit         int
			want          string
		}{
			{"", "", 10, "a b b/1 b/2 b/3 c"},
			{"", "", 2, "a b"},
			{"b", "", 10, "b b/1 b/2 b/3"},
			{"b/", "", 10, "b/1 b/2 b/3"},
			{"b/", "b/1", 1, "b/2"},
			{"b", "b", 10, "b/1 b/2 b/3"},
			{"b/", "z", 10, ""},
			{"b/", "a", 10, "b/1 b/2 b/3"},
			{"x", "", 10, ""},
			{"", "c", 10, ""},
		} {
			got, err := s.List(t.Context(), c.prefix, c.after, c.limit)
			if err != nil || strings.Join(got, " ") != c.want {
				t.Errorf("%+v: got %q, %v", c, got, err)
			}
		}
	})
}

func TestStoreAdds(t *testing.T) {
	eachStore(t, StoreLimits{}, func(t *testing.T, s Store) {
		var wg sync.WaitGroup
		for range 20 {
			wg.Go(func() {
				for range 10 {
					if _, err := s.Add(t.Context(), "n", 1); err != nil {
						t.Error(err)
					}
				}
			})
		}
		wg.Wait()
		if n, err := s.Add(t.Context(), "n", 0); err != nil || n != 200 {
			t.Errorf("200 additions make %d, %v", n, err)
		}
		if _, err := s.Add(t.Context(), "n", 1<<63-1); !errors.Is(err, ErrInvalid) {
			t.Errorf("too large a sum: %v", err)
		}
		if err := s.Set(t.Context(), "text", []byte("1x")); err != nil {
			t.Fatal(err)
		}
		if _, err := s.Add(t.Context(), "text", 1); !errors.Is(err, ErrInvalid) {
			t.Errorf("no number: %v", err)
		}
	})
}

func TestStoreIsBounded(t *testing.T) {
	eachStore(t, StoreLimits{Bytes: 10 * (perKey + 11), Key: 5, Value: 100}, func(t *testing.T, s Store) {
		ctx := t.Context()
		if err := s.Set(ctx, "123456", nil); !errors.Is(err, ErrTooLarge) {
			t.Errorf("a long key: %v", err)
		}
		if err := s.Set(ctx, "k", make([]byte, 101)); !errors.Is(err, ErrTooLarge) {
			t.Errorf("a long value: %v", err)
		}
		for n := range 10 {
			if err := s.Set(ctx, fmt.Sprint(n), make([]byte, 10)); err != nil {
				t.Fatal(n, err)
			}
		}
		for range 3 {
			if err := s.Set(ctx, "x", nil); !errors.Is(err, ErrTooLarge) {
				t.Errorf("a full store: %v", err)
			}
			if err := s.Set(ctx, "1", make([]byte, 10)); err != nil {
				t.Errorf("replacing in a full store: %v", err)
			}
		}
		if _, err := s.Add(ctx, "new", 1); !errors.Is(err, ErrTooLarge) {
			t.Errorf("a number in a full store: %v", err)
		}
		if err := errors.Join(s.Delete(ctx, "1"), s.Set(ctx, "x", nil)); err != nil {
			t.Errorf("after a deletion: %v", err)
		}
	})
}

func contents(t *testing.T, s Store) map[string]string {
	t.Helper()
	keys, err := s.List(context.Background(), "", "", 1<<20)
	if err != nil {
		t.Fatal(err)
	}
	out := map[string]string{}
	for _, key := range keys {
		v, err := s.Get(context.Background(), key)
		if err != nil {
			t.Fatal(err)
		}
		out[key] = string(v)
	}
	return out
}

// TestFileSurvives: what was set is there after a restart, and what a crash
// left half written is not.
func TestFileSurvives(t *testing.T) {
	path := filepath.Join(t.TempDir(), "kv")
	s := openFile(t, path, StoreLimits{})
	states := map[int64]map[string]string{s.appended: {}} // by the log's length
	for n := range 20 {
		var err error
		switch key := fmt.Sprint("key ", n%5); n % 4 {
		case 3:
			err = s.Delete(t.Context(), key)
		case 2:
			_, err = s.Add(t.Context(), "sum", int64(n))
		default:
			err = s.Set(t.Context(), key, bytes.Repeat([]byte{byte(n)}, n*3))
		}
		if err != nil {
			t.Fatal(err)
		}
		states[s.appended] = contents(t, s)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if err := s.Set(t.Context(), "k", nil); !errors.Is(err, os.ErrClosed) {
		t.Errorf("setting in a closed store: %v", err)
	}
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for n := range len(whole) + 1 {
		if err := os.WriteFile(path, whole[:n], 0o600); err != nil {
			t.Fatal(err)
		}
		s, err := OpenFile(path, StoreLimits{})
		if err != nil {
			t.Fatalf("cut off after %d bytes: %v", n, err)
		}
		last := slices.Max(append(slices.DeleteFunc(slices.Collect(maps.Keys(states)), func(at int64) bool { return at > int64(n) }), 0))
		if got := contents(t, s); !maps.Equal(got, states[last]) {
			t.Fatalf("cut off after %d bytes: %q, want %q", n, got, states[last])
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

// TestFileNoticesDamage: bytes that changed on the disk are not taken for
// values, and what comes after them is kept aside.
func TestFileNoticesDamage(t *testing.T) {
	path := filepath.Join(t.TempDir(), "kv")
	s := openFile(t, path, StoreLimits{})
	var ends []int64
	for _, key := range []string{"one", "two", "three"} {
		if err := s.Set(t.Context(), key, []byte(key)); err != nil {
			t.Fatal(err)
		}
		ends = append(ends, s.appended)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	b[ends[1]-1] ^= 1 // the last byte of the second value
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
	s = openFile(t, path, StoreLimits{})
	if got := contents(t, s); len(got) != 1 || got["one"] != "one" {
		t.Errorf("found %q", got)
	}
	if rest, err := os.ReadFile(path + ".damaged"); err != nil || !bytes.Equal(rest, b[ends[0]:]) || s.Dropped() != int64(len(rest)) {
		t.Errorf("kept %q aside, dropped %d, %v", rest, s.Dropped(), err)
	}
	other := filepath.Join(t.TempDir(), "other")
	if err := os.WriteFile(other, []byte("#!/bin/sh\necho precious\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := OpenFile(other, StoreLimits{}); err == nil {
		t.Error("another kind of file was opened")
	}
}

// TestFileStaysSmall: the log is written anew when most of it is old.
func TestFileStaysSmall(t *testing.T) {
	path := filepath.Join(t.TempDir(), "kv")
	s := openFile(t, path, StoreLimits{})
	value := bytes.Repeat([]byte("x"), 1<<18)
	for n := range 40 { // 10 MiB
		if err := s.Set(t.Context(), fmt.Sprint(n%2), value); err != nil {
			t.Fatal(err)
		}
	}
	info, err := os.Stat(path)
	if err != nil || info.Size() > 3<<20 {
		t.Errorf("the file has %d bytes, %v", info.Size(), err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if got := contents(t, openFile(t, path, StoreLimits{})); len(got) != 2 || got["1"] != string(value) {
		t.Errorf("%d values after compaction", len(got))
	}
}

func TestFileHasOneOwner(t *testing.T) {
	path := filepath.Join(t.TempDir(), "kv")
	s := openFile(t, path, StoreLimits{})
	if _, err := OpenFile(path, StoreLimits{}); err == nil {
		t.Error("it was opened twice")
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	openFile(t, path, StoreLimits{})
}

func FuzzReplay(f *testing.F) {
	log := appendRecord(nil, recordSet, "key", []byte("value"))
	f.Add(appendRecord(log, recordDeleted, "key", nil))
	f.Add(log[:len(log)-1])
	f.Fuzz(func(t *testing.T, b []byte) {
		var again []byte
		whole, _ := replay(b, func(kind byte, key string, value []byte) { again = appendRecord(again, kind, key, value) })
		if !bytes.Equal(again, b[:whole]) {
			t.Errorf("%d bytes were read as %d others", whole, len(again))
		}
	})
}
