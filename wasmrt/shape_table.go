package wasmrt

import (
	"slices"

	"dhow.dev/dhow/wasmrt/internal/wasmbin"
)

// A Go guest's table has an entry for each of its functions, thousands, behind
// 4,096 empty ones. At each start wazero computes and allocates them one by one,
// which is most of what a copy's start takes, and most of the heap it holds:
// an entry points to its instance, so that none can be shared.
//
// A copy uses few of them. So the table begins with the same function in all
// entries, the binder: it puts the right one in its place and calls it. Which
// that is it learns from a global that is set before each indirect call. The
// empty entries in front are left out, and what indexes the table is shifted.

// worthBinding is how many entries a table has to have for that.
const worthBinding = 256

// binding is how a table is bound as it is used.
type binding struct {
	base    uint32  // entries in front that are left out
	entries []int64 // from there on; functions, or empty
	common  string  // the type of those that are bound late, as typeKey has it
	others  []int   // entries of another type, which are there from the start

	counter  uint32 // the global that holds the index of the entry to be called
	binder   uint32 // the function in all entries
	typ      uint32 // its type
	lookup   uint32 // the function that finds entries; those for chunks follow
	lookType uint32 // the type of these
}

const empty = -1

// chunk is how many entries a function finds.
const chunk = 256

// bindLazily makes the module's table one that is bound as it is used, if that
// is possible and worth it.
func (s *shaper) bindLazily() {
	b, ok := s.plan()
	if !ok {
		return
	}
	code, ok := s.indirect(b)
	if !ok {
		return
	}
	chunks := (len(b.entries) + chunk - 1) / chunk
	s.grow(wasmbin.Type, b.lookType+1, []byte{wasmbin.FuncType, 1, wasmbin.I32, 1, wasmbin.Funcref})
	s.grow(wasmbin.Global, b.counter-s.importedGlobals+1, []byte{wasmbin.I32, 1, byte(wasmbin.OpI32Const), 0, byte(wasmbin.OpEnd)})

	functions := wasmbin.AppendU32(nil, b.typ)
	for range chunks + 1 {
		functions = wasmbin.AppendU32(functions, b.lookType)
	}
	own := b.binder - uint32(s.imported)       //nolint:gosec // a module's functions
	count := own + 2 + uint32(chunks)          //nolint:gosec // a module's functions
	s.grow(wasmbin.Function, count, functions) //nolint:gosec // a module's functions
	s.replace(wasmbin.Table, b.table(s.tables[0].limits))
	s.replace(wasmbin.Element, b.elements())

	code = appendBody(code, s.binderBody(b))
	code = appendBody(code, b.chooseChunk(chunks))
	for n := range chunks {
		code = appendBody(code, b.chooseEntry(n))
	}
	s.replace(wasmbin.Code, append(wasmbin.AppendU32(nil, count), code...))
}

// plan is false if the table cannot be bound late, or need not.
func (s *shaper) plan() (*binding, bool) {
	if len(s.tables) != 1 || s.tableSeen || !s.tables[0].plain || s.tables[0].valueType != wasmbin.Funcref {
		return nil, false
	}
	for _, op := range []wasmbin.Op{
		wasmbin.OpTableGet, wasmbin.OpTableSet, wasmbin.OpTableSize, wasmbin.OpTableGrow,
		wasmbin.OpTableCopy, wasmbin.OpTableFill, wasmbin.OpTableInit, wasmbin.OpElemDrop,
	} {
		if s.uses[op] {
			return nil, false
		}
	}
	const most = 1 << 20
	all, ok := readElements(s.body(wasmbin.Element), min(s.tables[0].limits.Min, most))
	base := slices.IndexFunc(all, func(f int64) bool { return f != empty })
	if !ok || base < 0 {
		return nil, false
	}
	b := &binding{
		base: uint32(base), entries: all[base:], //nolint:gosec // below most
		counter: uint32(len(s.globals)),                                         //nolint:gosec // a module's globals
		binder:  uint32(len(s.functions)), lookup: uint32(len(s.functions)) + 1, //nolint:gosec // a module's functions
		lookType: uint32(len(s.types)), //nolint:gosec // a module's types
	}
	return b, s.findCommon(b)
}

// findCommon finds the type that most entries have.
func (s *shaper) findCommon(b *binding) bool {
	counts := map[string]int{}
	for _, f := range b.entries {
		if f == empty {
			continue
		}
		key, ok := s.typeKey(f)
		if !ok {
			return false
		}
		if counts[key]++; counts[key] > counts[b.common] || b.common == "" {
			b.common, b.typ = key, s.functions[f]
		}
	}
	for n, f := range b.entries {
		if f == empty {
			continue
		}
		if key, _ := s.typeKey(f); key != b.common {
			b.others = append(b.others, n)
		}
	}
	return counts[b.common] >= worthBinding && len(b.others) < counts[b.common]
}

// typeKey is equal for functions of equal types.
func (s *shaper) typeKey(function int64) (string, bool) {
	if function >= int64(len(s.functions)) {
		return "", false
	}
	return s.signatureKey(s.functions[function])
}

func (s *shaper) signatureKey(typ uint32) (string, bool) {
	if int64(typ) >= int64(len(s.types)) {
		return "", false
	}
	t := s.types[typ]
	return string(t.Params) + " " + string(t.Results), true
}

// readElements reads what a table of a size begins with. It is false for an
// element section that does more than that, or that the engine refuses.
func readElements(body []byte, size uint64) ([]int64, bool) {
	all := make([]int64, size)
	for n := range all {
		all[n] = empty
	}
	r := wasmbin.Reader{B: body}
	for n := r.Count(); n > 0; n-- {
		flag := r.U32()
		if flag != 0 || wasmbin.Op(r.Byte()) != wasmbin.OpI32Const {
			return nil, false
		}
		at := uint64(uint32(r.S32())) //nolint:gosec // an index is unsigned
		if wasmbin.Op(r.Byte()) != wasmbin.OpEnd {
			return nil, false
		}
		count := uint64(r.Count())
		if r.Err() != nil || at+count > size {
			return nil, false
		}
		for i := range count {
			all[at+i] = int64(r.U32())
		}
	}
	return all, r.Err() == nil && !r.More()
}

// table is the table section.
func (b *binding) table(l wasmbin.Limits) []byte {
	const withValue, hasMax = 0x40, 1
	out := []byte{1, withValue, 0, wasmbin.Funcref, 0}
	if l.HasMax {
		out[len(out)-1] = hasMax
	}
	out = wasmbin.AppendU32(out, uint32(l.Min)-b.base) //nolint:gosec // the engine knows 32 bits
	if l.HasMax {
		out = wasmbin.AppendU32(out, uint32(l.Max)-b.base) //nolint:gosec // as above
	}
	out = wasmbin.AppendU32(append(out, byte(wasmbin.OpRefFunc)), b.binder)
	return append(out, byte(wasmbin.OpEnd))
}

// elements is the element section: the entries of other types, and a
// declaration of all that the binder may refer to.
func (b *binding) elements() []byte {
	const declarative, functionKind = 3, 0
	out := wasmbin.AppendU32(nil, uint32(len(b.others))+1) //nolint:gosec // below most
	for _, n := range b.others {
		out = append(out, 0, byte(wasmbin.OpI32Const))
		out = append(wasmbin.AppendS64(out, int64(n)), byte(wasmbin.OpEnd), 1)
		out = wasmbin.AppendU32(out, uint32(b.entries[n])) //nolint:gosec // a module's functions
	}
	var refs []byte
	count := uint32(0)
	for _, f := range b.entries {
		if f != empty {
			refs = wasmbin.AppendU32(refs, uint32(f)) //nolint:gosec // a module's functions
			count++
		}
	}
	out = wasmbin.AppendU32(append(out, declarative, functionKind), count)
	return append(out, refs...)
}

// binderBody is the function that is in all entries at first.
func (s *shaper) binderBody(b *binding) []byte {
	params := uint32(len(s.types[b.typ].Params)) //nolint:gosec // a type's
	index := params
	out := []byte{1, 1, wasmbin.I32}
	out = op(out, wasmbin.OpGlobalGet, b.counter)
	out = op(out, wasmbin.OpLocalTee, index)
	out = op(out, wasmbin.OpLocalGet, index)
	out = op(out, wasmbin.OpCall, b.lookup)
	out = op(out, wasmbin.OpTableSet, 0)
	for n := range params {
		out = op(out, wasmbin.OpLocalGet, n)
	}
	out = op(out, wasmbin.OpLocalGet, index)
	// An entry that is empty is so now, and this traps as it should.
	out = append(op(out, wasmbin.OpCallIndirect, b.typ), 0)
	return append(out, byte(wasmbin.OpEnd))
}

// chooseChunk is a function that finds the entry of an index.
func (b *binding) chooseChunk(chunks int) []byte {
	const opI32ShrU, chunkBits = 0x76, 8
	out := openCases(nil, chunks)
	out = op(out, wasmbin.OpLocalGet, 0)
	out = append(out, byte(wasmbin.OpI32Const), chunkBits, opI32ShrU)
	labels := make([]int, chunks)
	for n := range labels {
		labels[n] = n
	}
	out = branches(out, labels, chunks)
	for n := range chunks {
		out = op(append(out, byte(wasmbin.OpEnd)), wasmbin.OpLocalGet, 0)
		out = op(out, wasmbin.OpCall, b.lookup+1+uint32(n)) //nolint:gosec // few
		out = append(out, byte(wasmbin.OpReturn))
	}
	return closeEmpty(out)
}

// chooseEntry is the same for a chunk.
func (b *binding) chooseEntry(n int) []byte {
	const opI32And = 0x71
	entries := b.entries[n*chunk : min((n+1)*chunk, len(b.entries))]
	labels := make([]int, len(entries))
	found := 0
	for i, f := range entries {
		labels[i] = empty
		if f != empty {
			labels[i] = found
			found++
		}
	}
	out := openCases(nil, found)
	out = op(out, wasmbin.OpLocalGet, 0)
	out = wasmbin.AppendS64(append(out, byte(wasmbin.OpI32Const)), chunk-1)
	out = branches(append(out, opI32And), labels, found)
	for _, f := range entries {
		if f != empty {
			out = op(append(out, byte(wasmbin.OpEnd)), wasmbin.OpRefFunc, uint32(f)) //nolint:gosec // a module's functions
			out = append(out, byte(wasmbin.OpReturn))
		}
	}
	return closeEmpty(out)
}

// openCases begins a body of blocks: one for each case, and one for none.
func openCases(out []byte, cases int) []byte {
	out = append(out, 0) // no locals
	for range cases + 1 {
		out = append(out, byte(wasmbin.OpBlock), wasmbin.NoValue)
	}
	return out
}

// branches goes to the end of the block that a label names; empty is none's.
func branches(out []byte, labels []int, none int) []byte {
	out = wasmbin.AppendU32(append(out, byte(wasmbin.OpBrTable)), uint32(len(labels))) //nolint:gosec // few
	for _, l := range append(labels, empty) {
		if l == empty {
			l = none
		}
		out = wasmbin.AppendU32(out, uint32(l)) //nolint:gosec // few
	}
	return out
}

// closeEmpty ends it.
func closeEmpty(out []byte) []byte {
	return append(out, byte(wasmbin.OpEnd), byte(wasmbin.OpRefNull), wasmbin.Funcref, byte(wasmbin.OpEnd))
}

func op(out []byte, o wasmbin.Op, index uint32) []byte {
	return wasmbin.AppendU32(append(out, byte(o)), index)
}

func appendBody(code, body []byte) []byte {
	return append(wasmbin.AppendU32(code, uint32(len(body))), body...) //nolint:gosec // a function's
}
