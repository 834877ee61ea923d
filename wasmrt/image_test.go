package wasmrt

import (
	"bytes"
	"testing"

	"dhow.dev/dhow/wasmrt/wasmtest"
)

func open(t *testing.T, size, limit uint64, i *image) *memory {
	t.Helper()
	m, err := newMemory(size, limit, i)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(m.release)
	return m
}

func fill(n int, b byte) []byte { return bytes.Repeat([]byte{b}, n) }

// TestImage: memory begins as the segments say, is zero behind them, and what
// one guest writes no other sees.
func TestImage(t *testing.T) {
	const size = 4 * pageSize
	large, small := dataSegment{70_001, fill(largeSegment+5, 'x')}, dataSegment{200_000, fill(100, 'y')}
	module := data(large, small)
	without, i := imageOf(module, size)
	if i == nil {
		t.Skip("no images on this system")
	}
	defer i.close()
	if left := segmentsOf(t, without); len(left) != 1 || left[0].at != small.at {
		t.Fatalf("%d segments are left in the module", len(left))
	}
	want := append(memoryOf([]dataSegment{large}), make([]byte, size-int(large.end()))...)
	a, b := open(t, size, 1<<32, i), open(t, size, 1<<32, i)
	for n, m := range []*memory{a, b} {
		buf := m.Reallocate(size)
		if !bytes.Equal(buf, want) {
			t.Fatalf("guest %d does not begin with the image", n)
		}
		clear(buf)
	}
}

// TestMemoryMoves: what outgrows its room keeps what was written, in the image
// and behind it, and what is new is zero.
func TestMemoryMoves(t *testing.T) {
	const size = 4 * pageSize
	segment := dataSegment{0, fill(largeSegment, 'x')}
	_, i := imageOf(data(segment), size)
	defer i.close()
	for name, i := range map[string]*image{"image": i, "none": nil} {
		m := open(t, size, 1<<32, i)
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
	m := open(t, pageSize, 2*pageSize, nil)
	if n := len(m.m.buf); n > 2*pageSize {
		t.Errorf("%d bytes are mapped", n)
	}
	if m.Reallocate(3*pageSize) != nil || !m.refused.Load() {
		t.Error("more than the limit was given")
	}
}

// TestImageLeavesToTheEngine what does not fit the memory.
func TestImageLeavesToTheEngine(t *testing.T) {
	module := data(dataSegment{pageSize, fill(largeSegment, 'x')})
	without, i := imageOf(module, pageSize)
	if i != nil || !bytes.Equal(without, module) {
		t.Error("a segment beyond the memory left the module")
	}
}

// TestImageOfARealGuest: this is what it is for.
func TestImageOfARealGuest(t *testing.T) {
	wasm := wasmtest.Bytes(t, "go/probe.go")
	o, err := inspect(wasm)
	if err != nil {
		t.Fatal(err)
	}
	size := o.minPages * pageSize
	without, i := imageOf(wasm, size)
	if i == nil {
		t.Skip("no images on this system")
	}
	defer i.close()
	m := open(t, size, 1<<32, i)
	buf := m.Reallocate(size)
	left := 0
	for _, s := range segmentsOf(t, without) {
		copy(buf[s.at:], s.bytes)
		left += len(s.bytes)
	}
	want := memoryOf(segmentsOf(t, wasm))
	if !bytes.Equal(buf[:len(want)], want) {
		t.Error("the guest begins with another memory")
	}
	if left > len(want)/10 {
		t.Errorf("%d of %d bytes are left in the module", left, len(want))
	}
}
