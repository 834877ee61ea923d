package meter_test

import (
	"bytes"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/api"
	"github.com/tetratelabs/wazero/experimental"

	"dhow.dev/dhow/wasmrt/meter"
)

// guest is a metered module of testdata with its host.
type guest struct {
	*granter
	api.Module
	t testing.TB
}

func start(t testing.TB, file string, g granter, o meter.Options) *guest {
	t.Helper()
	return instantiate(t, readFile(t, filepath.Join("testdata", file)), g, o)
}

func instantiate(t testing.TB, wasm []byte, g granter, o meter.Options) *guest {
	t.Helper()
	config := wazero.NewRuntimeConfig().WithCoreFeatures(api.CoreFeaturesV2 | experimental.CoreFeaturesTailCall)
	r := wazero.NewRuntimeWithConfig(t.Context(), config)
	t.Cleanup(func() { r.Close(t.Context()) })
	g.provide(t, r)
	m, err := r.Instantiate(t.Context(), rewrite(t, wasm, o))
	if err != nil {
		t.Fatal(err)
	}
	return &guest{&g, m, t}
}

// call calls with a whole stack, and tells what was used by this call.
func (g *guest) call(name string, args ...uint64) (results []uint64, used int64, err error) {
	g.t.Helper()
	g.ExportedGlobal(meter.ExportDepth).(api.MutableGlobal).Set(16 << 20)
	before := g.used(g.Module)
	results, err = g.ExportedFunction(name).Call(g.t.Context(), args...)
	return results, g.used(g.Module) - before, err
}

type call struct {
	name string
	args []uint64
	cost int64 // with Exact; 0 if it is not said
}

func calls() []call {
	return []call{
		{"three", nil, 3},
		{"count", []uint64{1}, 8},
		{"count", []uint64{1000}, 7001},
		{"sum", []uint64{1000}, 7001},
		{"fib", []uint64{10}, 0},
		{"deep", []uint64{100}, 100*8 + 3},
		{"hop", []uint64{100}, 100*9 + 3},
		{"dives", []uint64{3}, 0},
		{"trap", []uint64{5}, 1 + 5*9 + 9},
		{"fill", []uint64{0, 7, 5000}, 4 + 5000},
		{"copy", []uint64{1, 0, 5000}, 4 + 5000},
		{"init", []uint64{1, 0, 7}, 4 + 7},
		{"fill", []uint64{60000, 7, 6000}, 4 + 6000},
	}
}

func TestExactCountsInstructions(t *testing.T) {
	t.Parallel()
	for _, c := range calls() {
		g := start(t, "guests.wasm", granter{slice: 1e6}, meter.Options{})
		if _, used, _ := g.call(c.name, c.args...); c.cost > 0 && used != c.cost {
			t.Errorf("%s %v used %d, and has %d instructions", c.name, c.args, used, c.cost)
		}
	}
}

func TestFuelIsTheSameForAnySlice(t *testing.T) {
	t.Parallel()
	for _, mode := range []meter.Mode{meter.Exact, meter.Preempt} {
		var first []string
		for _, slice := range []int64{1e9, 1000, 7, 1} {
			var all []string
			for _, c := range calls() {
				g := start(t, "guests.wasm", granter{slice: slice}, meter.Options{Mode: mode})
				results, used, err := g.call(c.name, c.args...)
				all = append(all, fmt.Sprint(c.name, c.args, results, used, firstLine(err)))
			}
			if first == nil {
				first = all
			}
			if !slices.Equal(first, all) {
				t.Errorf("mode %d: slices of 1e9 used\n%s\nof %d\n%s", mode, strings.Join(first, "\n"), slice, strings.Join(all, "\n"))
			}
		}
	}
}

// A limit ends the guest where it would end with any other slices.
func TestALimitEndsAtTheSamePlace(t *testing.T) {
	t.Parallel()
	var first []int64
	for _, slice := range []int64{1e9, 1000, 1} {
		var all []int64
		for limit := int64(100); limit < 1000; limit += 97 {
			g := start(t, "guests.wasm", granter{slice: slice, limit: limit}, meter.Options{})
			_, used, err := g.call("fib", 15)
			if !errors.Is(err, errOutOfFuel) {
				t.Fatalf("limit %d, slices of %d: %v", limit, slice, err)
			}
			all = append(all, used)
		}
		if first == nil {
			first = all
		}
		if !slices.Equal(first, all) {
			t.Errorf("with slices of %d it ended at %d, with others at %d", slice, all, first)
		}
	}
}

// A host can end everything that computes.
func TestWhatNeverEndsCanBeEnded(t *testing.T) {
	t.Parallel()
	for _, mode := range []meter.Mode{meter.Exact, meter.Preempt} {
		for file, c := range map[string]call{
			"guests.wasm": {name: "forever"},
			"tail.wasm":   {name: "down", args: []uint64{1 << 31}},
		} {
			g := start(t, file, granter{slice: 1000, limit: 1e6}, meter.Options{Mode: mode})
			if _, _, err := g.call(c.name, c.args...); !errors.Is(err, errOutOfFuel) {
				t.Errorf("%s: %v", c.name, err)
			}
		}
	}
}

func TestLoopFreeRecursionCanBeEnded(t *testing.T) {
	t.Parallel()
	g := start(t, "guests.wasm", granter{slice: 1000, limit: 1e6}, meter.Options{Mode: meter.Preempt})
	if _, _, err := g.call("fib", 60); !errors.Is(err, errOutOfFuel) {
		t.Error(err)
	}
}

// Tail calls leave no frames, not even where fuel is refilled at each.
func TestTailCallsNeedNoStack(t *testing.T) {
	t.Parallel()
	g := start(t, "tail.wasm", granter{slice: 1}, meter.Options{})
	results, _, err := g.call("down", 2e6)
	if err != nil || results[0] != 42 {
		t.Errorf("%d, %v", results, err)
	}
}

func TestTheStackIsBounded(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"deep", "hop"} {
		g := start(t, "guests.wasm", granter{slice: 1e6}, meter.Options{Stack: 1 << 20})
		for range 2 {
			if results, _, err := g.call(name, 10_000); err != nil || results[0] != 10_000 {
				t.Errorf("%s: %d, %v", name, results, err)
			}
			if _, _, err := g.call(name, 1e9); !errors.Is(err, errOverflow) {
				t.Errorf("%s: it goes as deep as it likes: %v", name, err)
			}
		}
		g.ExportedGlobal(meter.ExportDepth).(api.MutableGlobal).Set(1000)
		if _, err := g.ExportedFunction(name).Call(t.Context(), 100); !errors.Is(err, errOverflow) {
			t.Errorf("%s: what is left is not heeded: %v", name, err)
		}
	}
}

// What calls took of the stack they give back.
func TestTheStackDoesNotDrift(t *testing.T) {
	t.Parallel()
	g := start(t, "guests.wasm", granter{slice: 1e6}, meter.Options{})
	if _, _, err := g.call("dives", 100_000); err != nil {
		t.Error(err)
	}
}

func TestBulkOperationsComeInPieces(t *testing.T) {
	t.Parallel()
	const piece, length = 256 << 10, 20<<20 + 5
	g := start(t, "guests.wasm", granter{slice: piece}, meter.Options{})
	if _, _, err := g.call("grow", 399); err != nil {
		t.Fatal(err)
	}
	for _, c := range []call{{name: "fill", args: []uint64{3, 'x', length}}, {name: "copy", args: []uint64{0, 1, length}}, {name: "copy", args: []uint64{1, 0, length}}} {
		refills := g.refills
		_, used, err := g.call(c.name, c.args...)
		if err != nil || used != length+4 {
			t.Errorf("%s: used %d, %v", c.name, used, err)
		}
		if n := g.refills - refills; n < length/piece {
			t.Errorf("%s: the host was asked %d times in %d bytes", c.name, n, length)
		}
	}
}

// What ends the guest ends its bulk operations half way.
func TestBulkOperationsCanBeEnded(t *testing.T) {
	t.Parallel()
	const length = 20 << 20
	g := start(t, "guests.wasm", granter{slice: 1e6, limit: length / 2}, meter.Options{})
	if _, _, err := g.call("grow", 399); err != nil {
		t.Fatal(err)
	}
	if _, _, err := g.call("fill", 0, 'x', length); !errors.Is(err, errOutOfFuel) {
		t.Fatal(err)
	}
	memory, _ := g.Memory().Read(0, length)
	if n := bytes.IndexByte(memory, 0); n < length/4 || n > length/2 {
		t.Errorf("%d bytes were filled with fuel for %d", n, length/2)
	}
}

func TestBulkOperationsInPiecesAreWholeOnes(t *testing.T) {
	t.Parallel()
	const length = 1<<20 + 3
	g := start(t, "guests.wasm", granter{slice: 1e9}, meter.Options{})
	if _, _, err := g.call("grow", 99); err != nil {
		t.Fatal(err)
	}
	memory := g.Memory()
	want, _ := memory.Read(0, memory.Size())
	for n := range want {
		want[n] = byte(n * 7 >> 3)
	}
	want = slices.Clone(want)
	size := uint64(memory.Size())
	for _, c := range []call{
		{name: "copy", args: []uint64{0, 100_000, length}},
		{name: "copy", args: []uint64{100_000, 0, length}},
		{name: "copy", args: []uint64{size - length, 5, length}},
		{name: "fill", args: []uint64{size - length, 300, length}},
		// These leave the memory, and write nothing.
		{name: "copy", args: []uint64{size - length + 1, 5, length}},
		{name: "copy", args: []uint64{5, size - length + 1, length}},
		{name: "copy", args: []uint64{5, 6, 1<<32 - 1}},
		{name: "fill", args: []uint64{size - length + 1, 1, length}},
		{name: "fill", args: []uint64{1, 1, 1<<32 - 1}},
		{name: "init", args: []uint64{0, 0, 1 << 20}},
		{name: "init", args: []uint64{0, 5, 1<<32 - 1}},
	} {
		to, from, n := c.args[0], c.args[1], c.args[2]
		fits := c.name != "init" && to+n <= size && (c.name == "fill" || from+n <= size)
		switch {
		case !fits:
		case c.name == "fill":
			for at := range n {
				want[to+at] = byte(from)
			}
		default:
			copy(want[to:to+n], want[from:from+n])
		}
		_, _, err := g.call(c.name, c.args...)
		if fits != (err == nil) {
			t.Errorf("%s %d: %v", c.name, c.args, err)
		}
		if got, _ := memory.Read(0, memory.Size()); !slices.Equal(got, want) {
			t.Fatalf("%s %d: the memory is another", c.name, c.args)
		}
	}
}

func TestTracesHaveNames(t *testing.T) {
	t.Parallel()
	g := start(t, "guests.wasm", granter{slice: 1e6}, meter.Options{})
	_, _, err := g.call("trap", 3)
	if err == nil || !strings.Contains(err.Error(), ".trap(i32)") {
		t.Error(err)
	}
}

func TestReservedNamesAreRefused(t *testing.T) {
	t.Parallel()
	once := rewrite(t, readFile(t, filepath.Join("testdata", "guests.wasm")), meter.Options{})
	for what, wasm := range map[string]string{
		"import": header + "\x01\x04\x01\x60\x00\x00" + "\x02\x10\x01\x0adhow:meter\x01f\x00\x00",
		"export": header + "\x06\x06\x01\x7f\x00\x41\x00\x0b" + "\x07\x0a\x01\x06dhow:x\x03\x00",
		"twice":  string(once),
	} {
		refused(t, what, wasm, meter.ReasonReservedName, "reserved")
	}
}

const header = "\x00asm\x01\x00\x00\x00"

func refused(t *testing.T, what, wasm string, reason meter.Reason, words string) {
	t.Helper()
	_, err := meter.Rewrite([]byte(wasm), meter.Options{})
	e, ok := errors.AsType[*meter.Error](err)
	if !ok || e.Reason != reason || !strings.Contains(err.Error(), words) {
		t.Errorf("%s: %v, want %s with %q", what, err, reason, words)
	}
}

// body is a module with one function.
func body(code string) string {
	return header + "\x01\x04\x01\x60\x00\x00" + "\x03\x02\x01\x00" +
		"\x0a" + string(rune(len(code)+3)) + "\x01" + string(rune(len(code)+1)) + "\x00" + code
}

func TestProposalsAreRefusedByName(t *testing.T) {
	t.Parallel()
	for code, name := range map[string]string{
		"\x08\x00\x0b":                 "exception handling",
		"\x1f\x40\x00\x0b\x0b":         "exception handling",
		"\xfe\x03\x00\x0b":             "threads",
		"\x14\x00\x0b":                 "typed function references",
		"\xfb\x00\x00\x0b":             "garbage collection",
		"\xfd\x80\x02\x0b":             "relaxed vector",
		"\x41\x00\x28\x42\x01\x00\x0b": "several memories",
	} {
		refused(t, name, body(code), meter.ReasonUnsupported, name)
	}
	refused(t, "locals", header+"\x01\x04\x01\x60\x00\x00"+"\x03\x02\x01\x00"+"\x0a\x09\x01\x07\x01\xff\xff\xff\x0f\x7f\x0b", meter.ReasonTooManyLocals, "locals")
}

// What names nothing must not come to name what Rewrite adds.
func TestOurOwnCannotBeNamed(t *testing.T) {
	t.Parallel()
	for what, code := range map[string]string{
		"function": "\x10\x01\x0b",
		"global":   "\x23\x00\x1a\x0b",
		"local":    "\x20\x00\x1a\x0b",
		"label":    "\x0c\x05\x0b",
		"type":     "\x41\x00\x11\x01\x00\x0b",
	} {
		refused(t, what, body(code), meter.ReasonBroken, "broken: there is no "+what)
	}
}
