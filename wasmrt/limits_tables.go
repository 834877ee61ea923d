package wasmrt

import (
	"slices"

	"dhow.dev/dhow/wasmrt/internal/wasmbin"
)

// wazero lets a table grow to 4 Gi elements, of 8 bytes each on Go's heap. So a
// module that grows tables does it through a function that is added to it for
// each table: it counts what may still be added.

// Exports of a module that grows tables: i32 globals.
const (
	tablesLeft    = ownExport + "tables.left"    // elements that may be added
	tablesRefused = ownExport + "tables.refused" // 1: some were refused
)

// boundTables makes a module ask before a table grows. What it does not
// understand the meter refuses.
func boundTables(wasm []byte) []byte {
	sections, err := wasmbin.Sections(wasm)
	s := &shaper{sections: sections}
	if err != nil || s.read() != nil || !s.uses[wasmbin.OpTableGrow] {
		return wasm
	}
	// Indices are below 2^32, as a module is below 4 GiB.
	types, own, left := uint32(len(s.types)), uint32(len(s.functions)-s.imported), uint32(len(s.globals)) //nolint:gosec // see above
	first, tables := uint32(len(s.functions)), uint32(len(s.tables))                                      //nolint:gosec // see above

	s.replace(wasmbin.Code, s.tableGrowth(first, own+tables, left))
	var signatures, functions []byte
	for n, t := range s.tables {
		signatures = append(signatures, wasmbin.FuncType, 2, t.valueType, wasmbin.I32, 1, wasmbin.I32)
		functions = wasmbin.AppendU32(functions, types+uint32(n)) //nolint:gosec // see above
	}
	s.grow(wasmbin.Type, types+tables, signatures)
	s.grow(wasmbin.Function, own+tables, functions)
	zero := []byte{wasmbin.I32, 1, byte(wasmbin.OpI32Const), 0, byte(wasmbin.OpEnd)}
	s.grow(wasmbin.Global, left-s.importedGlobals+2, slices.Concat(zero, zero))
	exports := append(wasmbin.AppendName(nil, tablesLeft), wasmbin.ExternGlobal)
	exports = wasmbin.AppendU32(exports, left)
	exports = append(wasmbin.AppendName(exports, tablesRefused), wasmbin.ExternGlobal)
	exports = wasmbin.AppendU32(exports, left+1)
	s.grow(wasmbin.Export, s.exports+2, exports)
	return s.join()
}

// tableGrowth is the code section with calls in place of growth, and with the
// functions that are called.
func (s *shaper) tableGrowth(first, count, left uint32) []byte {
	section := s.body(wasmbin.Code)
	r := wasmbin.Reader{B: section}
	out := wasmbin.AppendU32(make([]byte, 0, len(section)+64), count)
	for n := r.Count(); n > 0; n-- {
		out = appendBody(out, callGrowth(r.Bytes(r.U32()), first))
	}
	for n := range s.tables {
		out = appendBody(out, growth(uint32(n), left)) //nolint:gosec // a module's tables
	}
	return out
}

// callGrowth returns a body with calls in place of growth.
func callGrowth(body []byte, first uint32) []byte {
	r := wasmbin.Reader{B: body}
	skipLocals(&r)
	var out []byte
	start := 0 // of what is not copied yet
	var i wasmbin.Instr
	for r.More() {
		r.Instr(&i)
		if i.Op == wasmbin.OpTableGrow {
			out = op(append(out, body[start:i.Start]...), wasmbin.OpCall, first+i.X)
			start = i.End
		}
	}
	return append(out, body[start:]...)
}

// growth is the body of a function (ref, n i32) -> (i32) that does what
// table.grow does, within what is left.
func growth(table, left uint32) []byte {
	const (
		ref, n, was = 0, 1, 2 // locals
		i32Ne       = wasmbin.Op(0x47)
	)
	b := []byte{1, 1, wasmbin.I32}
	minusOne := func() { b = wasmbin.AppendS64(append(b, byte(wasmbin.OpI32Const)), -1) }
	b = op(b, wasmbin.OpLocalGet, n)
	b = op(b, wasmbin.OpGlobalGet, left)
	b = append(b, byte(wasmbin.OpI32GtU), byte(wasmbin.OpIf), wasmbin.NoValue, byte(wasmbin.OpI32Const), 1)
	b = op(b, wasmbin.OpGlobalSet, left+1)
	minusOne()
	b = append(b, byte(wasmbin.OpReturn), byte(wasmbin.OpEnd))

	b = op(b, wasmbin.OpLocalGet, ref)
	b = op(b, wasmbin.OpLocalGet, n)
	b = wasmbin.AppendU32(append(b, byte(wasmbin.OpTableGrow>>8), byte(wasmbin.OpTableGrow&0xff)), table)
	b = op(b, wasmbin.OpLocalTee, was)
	minusOne()
	b = append(b, byte(i32Ne), byte(wasmbin.OpIf), wasmbin.NoValue)
	b = op(b, wasmbin.OpGlobalGet, left)
	b = op(b, wasmbin.OpLocalGet, n)
	b = op(append(b, byte(wasmbin.OpI32Sub)), wasmbin.OpGlobalSet, left)
	b = append(b, byte(wasmbin.OpEnd))
	return append(op(b, wasmbin.OpLocalGet, was), byte(wasmbin.OpEnd))
}
