package wasmrt

import (
	"bytes"
	"encoding/binary"
	"math/rand/v2"
	"testing"

	"dhow.dev/dhow/wasmrt/wasmtest"
)

func none(dataSegment) bool { return false }

// data makes a module that has these segments and nothing else.
func data(segments ...dataSegment) []byte {
	content := binary.AppendUvarint(nil, uint64(len(segments)))
	for _, s := range segments {
		content = appendS32(append(content, 0, opI32Const), int32(uint32(s.at)))
		content = binary.AppendUvarint(append(content, opEnd), uint64(len(s.bytes)))
		content = append(content, s.bytes...)
	}
	b := []byte("\x00asm\x01\x00\x00\x00\x05\x03\x01\x00\x01")
	b = binary.AppendUvarint(append(b, sectionData), uint64(len(content)))
	return append(append(b, content...), "\x00\x05\x04tail"...)
}

// segmentsOf reads them back.
func segmentsOf(t *testing.T, wasm []byte) []dataSegment {
	t.Helper()
	r := reader{b: wasm, at: 8}
	for r.at < len(wasm) {
		id := r.byte()
		size := int(r.u32())
		if id == sectionData {
			all, ok := readSegments(wasm[r.at : r.at+size])
			if !ok {
				t.Fatal("the data section cannot be read back")
			}
			return all
		}
		r.at += size
	}
	return nil
}

// memoryOf is the memory that segments make.
func memoryOf(segments []dataSegment) []byte {
	var m []byte
	for _, s := range segments {
		end := int(s.at) + len(s.bytes)
		if end > len(m) {
			m = append(m, make([]byte, end-len(m))...)
		}
		copy(m[s.at:], s.bytes)
	}
	return m
}

func TestMergeKeepsTheMemory(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	for range 300 {
		var in []dataSegment
		at := rng.Uint64N(70000)
		for range rng.IntN(20) {
			b := make([]byte, rng.IntN(200))
			for i := range b {
				b[i] = byte(rng.Uint32())
			}
			in = append(in, dataSegment{at, b})
			at += uint64(len(b)) + rng.Uint64N(2*maxGap)
		}
		rng.Shuffle(len(in), func(i, j int) { in[i], in[j] = in[j], in[i] })
		module := data(in...)
		before := bytes.Clone(module)
		merged := mergeData(module, none)
		if !bytes.Equal(module, before) {
			t.Fatal("it wrote into its input")
		}
		out := segmentsOf(t, merged)
		if !bytes.Equal(memoryOf(in), memoryOf(out)) {
			t.Fatalf("%d segments became %d with another memory", len(in), len(out))
		}
		for n := 1; n < len(out); n++ {
			if out[n].at-out[n-1].end() <= maxGap {
				t.Fatal("two neighbours were left apart")
			}
		}
		if !bytes.HasSuffix(merged, []byte("tail")) {
			t.Fatal("what follows the data is lost")
		}
	}
}

// TestMergeLeavesAlone what could mean something else.
func TestMergeLeavesAlone(t *testing.T) {
	a, b := dataSegment{100, []byte("aaaa")}, dataSegment{200, []byte("bbbb")}
	counted := data(a, b)
	counted = append(append(bytes.Clone(counted[:13]), sectionDataCount, 1, 2), counted[13:]...)
	passive := data(a, b)
	passive[16] = 1
	for name, module := range map[string][]byte{
		"overlapping":    data(a, dataSegment{102, []byte("xx")}),
		"one":            data(a),
		"none":           data(),
		"far apart":      data(a, dataSegment{100 + 4 + maxGap + 1, []byte("b")}),
		"with a count":   counted,
		"passive":        passive,
		"cut off":        data(a, b)[:30],
		"beyond its end": data(dataSegment{1 << 32 >> 1, nil}, a),
	} {
		if got := mergeData(module, none); !bytes.Equal(got, module) {
			t.Errorf("%s: became %q", name, got)
		}
	}
}

// TestMergeOfARealGuest: this is what it is for.
func TestMergeOfARealGuest(t *testing.T) {
	wasm := wasmtest.Bytes(t, "go/probe.go")
	merged := mergeData(wasm, none)
	before, after := segmentsOf(t, wasm), segmentsOf(t, merged)
	if len(after)*50 > len(before) || !bytes.Equal(memoryOf(before), memoryOf(after)) {
		t.Errorf("%d segments became %d", len(before), len(after))
	}
	t.Logf("%d segments became %d", len(before), len(after))
}

func FuzzMerge(f *testing.F) {
	f.Add(data(dataSegment{100, []byte("aaaa")}, dataSegment{200, []byte("bbbb")}))
	f.Fuzz(func(t *testing.T, wasm []byte) {
		if len(wasm) < 8 {
			return
		}
		merged := mergeData(wasm, none)
		if again := mergeData(merged, none); !bytes.Equal(again, merged) {
			t.Errorf("merging twice gives something else")
		}
	})
}
