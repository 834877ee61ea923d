package wasmrt

import (
	"bytes"
	"os"
	"testing"
)

func memoryFor(t *testing.T, size, limit uint64, i *image) *memory {
	t.Helper()
	m, err := newMemory(size, limit, i)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(m.release)
	return m
}

func imageWith(t *testing.T, size uint64, at uint64, content []byte) *image {
	t.Helper()
	i, err := newImage(size, func(b []byte) { copy(b[at:], content) })
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(i.close)
	return i
}

// TestImage: memory begins as the image is, is zero behind it, and what one
// guest writes no other sees.
func TestImage(t *testing.T) {
	const size = 4 * pageSize
	i := imageWith(t, 150_000, 70_001, bytes.Repeat([]byte{'x'}, 70_000))
	want := make([]byte, size)
	copy(want[70_001:], i.bytes[70_001:140_001])
	a, b := memoryFor(t, size, 1<<32, i), memoryFor(t, size, 1<<32, i)
	for n, m := range []*memory{a, b} {
		buf := m.Reallocate(size)
		if !bytes.Equal(buf, want) {
			t.Fatalf("guest %d does not begin with the image", n)
		}
		for k := range buf {
			buf[k] = byte(n) + 1
		}
	}
	if !bytes.Equal(i.bytes[70_001:140_001], want[70_001:140_001]) || i.bytes[0] != 0 {
		t.Error("a guest wrote into the image")
	}
}

// TestImageOfMemory: a copy has the same content, and no more than it needs.
func TestImageOfMemory(t *testing.T) {
	memory := make([]byte, 4*pageSize)
	if i, err := imageOf(memory); i != nil || err != nil {
		t.Errorf("zeros have an image: %v, %v", i, err)
	}
	copy(memory[100_000:], "content")
	i, err := imageOf(memory)
	if err != nil {
		t.Fatal(err)
	}
	defer i.close()
	if i.size >= 110_000 || !bytes.Equal(i.bytes, memory[:i.size]) {
		t.Errorf("the image of %d bytes is another", i.size)
	}
	if !bytes.Equal(i.page(24), memory[24*copyPage:25*copyPage]) || !bytes.Equal(i.page(60), zeros[:]) {
		t.Error("its pages are others")
	}
}

// TestImageIsKeptWhileHeld: the one who made it may close it first.
func TestImageIsKeptWhileHeld(t *testing.T) {
	i := imageWith(t, 10, 0, []byte("content"))
	i.hold()
	i.close()
	m := memoryFor(t, pageSize, pageSize, i)
	if got := m.Reallocate(pageSize); !bytes.HasPrefix(got, []byte("content")) {
		t.Error("it is gone")
	}
}

// TestMemoryMoves: what outgrows its room keeps what was written, in the image
// and behind it, and what is new is zero.
func TestMemoryMoves(t *testing.T) {
	const size = 4 * pageSize
	images := map[string]*image{"image": imageWith(t, pageSize, 0, []byte("content")), "full": imageWith(t, size, size-7, []byte("content")), "none": nil}
	for name, i := range images {
		m := memoryFor(t, size, 1<<32, i)
		buf := m.Reallocate(size)
		copy(buf, "first")
		copy(buf[size-4:], "last")
		before := bytes.Clone(buf)
		for _, grown := range []uint64{size + room, size + room + pageSize, 4 * room} {
			buf = m.Reallocate(grown)
			if uint64(len(buf)) != grown || !bytes.Equal(buf[:size], before) {
				t.Fatalf("%s: lost at %d bytes", name, grown)
			}
			if !bytes.Equal(buf[size:], make([]byte, grown-size)) {
				t.Fatalf("%s: not zero at %d bytes", name, grown)
			}
			buf[grown-1] = 0
		}
	}
}

// TestMemoryLimitBoundsTheRoom: no more is mapped than a guest may have.
func TestMemoryLimitBoundsTheRoom(t *testing.T) {
	m := memoryFor(t, pageSize, 2*pageSize, nil)
	if n := len(m.m.buf); n > 2*pageSize {
		t.Errorf("%d bytes are mapped", n)
	}
	if m.Reallocate(3*pageSize) != nil || !m.refused.Load() {
		t.Error("more than the limit was given")
	}
}

// areasOf counts the process's areas of memory.
func areasOf(t *testing.T) int {
	t.Helper()
	b, err := os.ReadFile("/proc/self/maps")
	if err != nil {
		t.Skip("no areas on this system")
	}
	return bytes.Count(b, []byte("\n"))
}

// TestGuestTakesTwoAreas: also after it grew, as their number is bounded.
func TestGuestTakesTwoAreas(t *testing.T) {
	const number = 200
	i := imageWith(t, pageSize, 0, []byte("content"))
	before := areasOf(t)
	all := make([]*memory, number)
	for n := range all {
		all[n] = memoryFor(t, 2*pageSize, 1<<32, i)
		all[n].Reallocate(2 * pageSize)[0] = 1
	}
	if n := areasOf(t) - before; n > number*5/2 {
		t.Errorf("%d guests take %d areas", number, n)
	}
	for _, m := range all {
		m.Reallocate(2 * room)
	}
	if n := areasOf(t) - before; n > number*5/2 {
		t.Errorf("%d guests that grew take %d areas", number, n)
	}
	for _, m := range all {
		m.release()
	}
	if n := areasOf(t) - before; n > number/10 {
		t.Errorf("%d areas are left", n)
	}
}
