package meter

import (
	"fmt"
	"math"

	"dhow.dev/dhow/wasmrt/internal/wasmbin"
)

// Bulk operations work on any length in one go, in which nobody can interrupt
// them. So helpers do them in pieces, and pay for each piece.
const (
	// memoryPiece is in bytes: some 10 us of copying, or 100 us where the
	// system must find the pages first. A byte costs a unit.
	memoryPiece = 256 << 10
	// tablePiece is in elements, of which each costs elementCost.
	tablePiece  = memoryPiece / elementCost
	elementCost = 8
)

// bulk is an operation with what it names: a segment, or tables.
type bulk struct {
	op   wasmbin.Op
	x, y uint32
}

// needBulk notes that a module has an operation.
func (m *module) needBulk(r *wasmbin.Reader, i *wasmbin.Instr) {
	b := bulkOf(i)
	var tables []uint32
	switch i.Op {
	case wasmbin.OpTableFill, wasmbin.OpTableGrow:
		tables = []uint32{i.X}
	case wasmbin.OpTableCopy:
		tables = []uint32{i.X, i.Y}
	case wasmbin.OpTableInit:
		tables = []uint32{i.Y}
	default:
	}
	for _, t := range tables {
		if uint64(t) >= uint64(len(m.tables)) {
			r.Failf("there is no table %d", t)
			return
		}
	}
	if _, ok := m.bulks[b]; ok {
		return
	}
	if m.bulks == nil {
		m.bulks = map[bulk]uint32{}
	}
	m.bulks[b] = m.spend() + 1 + uint32(len(m.bulkHelpers)) //nolint:gosec // indices are of 32 bits
	m.bulkHelpers = append(m.bulkHelpers, m.bulkHelper(b, m.bulks[b])...)
}

// bulkOf is an instruction as the key of its helper.
func bulkOf(i *wasmbin.Instr) bulk {
	b := bulk{op: i.Op}
	switch i.Op {
	case wasmbin.OpMemoryInit, wasmbin.OpTableFill, wasmbin.OpTableGrow:
		b.x = i.X
	case wasmbin.OpTableCopy, wasmbin.OpTableInit:
		b.x, b.y = i.X, i.Y
	default: // there is one memory
	}
	return b
}

// Parameters of the helpers, which are those of the operations. Growing a table
// has the length second, and the others have it last.
const (
	bulkTo = iota
	bulkFrom
	bulkLength
	bulkLocal
)

// bulkHelper makes the functions that do an operation: one that does it if it
// is short, and one for the pieces of what is long.
func (m *module) bulkHelper(b bulk, index uint32) []helper {
	params := []byte{wasmbin.I32, wasmbin.I32, wasmbin.I32}
	name := "dhow:" + b.name()
	switch b.op {
	case wasmbin.OpTableGrow:
		params = []byte{m.tables[b.x], wasmbin.I32}
		e := emitter{m: m, fuel: 2}
		e.b = append(e.b, 1, 1, wasmbin.I64)
		e.payByLength(index, 2, 1, elementCost)
		e.bulk(b, 0, 1)
		e.b = append(e.b, opEnd)
		return []helper{{name: name, signature: wasmbin.Signature{Params: params, Results: []byte{wasmbin.I32}}, body: e.b}}
	case wasmbin.OpTableFill:
		params[bulkFrom] = m.tables[b.x]
	default:
	}
	s := wasmbin.Signature{Params: params}
	return []helper{
		{name: name, signature: s, body: m.shortBulk(b, index)},
		{name: name + ".long", signature: s, body: m.longBulk(b, index)},
	}
}

func (b bulk) name() string {
	switch b.op {
	case wasmbin.OpMemoryFill:
		return "memory.fill"
	case wasmbin.OpMemoryCopy:
		return "memory.copy"
	case wasmbin.OpMemoryInit:
		return fmt.Sprintf("memory.init.%d", b.x)
	case wasmbin.OpTableFill:
		return fmt.Sprintf("table.fill.%d", b.x)
	case wasmbin.OpTableCopy:
		return fmt.Sprintf("table.copy.%d.%d", b.x, b.y)
	case wasmbin.OpTableInit:
		return fmt.Sprintf("table.init.%d.%d", b.x, b.y)
	default:
		return fmt.Sprintf("table.grow.%d", b.x)
	}
}

// unit is the cost of a byte or element, and how many of them are a piece.
func (b bulk) unit() (cost uint64, piece int64) {
	switch b.op {
	case wasmbin.OpMemoryFill, wasmbin.OpMemoryCopy, wasmbin.OpMemoryInit:
		return 1, memoryPiece
	default:
		return elementCost, tablePiece
	}
}

// bulk writes the operation itself, on locals.
func (e *emitter) bulk(b bulk, locals ...uint32) {
	for _, l := range locals {
		e.op(opLocalGet, l)
	}
	e.b = append(e.b, byte(b.op>>8), byte(b.op)) // the second number is small
	switch b.op {
	case wasmbin.OpMemoryFill:
		e.b = append(e.b, 0)
	case wasmbin.OpMemoryCopy:
		e.b = append(e.b, 0, 0)
	case wasmbin.OpMemoryInit:
		e.b = append(wasmbin.AppendU32(e.b, b.x), 0)
	case wasmbin.OpTableCopy, wasmbin.OpTableInit:
		e.b = wasmbin.AppendU32(wasmbin.AppendU32(e.b, b.x), b.y)
	default:
		e.b = wasmbin.AppendU32(e.b, b.x)
	}
}

// payByLength charges for a length that is in a local. Where fuel is gone the
// helper calls itself once there is more.
func (e *emitter) payByLength(self, params, length uint32, unit uint64) {
	cost := func() {
		e.op(opLocalGet, length)
		e.b = append(e.b, byte(wasmbin.OpI64ExtendI32U))
		e.i64(unit)
		e.b = append(e.b, byte(wasmbin.OpI64Mul))
	}
	e.op(opGlobalGet, e.m.globals)
	cost()
	e.b = append(e.b, opI64Sub)
	e.op(opLocalTee, e.fuel)
	e.op(opGlobalSet, e.m.globals)
	e.op(opLocalGet, e.fuel)
	e.i64(0)
	e.b = append(e.b, opI64LtS, opIf, wasmbin.NoValue)
	cost()
	e.op(opCall, e.m.spend())
	e.b = append(e.b, opDrop)
	for n := range params {
		e.op(opLocalGet, n)
	}
	e.op(opCall, self)
	e.b = append(e.b, opReturn, opEnd)
}

func (m *module) shortBulk(b bulk, index uint32) []byte {
	cost, piece := b.unit()
	e := emitter{m: m, fuel: bulkLocal}
	e.b = append(e.b, 1, 1, wasmbin.I64)
	e.op(opLocalGet, bulkLength)
	e.i32(piece)
	e.b = append(e.b, byte(wasmbin.OpI32GtU), opIf, wasmbin.NoValue)
	e.get(bulkTo, bulkFrom, bulkLength)
	e.op(opCall, index+1)
	e.b = append(e.b, opReturn, opEnd)
	e.payByLength(index, bulkLocal, bulkLength, cost)
	e.bulk(b, bulkTo, bulkFrom, bulkLength)
	e.b = append(e.b, opEnd)
	return e.b
}

func (m *module) longBulk(b bulk, index uint32) []byte {
	e := emitter{m: m}
	e.b = append(e.b, 0) // no locals
	e.trapEarly(b)
	switch b.op {
	case wasmbin.OpMemoryCopy, wasmbin.OpTableCopy:
		// What overlaps is copied from the end that would be overwritten.
		e.get(bulkTo, bulkFrom)
		e.b = append(e.b, byte(wasmbin.OpI32GtU), opIf, wasmbin.NoValue)
		e.backward(b, index)
		e.b = append(e.b, opElse)
		e.forward(b, index)
		e.b = append(e.b, opEnd)
	default:
		e.forward(b, index)
	}
	e.get(bulkTo, bulkFrom, bulkLength)
	e.op(opCall, index)
	e.b = append(e.b, opEnd)
	return e.b
}

// forward does all pieces but the last.
func (e *emitter) forward(b bulk, index uint32) {
	_, piece := b.unit()
	e.b = append(e.b, opLoop, wasmbin.NoValue)
	e.get(bulkTo, bulkFrom)
	e.i32(piece)
	e.op(opCall, index)
	e.step(bulkTo, wasmbin.OpI32Add, piece)
	switch b.op {
	case wasmbin.OpMemoryFill, wasmbin.OpTableFill:
	default:
		e.step(bulkFrom, wasmbin.OpI32Add, piece)
	}
	e.step(bulkLength, wasmbin.OpI32Sub, piece)
	e.again(piece)
}

// backward does all pieces but the first, from the end on.
func (e *emitter) backward(b bulk, index uint32) {
	_, piece := b.unit()
	e.b = append(e.b, opLoop, wasmbin.NoValue)
	e.step(bulkLength, wasmbin.OpI32Sub, piece)
	for _, at := range []uint32{bulkTo, bulkFrom} {
		e.get(at, bulkLength)
		e.b = append(e.b, byte(wasmbin.OpI32Add))
	}
	e.i32(piece)
	e.op(opCall, index)
	e.again(piece)
}

// again goes on with a loop while more than a piece is left.
func (e *emitter) again(piece int64) {
	e.op(opLocalGet, bulkLength)
	e.i32(piece)
	e.b = append(e.b, byte(wasmbin.OpI32GtU))
	e.op(opBrIf, 0)
	e.b = append(e.b, opEnd)
}

// trapEarly sees to it that an operation which leaves its bounds traps before
// it has written anything: it is tried in one go.
func (e *emitter) trapEarly(b bulk) {
	try := func() {
		e.b = append(e.b, byte(wasmbin.OpI64GtU), opIf, wasmbin.NoValue)
		e.bulk(b, bulkTo, bulkFrom, bulkLength)
		e.b = append(e.b, opReturn, opEnd)
	}
	switch b.op {
	case wasmbin.OpMemoryFill, wasmbin.OpMemoryCopy, wasmbin.OpMemoryInit:
		e.endOf(bulkTo)
		e.memorySize()
	case wasmbin.OpTableInit:
		e.endOf(bulkTo)
		e.tableSize(b.y)
	default:
		e.endOf(bulkTo)
		e.tableSize(b.x)
	}
	try()
	switch b.op {
	case wasmbin.OpMemoryCopy:
		e.endOf(bulkFrom)
		e.memorySize()
		try()
	case wasmbin.OpTableCopy:
		e.endOf(bulkFrom)
		e.tableSize(b.y)
		try()
	case wasmbin.OpMemoryInit, wasmbin.OpTableInit:
		// Nobody can ask for a segment's length, but nothing can be taken
		// from behind its end, not even nothing.
		e.endOf(bulkFrom)
		e.i64(math.MaxUint32)
		try()
		e.i32(0)
		e.get(bulkFrom, bulkLength)
		e.b = append(e.b, byte(wasmbin.OpI32Add))
		e.i32(0)
		e.bulk(b)
	default:
	}
}

// endOf is the sum of a local and the length, which do not overflow.
func (e *emitter) endOf(local uint32) {
	e.op(opLocalGet, local)
	e.b = append(e.b, byte(wasmbin.OpI64ExtendI32U))
	e.op(opLocalGet, bulkLength)
	e.b = append(e.b, byte(wasmbin.OpI64ExtendI32U), opI64Add)
}

func (e *emitter) memorySize() {
	e.b = append(e.b, byte(wasmbin.OpMemorySize), 0, byte(wasmbin.OpI64ExtendI32U))
	e.i64(16)
	e.b = append(e.b, byte(wasmbin.OpI64Shl))
}

func (e *emitter) tableSize(table uint32) {
	e.bulk(bulk{op: wasmbin.OpTableSize, x: table})
	e.b = append(e.b, byte(wasmbin.OpI64ExtendI32U))
}

func (e *emitter) i32(v int64) {
	e.b = wasmbin.AppendS64(append(e.b, byte(wasmbin.OpI32Const)), v)
}

func (e *emitter) get(locals ...uint32) {
	for _, l := range locals {
		e.op(opLocalGet, l)
	}
}

// step adds to a local, or takes from it.
func (e *emitter) step(local uint32, op wasmbin.Op, by int64) {
	e.op(opLocalGet, local)
	e.i32(by)
	e.b = append(e.b, byte(op))
	e.op(opLocalSet, local)
}
