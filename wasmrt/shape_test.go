package wasmrt

import (
	"bytes"
	"context"
	"fmt"
	"strings"
	"testing"

	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/api"
	"github.com/tetratelabs/wazero/experimental"

	"dhow.dev/dhow/wasmrt/internal/wasmbin"
	"dhow.dev/dhow/wasmrt/meter"
)

// moduleOf makes a module of sections, each given as its entries.
func moduleOf(sections ...[]byte) []byte {
	out := []byte(wasmbin.Header)
	for _, s := range sections {
		out = append(out, s...)
	}
	return out
}

func entriesIn(id byte, entries ...[]byte) []byte {
	body := wasmbin.AppendU32(nil, uint32(len(entries)))
	for _, e := range entries {
		body = append(body, e...)
	}
	return wasmbin.AppendSection(nil, id, body)
}

func codeOf(bodies ...[]byte) []byte {
	var entries [][]byte
	for _, b := range bodies {
		entries = append(entries, appendBody(nil, b))
	}
	return entriesIn(wasmbin.Code, entries...)
}

func export(name string, kind, index byte) []byte {
	return append(wasmbin.AppendName(nil, name), kind, index)
}

func dataAt(at int64, content string) []byte {
	b := append(wasmbin.AppendS64([]byte{0, byte(wasmbin.OpI32Const)}, at), byte(wasmbin.OpEnd))
	return wasmbin.AppendName(b, content)
}

var (
	oneType   = entriesIn(wasmbin.Type, []byte{wasmbin.FuncType, 0, 0})
	oneFunc   = entriesIn(wasmbin.Function, []byte{0})
	oneMemory = entriesIn(wasmbin.Memory, []byte{0, 1})
	nothing   = []byte{0, byte(wasmbin.OpEnd)}
)

func shapeOf(t *testing.T, wasm []byte) *shaped {
	t.Helper()
	before := bytes.Clone(wasm)
	s, err := shape(wasm)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(wasm, before) {
		t.Fatal("it wrote into its input")
	}
	t.Cleanup(s.image.close)
	return s
}

// host is what a runtime gives guests and metered ones.
func host(t testing.TB, config wazero.RuntimeConfig) (context.Context, wazero.Runtime) {
	t.Helper()
	ctx := context.Background()
	r := wazero.NewRuntimeWithConfig(ctx, config.WithCoreFeatures(api.CoreFeaturesV2|experimental.CoreFeaturesTailCall))
	t.Cleanup(func() { _ = r.Close(ctx) })
	b := r.NewHostModuleBuilder(meter.Namespace)
	i64 := []api.ValueType{api.ValueTypeI64}
	b.NewFunctionBuilder().WithGoFunction(api.GoFunc(func(_ context.Context, s []uint64) { s[0] = 1 << 40 }), i64, i64).Export(meter.ImportRefill)
	b.NewFunctionBuilder().WithGoFunction(api.GoFunc(func(context.Context, []uint64) { panic("overflow") }), nil, nil).Export(meter.ImportOverflow)
	if _, err := b.Instantiate(ctx); err != nil {
		t.Fatal(err)
	}
	return ctx, r
}

// TestDataBecomesAnImage: later segments win, and nothing else is in it.
func TestDataBecomesAnImage(t *testing.T) {
	s := shapeOf(t, moduleOf(oneMemory,
		wasmbin.AppendSection(nil, wasmbin.DataCount, []byte{3}),
		entriesIn(wasmbin.Data, dataAt(100, "aaaaaa"), dataAt(40_000, "zz"), dataAt(102, "bb"))))
	if s.image == nil || s.fixed != nil {
		t.Fatal("no image: ", s.fixed)
	}
	want := make([]byte, s.image.size)
	copy(want[100:], "aabbaa")
	copy(want[40_000:], "zz")
	if !bytes.Equal(s.image.bytes, want) {
		t.Error("the image is another")
	}
	if !bytes.Equal(s.wasm, moduleOf(oneMemory)) {
		t.Errorf("the module became %q", s.wasm)
	}
}

// TestDataStays where instructions may name it, where its place is not known,
// and where the engine has to refuse it.
func TestDataStays(t *testing.T) {
	passive := append([]byte{1}, wasmbin.AppendName(nil, "passive")...)
	computed := append([]byte{0, byte(wasmbin.OpGlobalGet), 0, byte(wasmbin.OpEnd)}, wasmbin.AppendName(nil, "x")...)
	drop := append([]byte{0, 0xfc, 9, 0}, byte(wasmbin.OpEnd))
	count := wasmbin.AppendSection(nil, wasmbin.DataCount, []byte{1})
	for name, module := range map[string][]byte{
		"beyond the memory": moduleOf(oneMemory, entriesIn(wasmbin.Data, dataAt(pageSize-3, "abcd"))),
		"passive":           moduleOf(oneMemory, count, entriesIn(wasmbin.Data, passive)),
		"computed":          moduleOf(oneMemory, entriesIn(wasmbin.Global, []byte{wasmbin.I32, 0, byte(wasmbin.OpI32Const), 1, byte(wasmbin.OpEnd)}), entriesIn(wasmbin.Data, computed)),
		"dropped":           moduleOf(oneType, oneFunc, oneMemory, count, codeOf(drop), entriesIn(wasmbin.Data, dataAt(1, "x"))),
	} {
		s := shapeOf(t, module)
		if s.image != nil || !bytes.Equal(s.wasm, module) || s.fixed == nil || !strings.Contains(s.fixed.Error(), "data") {
			t.Errorf("%s: it became %q, %v", name, s.wasm, s.fixed)
		}
	}
}

// TestWhatCannotBeCopied is named.
func TestWhatCannotBeCopied(t *testing.T) {
	table := entriesIn(wasmbin.Table, []byte{wasmbin.Funcref, 0, 1})
	set := []byte{0, byte(wasmbin.OpI32Const), 0, byte(wasmbin.OpRefNull), wasmbin.Funcref, byte(wasmbin.OpTableSet), 0, byte(wasmbin.OpEnd)}
	grow := []byte{0, byte(wasmbin.OpRefNull), wasmbin.Funcref, byte(wasmbin.OpI32Const), 1, 0xfc, 15, 0, byte(wasmbin.OpDrop), byte(wasmbin.OpEnd)}
	global := func(t byte, op ...byte) []byte {
		return entriesIn(wasmbin.Global, append(append([]byte{t, 1}, op...), byte(wasmbin.OpEnd)))
	}
	vector := append([]byte{0xfd, 12}, make([]byte, 16)...)
	imports := func(entry ...byte) []byte {
		return entriesIn(wasmbin.Import, append(wasmbin.AppendName(wasmbin.AppendName(nil, "env"), "x"), entry...))
	}
	for want, module := range map[string][]byte{
		"table.set":                     moduleOf(oneType, oneFunc, table, oneMemory, codeOf(set)),
		"table.grow":                    moduleOf(oneType, oneFunc, table, oneMemory, codeOf(grow)),
		"holds a v128":                  moduleOf(oneMemory, global(wasmbin.V128, vector...)),
		"holds a funcref":               moduleOf(oneMemory, global(wasmbin.Funcref, byte(wasmbin.OpRefNull), wasmbin.Funcref)),
		"imports a memory":              moduleOf(imports(wasmbin.ExternMemory, 0, 1)),
		"no memory":                     moduleOf(oneType, oneFunc, codeOf(nothing)),
		"shared by threads":             moduleOf(entriesIn(wasmbin.Memory, []byte{3, 1, 1})),
		"exports of its own":            moduleOf(oneMemory, entriesIn(wasmbin.Export, export(ownExport+"0", wasmbin.ExternMemory, 0))),
		"ends early":                    []byte("\x00asm\x01\x00\x00\x00\x05\x70"),
		"not understood: it is no core": []byte("nothing"),
	} {
		s := shapeOf(t, module)
		if s.fixed == nil || !strings.Contains(s.fixed.Error(), want) {
			t.Errorf("%s: %v", want, s.fixed)
		}
	}
}

// TestStartIsCalledFromOutside, once, and what it did is copied.
func TestStartIsCalledFromOutside(t *testing.T) {
	count := []byte{0, byte(wasmbin.OpGlobalGet), 0, byte(wasmbin.OpI32Const), 1, byte(wasmbin.OpI32Add), byte(wasmbin.OpGlobalSet), 0, byte(wasmbin.OpEnd)}
	module := moduleOf(
		entriesIn(wasmbin.Type, []byte{wasmbin.FuncType, 0, 0}, []byte{wasmbin.FuncType, 0, 1, wasmbin.I32}),
		entriesIn(wasmbin.Function, []byte{0}, []byte{1}), oneMemory,
		entriesIn(wasmbin.Global, []byte{wasmbin.I32, 1, byte(wasmbin.OpI32Const), 0, byte(wasmbin.OpEnd)}),
		entriesIn(wasmbin.Export, export("count", wasmbin.ExternFunc, 1), export("memory", wasmbin.ExternMemory, 0)),
		wasmbin.AppendSection(nil, wasmbin.Start, []byte{0}),
		codeOf(count, []byte{0, byte(wasmbin.OpGlobalGet), 0, byte(wasmbin.OpEnd)}))
	e, err := NewEngine(t.Context(), Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = e.Close() }()
	m, err := e.Compile(t.Context(), module)
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	s, err := m.Snapshot(t.Context(), Config{})
	if err != nil || s.why != nil {
		t.Fatal(err, s.why)
	}
	defer s.Close()
	for name, start := range map[string]func(context.Context, Config) (*Instance, error){"plain": m.New, "copy": s.New} {
		i, err := start(t.Context(), Config{})
		if err != nil {
			t.Fatal(err)
		}
		if got, err := i.Call(t.Context(), "count"); err != nil || got[0] != 1 {
			t.Errorf("%s: it ran %v times, %v", name, got, err)
		}
		if err := i.Close(); err != nil {
			t.Error(err)
		}
	}
}

// TestStrip: what only debuggers read goes, names of functions stay.
func TestStrip(t *testing.T) {
	custom := func(name, content string) []byte {
		return wasmbin.AppendSection(nil, wasmbin.Custom, append(wasmbin.AppendName(nil, name), content...))
	}
	const functions = "\x01\x04\x01\x00\x01f"
	s := shapeOf(t, moduleOf(custom("name", "\x00\x02\x01m"+functions+"\x02\x01\x00"), custom(".debug_info", "x"), oneMemory, custom(".debug_line", "x"), custom("go:buildid", "x")))
	if want := moduleOf(custom("name", functions), oneMemory, custom("go:buildid", "x")); !bytes.Equal(s.wasm, want) {
		t.Errorf("it became %q", s.wasm)
	}
	if !s.random {
		t.Error("Go's mark was not seen")
	}
	for _, broken := range []string{
		"\x01\x06\xff\xff\xff\xff\x0f\x00", // 4 Gi names: wazero would make room for them
		"\x01\x04\x01\x00\x01\xff", "\x01\x05\x01\x00\x01fx", "\x01\x70",
		"\x02\x06\xff\xff\xff\xff\x0f\x00",
	} {
		s := shapeOf(t, moduleOf(custom("name", broken), oneMemory))
		if want := moduleOf(custom("name", ""), oneMemory); !bytes.Equal(s.wasm, want) {
			t.Errorf("%q: it became %q", broken, s.wasm)
		}
	}
}

// TestHugeNameCountEndsNothing: the engine takes the module, and the process
// goes on.
func TestHugeNameCountEndsNothing(t *testing.T) {
	names := append(wasmbin.AppendName(nil, "name"), 1, 6, 0xff, 0xff, 0xff, 0xff, 0x0f, 0)
	e, err := NewEngine(t.Context(), Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = e.Close() }()
	m, err := e.Compile(t.Context(), moduleOf(oneMemory, wasmbin.AppendSection(nil, wasmbin.Custom, names)))
	if err != nil {
		t.Fatal(err)
	}
	m.Close()
}

// tableModule has 600 functions of two types, in a table with gaps, and
// functions that call its entries.
func tableModule() (wasm []byte, size uint64) {
	const base, number = 1000, 600
	types := entriesIn(wasmbin.Type,
		[]byte{wasmbin.FuncType, 1, wasmbin.I32, 1, wasmbin.I32},
		[]byte{wasmbin.FuncType, 0, 1, wasmbin.I32},
		[]byte{wasmbin.FuncType, 2, wasmbin.I32, wasmbin.I32, 1, wasmbin.I32},
		[]byte{wasmbin.FuncType, 1, wasmbin.I32, 1, wasmbin.I32}) // as the first
	var functions, bodies [][]byte
	var elements []byte
	for n := range int64(number) {
		typ, body := byte(0), []byte{0, byte(wasmbin.OpLocalGet), 0}
		if n%50 == 7 {
			typ, body = 1, []byte{0, byte(wasmbin.OpI32Const), 1}
		}
		body = append(wasmbin.AppendS64(append(body, byte(wasmbin.OpI32Const)), n*1000), byte(wasmbin.OpI32Add), byte(wasmbin.OpEnd))
		functions, bodies = append(functions, []byte{typ}), append(bodies, body)
		elements = wasmbin.AppendU32(elements, uint32(n))
	}
	indirect := func(op wasmbin.Op, typ byte) []byte {
		body := []byte{1, 2, wasmbin.I64} // two locals
		if typ != 1 {
			body = append(body, byte(wasmbin.OpLocalGet), 1)
		}
		return append(body, byte(wasmbin.OpLocalGet), 0, byte(op), typ, 0, byte(wasmbin.OpEnd))
	}
	for _, b := range [][]byte{
		indirect(wasmbin.OpCallIndirect, 0), indirect(wasmbin.OpCallIndirect, 1),
		indirect(wasmbin.OpCallIndirect, 3), indirect(wasmbin.OpReturnCallIndirect, 0),
	} {
		functions, bodies = append(functions, []byte{2}), append(bodies, b)
	}
	// A gap of ten, and the second half again, over a part of the first.
	segment := func(at int64, from, to int) []byte {
		b := append(wasmbin.AppendS64([]byte{0, byte(wasmbin.OpI32Const)}, at), byte(wasmbin.OpEnd))
		b = wasmbin.AppendU32(b, uint32(to-from))
		for n := from; n < to; n++ {
			b = wasmbin.AppendU32(b, uint32(n))
		}
		return b
	}
	var exports [][]byte
	for n := range uint32(4) {
		e := append(wasmbin.AppendName(nil, fmt.Sprint("call", n)), wasmbin.ExternFunc)
		exports = append(exports, wasmbin.AppendU32(e, number+n))
	}
	size = base + 10 + number + 5
	table := wasmbin.AppendU32(wasmbin.AppendU32([]byte{wasmbin.Funcref, 1}, uint32(size)), uint32(size))
	return moduleOf(types, entriesIn(wasmbin.Function, functions...), entriesIn(wasmbin.Table, table), oneMemory,
		entriesIn(wasmbin.Export, exports...),
		entriesIn(wasmbin.Element, segment(base, 0, 300), segment(base+310, 300, 600), segment(base+20, 590, 600)),
		codeOf(bodies...)), size
}

// TestTableIsBoundAsItIsUsed: each entry, called in each way, gives what it
// gives without shaping, twice, also when metered.
func TestTableIsBoundAsItIsUsed(t *testing.T) {
	original, size := tableModule()
	shaped := shapeOf(t, original).wasm
	if bytes.Equal(shaped, original) {
		t.Fatal("the table is not bound late")
	}
	metered, err := meter.Rewrite(shaped, meter.Options{})
	if err != nil {
		t.Fatal(err)
	}
	for engine, config := range map[string]wazero.RuntimeConfig{"compiler": wazero.NewRuntimeConfig(), "interpreter": wazero.NewRuntimeConfigInterpreter()} {
		ctx, r := host(t, config)
		load := func(wasm []byte) api.Module {
			m, err := r.InstantiateWithConfig(ctx, wasm, wazero.NewModuleConfig().WithName(""))
			if err != nil {
				t.Fatal(engine, err)
			}
			return m
		}
		want, modules := load(original), map[string]api.Module{"shaped": load(shaped), "metered": load(metered)}
		indices := []uint64{1<<32 - 1, 1 << 31, size + 1}
		for n := range size + 1 {
			if n < 3 || n > 990 {
				indices = append(indices, n)
			}
		}
		for name, m := range modules {
			for f := range 4 {
				f := fmt.Sprint("call", f)
				for _, n := range append(indices, indices...) {
					a, aErr := want.ExportedFunction(f).Call(ctx, n, 5)
					b, bErr := m.ExportedFunction(f).Call(ctx, n, 5)
					if fmt.Sprint(a) != fmt.Sprint(b) || trapOf(aErr) != trapOf(bErr) {
						t.Fatalf("%s, %s: %s(%d) is %v, %v instead of %v, %v", engine, name, f, n, b, trapOf(bErr), a, trapOf(aErr))
					}
				}
			}
		}
	}
}

// trapOf is why a call trapped. An empty entry that is called as another type
// than most have is not told from one of that type.
func trapOf(err error) string {
	if err == nil {
		return ""
	}
	first, _, _ := strings.Cut(err.Error(), "\n")
	return strings.ReplaceAll(first, "indirect call type mismatch", "invalid table access")
}

// TestTableStays where its entries can be seen or changed in other ways.
func TestTableStays(t *testing.T) {
	original, _ := tableModule()
	sections, err := wasmbin.Sections(original)
	if err != nil {
		t.Fatal(err)
	}
	s := &shaper{sections: sections}
	seen := []byte{0, byte(wasmbin.OpI32Const), 0, 0xfc, 16, 0, byte(wasmbin.OpDrop), byte(wasmbin.OpDrop), byte(wasmbin.OpEnd)}
	r := wasmbin.Reader{B: s.body(wasmbin.Function)}
	s.grow(wasmbin.Function, r.U32()+1, []byte{1})
	r = wasmbin.Reader{B: s.body(wasmbin.Code)}
	s.grow(wasmbin.Code, r.U32()+1, appendBody(nil, seen))
	used := s.join()
	s = &shaper{sections: sections}
	s.grow(wasmbin.Export, 5, export("table", wasmbin.ExternTable, 0))
	for name, module := range map[string][]byte{"its size is read": used, "it is exported": s.join()} {
		if got := shapeOf(t, module); !bytes.Equal(got.wasm, module) {
			t.Errorf("%s: it is bound late", name)
		}
	}
}

// FuzzShape: what the engine takes it takes after shaping too.
func FuzzShape(f *testing.F) {
	table, _ := tableModule()
	f.Add(table)
	f.Add(moduleOf(oneMemory, entriesIn(wasmbin.Data, dataAt(100, "aaaaaa"), dataAt(102, "bb"))))
	f.Add(moduleOf(oneType, oneFunc, oneMemory, wasmbin.AppendSection(nil, wasmbin.Start, []byte{0}), codeOf(nothing)))
	ctx, r := host(f, wazero.NewRuntimeConfigInterpreter())
	f.Fuzz(func(t *testing.T, wasm []byte) {
		s, err := shape(wasm)
		if err != nil {
			t.Skip(err)
		}
		defer s.image.close()
		// As the engine does. Names that are broken wazero does not survive.
		if _, err := meter.Rewrite(wasm, meter.Options{}); err != nil || bytes.Contains(wasm, []byte("name")) {
			return
		}
		before, err := r.CompileModule(ctx, wasm)
		if err != nil {
			return
		}
		defer func() { _ = before.Close(ctx) }()
		after, err := r.CompileModule(ctx, s.wasm)
		if err != nil {
			t.Fatalf("it was valid, and is no more: %v", err)
		}
		_ = after.Close(ctx)
	})
}
