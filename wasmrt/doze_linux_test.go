package wasmrt

import (
	"bytes"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"testing"

	"dhow.dev/dhow/wasmrt/wasmtest"
)

// TestDoze: a memory that dozes holds no page, and has after it, byte for byte,
// what it had before, be it over an image or not, and wherever it has moved.
func TestDoze(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2)) //nolint:gosec // a test's
	i, err := newImage(3*copyPage, func(b []byte) {
		for n := range b {
			b[n] = byte(random.Uint32())
		}
	})
	if err != nil {
		t.Skip(err)
	}
	defer i.close()
	for _, image := range []*image{nil, i} {
		m, err := newMemory(pageSize, 1<<30, image)
		if err != nil {
			t.Fatal(err)
		}
		for _, size := range []uint64{pageSize, 4 * pageSize, 2 * room} {
			b := m.Reallocate(size)[:min(size, dozeMost/2)]
			m.size.Store(uint64(len(b)))
			for range 20 {
				b[random.IntN(len(b))] = byte(random.Uint32())
				b[random.IntN(4*copyPage)] = byte(random.Uint32())
			}
			clear(b[copyPage : copyPage+100]) // of the image's too
			want := slices.Clone(b)
			own := len(m.m.own(len(b)))
			if own == 0 {
				t.Skip("the system does not tell which pages are there")
			}
			m.doze()
			if left := m.m.own(len(b)); len(left) > 0 {
				t.Errorf("%d of %d pages are left", len(left), own)
			}
			if len(m.apart) > own*copyPage/2 {
				t.Errorf("%d bytes are kept of %d pages", len(m.apart), own)
			}
			m.wake()
			if !bytes.Equal(b, want) {
				t.Fatalf("%d bytes with an image (%v) are not as they were", size, image != nil)
			}
		}
		m.release()
	}
	if i.more.Load() != 0 {
		t.Errorf("%d memories hold the image", i.more.Load())
	}
}

// TestDozeOfFullPages: pages that would have to be kept whole stay.
func TestDozeOfFullPages(t *testing.T) {
	m, err := newMemory(pageSize, pageSize, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer m.release()
	b := m.Reallocate(pageSize)
	for n := range b {
		b[n] = 1
	}
	if m.doze(); m.apart != nil {
		t.Errorf("%d bytes are kept apart", len(m.apart))
	}
}

// TestDozeOfGuests: guests that sleep long go on as if nothing had been.
func TestDozeOfGuests(t *testing.T) {
	e, err := NewEngine(t.Context(), Options{CacheDir: wasmtest.CodeDir(t)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = e.Close() })
	for _, source := range []string{"c/probe.c", "go/probe.go"} {
		t.Run(source, func(t *testing.T) {
			t.Parallel()
			m, err := e.CompileFile(t.Context(), wasmtest.Guest(t, source))
			if err != nil {
				t.Fatal(err)
			}
			defer m.Close()
			var out bytes.Buffer
			exit, err := m.Run(t.Context(), Config{Args: []string{"probe", "sleep", "1200"}, Stdout: &out})
			if err != nil || exit.Reason != ExitedReason || exit.Code != 0 {
				t.Fatalf("%+v, %v", exit, err)
			}
			words := strings.Fields(out.String())
			if len(words) != 2 || words[0] != "sleeping" {
				t.Fatalf("%q", out.String())
			}
			if ms, err := strconv.Atoi(words[1]); err != nil || ms < 1200 {
				t.Errorf("it slept %q ms", words[1])
			}
		})
	}
}
