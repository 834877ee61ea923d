package wasmbin_test

import (
	"errors"
	"math"
	"slices"
	"testing"

	"dhow.dev/dhow/wasmrt/internal/wasmbin"
)

func TestNumbersAreReadAsTheyAreWritten(t *testing.T) {
	t.Parallel()
	for _, v := range []int64{0, 1, -1, 63, 64, -64, -65, math.MaxInt32, math.MinInt32, math.MaxInt64, math.MinInt64} {
		r := wasmbin.Reader{B: wasmbin.AppendS64(nil, v)}
		if got := r.S64(); got != v || r.Err() != nil || r.More() {
			t.Errorf("%d was read as %d: %v", v, got, r.Err())
		}
		r = wasmbin.Reader{B: wasmbin.AppendS64(nil, v)}
		if got := r.S32(); (int64(got) == v) != (r.Err() == nil) || r.Err() == nil && int64(int32(v)) != v {
			t.Errorf("%d was read as %d of 32 bits: %v", v, got, r.Err())
		}
	}
	for _, v := range []uint32{0, 127, 128, math.MaxUint32} {
		r := wasmbin.Reader{B: wasmbin.AppendU32(nil, v)}
		if got := r.U32(); got != v || r.Err() != nil || r.More() {
			t.Errorf("%d was read as %d: %v", v, got, r.Err())
		}
	}
	for _, long := range []string{"\xff\xff\xff\xff\x1f", "\x80\x80\x80\x80\x80\x00", "\x80"} {
		r := wasmbin.Reader{B: []byte(long)}
		if v := r.U32(); r.Err() == nil {
			t.Errorf("%q was read as %d", long, v)
		}
	}
}

func TestSectionsAreInOrder(t *testing.T) {
	t.Parallel()
	module := func(ids ...byte) []byte {
		b := []byte(wasmbin.Header)
		for _, id := range ids {
			b = wasmbin.AppendSection(b, id, []byte{0})
		}
		return b
	}
	good := []byte{
		wasmbin.Type, wasmbin.Custom, wasmbin.Import, wasmbin.Function, wasmbin.Table, wasmbin.Memory, wasmbin.Tag, wasmbin.Global,
		wasmbin.Export, wasmbin.Start, wasmbin.Element, wasmbin.DataCount, wasmbin.Code, wasmbin.Data, wasmbin.Custom,
	}
	sections, err := wasmbin.Sections(module(good...))
	if err != nil {
		t.Fatal(err)
	}
	for n, s := range sections {
		if s.ID != good[n] || !slices.Equal(s.Body, []byte{0}) {
			t.Errorf("section %d is %d %q", n, s.ID, s.Body)
		}
	}
	for _, bad := range [][]byte{{wasmbin.Code, wasmbin.DataCount}, {wasmbin.Type, wasmbin.Type}, {14}} {
		if _, err := wasmbin.Sections(module(bad...)); err == nil {
			t.Errorf("sections %d are taken", bad)
		}
	}
	if _, err := wasmbin.Sections([]byte("\x00asm\x0d\x00\x01\x00")); !errors.Is(err, wasmbin.ErrNotCore) {
		t.Errorf("a component: %v", err)
	}
}

// FuzzReader reads bytes as all that there is. It goes on, never back, and
// never past the end.
func FuzzReader(f *testing.F) {
	f.Add([]byte("\x02\x40\x03\x7f\x41\x80\x01\x0e\x01\x00\x01\xfc\x08\x00\x00\xfd\x0c0123456789abcdef\x0b"))
	f.Fuzz(func(t *testing.T, b []byte) {
		for _, read := range []func(*wasmbin.Reader){
			func(r *wasmbin.Reader) { var i wasmbin.Instr; r.Instr(&i) },
			func(r *wasmbin.Reader) { r.Import() },
			func(r *wasmbin.Reader) { r.Export() },
			func(r *wasmbin.Reader) { r.Signature() },
			func(r *wasmbin.Reader) { r.SkipExpr(func(*wasmbin.Instr) {}) },
		} {
			r := wasmbin.Reader{B: b}
			for r.More() {
				before := r.At
				if read(&r); r.At <= before && r.Err() == nil || r.At > len(b) {
					t.Fatalf("it went from %d to %d of %d", before, r.At, len(b))
				}
			}
		}
	})
}
