package wasmrt

import (
	"cmp"
	"encoding/binary"
	"slices"
)

// Go's linker writes a data segment for each run of bytes between zeros: some
// 36,000 of them for a small program. Each costs wazero a constant expression
// at every start and 24 bytes of heap in every instance, together a third of
// the start and a megabyte. mergeData joins neighbours, zeros between them
// included: three are left. Of these the large ones, nearly all bytes, leave the
// module and become an image, see image.go.

// maxGap is how many zeros may be between two segments that are joined. It is
// small against a page, so that memory which the guest never had is not
// touched.
const maxGap = 256

const (
	sectionData      = 11
	sectionDataCount = 12

	opI32Const = 0x41
	opEnd      = 0x0b
)

// dataSegment is an active one: bytes at an address of memory 0.
type dataSegment struct {
	at    uint64
	bytes []byte
}

func (s dataSegment) end() uint64 { return s.at + uint64(len(s.bytes)) }

// mergeData returns the module with fewer data segments. It starts with the
// same memory once take's segments are put there: those that take says it took
// are left out. What mergeData does not understand it returns as it is: the
// engine judges it.
func mergeData(wasm []byte, take func(dataSegment) bool) []byte {
	start, body, end := findData(wasm)
	segments, ok := readSegments(wasm[body:end])
	if !ok {
		return wasm
	}
	merged := slices.DeleteFunc(joinSegments(segments), take)
	if len(merged) == len(segments) {
		return wasm
	}
	return replaceData(wasm, start, end, merged)
}

// findData finds the data section, and its body. They are empty if there is
// none, or if instructions may name segments.
func findData(wasm []byte) (start, body, end int) {
	r := reader{b: wasm, at: 8}
	for r.at < len(wasm) {
		start := r.at
		id := r.byte()
		size := uint64(r.u32())
		if r.err != nil || size > uint64(len(wasm)-r.at) || id == sectionDataCount {
			break
		}
		body, r.at = r.at, r.at+int(size)
		if id == sectionData {
			return start, body, r.at
		}
	}
	return 0, 0, 0
}

// replaceData puts segments where the data section is.
func replaceData(wasm []byte, start, end int, merged []dataSegment) []byte {
	content := binary.AppendUvarint(nil, uint64(len(merged)))
	for _, s := range merged {
		content = append(content, 0, opI32Const)
		content = appendS32(content, int32(uint32(s.at))) //nolint:gosec // an address is an i32
		content = append(content, opEnd)
		content = binary.AppendUvarint(content, uint64(len(s.bytes)))
		content = append(content, s.bytes...)
	}
	out := make([]byte, 0, start+len(content)+len(wasm)-end+8)
	out = append(out, wasm[:start]...)
	out = append(out, sectionData)
	out = binary.AppendUvarint(out, uint64(len(content)))
	out = append(out, content...)
	return append(out, wasm[end:]...)
}

// readSegments reads a data section and sorts it by address. It is false for
// one with passive segments, with computed addresses, or with segments that
// overlap: only where none do is their order of no effect, and what lies
// between them zero.
func readSegments(b []byte) ([]dataSegment, bool) {
	if len(b) == 0 {
		return nil, false
	}
	r := reader{b: b}
	n := r.u32()
	var all []dataSegment
	for range n {
		flag, op := r.byte(), r.byte()
		at := uint64(uint32(r.s32())) //nolint:gosec // an address is an i32
		last := r.byte()
		size := uint64(r.u32())
		if r.err != nil || flag != 0 || op != opI32Const || last != opEnd || size > uint64(len(b)-r.at) {
			return nil, false
		}
		all = append(all, dataSegment{at, b[r.at : r.at+int(size)]})
		r.at += int(size)
	}
	slices.SortStableFunc(all, func(a, b dataSegment) int { return cmp.Compare(a.at, b.at) })
	for n := 1; n < len(all); n++ {
		if all[n].at < all[n-1].end() {
			return nil, false
		}
	}
	return all, r.at == len(b)
}

func joinSegments(segments []dataSegment) []dataSegment {
	var merged []dataSegment
	for _, s := range segments {
		if n := len(merged) - 1; n >= 0 {
			last := &merged[n]
			if gap := s.at - last.end(); gap <= maxGap {
				last.bytes = append(last.bytes, make([]byte, gap)...)
				last.bytes = append(last.bytes, s.bytes...)
				continue
			}
		}
		// Its own array: appending must not write into the module's bytes.
		merged = append(merged, dataSegment{s.at, append([]byte(nil), s.bytes...)})
	}
	return merged
}

// s32 reads a signed LEB128 number of at most 5 bytes.
func (r *reader) s32() int32 {
	var v int64
	for shift := 0; shift < 35; shift += 7 {
		b := r.byte()
		v |= int64(b&0x7f) << shift
		if b&0x80 == 0 {
			if b&0x40 != 0 {
				v |= -1 << (shift + 7)
			}
			return int32(v) //nolint:gosec // what overflows, the engine has refused or keeps refusing
		}
	}
	r.failf("a number is too long")
	return 0
}

func appendS32(b []byte, v int32) []byte {
	for {
		c := byte(v & 0x7f)
		v >>= 7
		if v == 0 && c&0x40 == 0 || v == -1 && c&0x40 != 0 {
			return append(b, c)
		}
		b = append(b, c|0x80)
	}
}
