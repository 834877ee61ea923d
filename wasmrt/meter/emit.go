package meter

import "dhow.dev/dhow/wasmrt/internal/wasmbin"

// Instructions, and types, as the bytes of a body.
const (
	opUnreachable = byte(wasmbin.OpUnreachable)
	opBlock       = byte(wasmbin.OpBlock)
	opLoop        = byte(wasmbin.OpLoop)
	opIf          = byte(wasmbin.OpIf)
	opElse        = byte(wasmbin.OpElse)
	opEnd         = byte(wasmbin.OpEnd)
	opBr          = byte(wasmbin.OpBr)
	opBrIf        = byte(wasmbin.OpBrIf)
	opReturn      = byte(wasmbin.OpReturn)
	opCall        = byte(wasmbin.OpCall)
	opDrop        = byte(wasmbin.OpDrop)
	opLocalGet    = byte(wasmbin.OpLocalGet)
	opLocalSet    = byte(wasmbin.OpLocalSet)
	opLocalTee    = byte(wasmbin.OpLocalTee)
	opGlobalGet   = byte(wasmbin.OpGlobalGet)
	opGlobalSet   = byte(wasmbin.OpGlobalSet)
	opI64Const    = byte(wasmbin.OpI64Const)
	opI64Add      = byte(wasmbin.OpI64Add)
	opI64Sub      = byte(wasmbin.OpI64Sub)
	opI64LtS      = byte(wasmbin.OpI64LtS)
	opI64GeS      = byte(wasmbin.OpI64GeS)
)

// maxReentry is how many parameters a function may have to call itself again
// when its fuel is gone. With more, all calls of itself together could be much
// larger than the module.
const maxReentry = 24

// emitter writes bodies.
//
// The form of the checks matters much, as wazero's register allocator takes
// what the first predecessor of a block left in registers for what is there.
// So the arm that calls out must not come back to where values are live: it
// starts the loop anew, or calls the function again and returns.
type emitter struct {
	m     *module
	mode  Mode
	b     []byte
	fuel  uint32 // the local that holds fuel
	depth uint32 // the local that holds what is left of the stack
	frame uint64 // of the function
	local int    // up to where the local holds the fuel
}

// smallest is the least cost that a payment inside of a loop or function is
// made for.
func (m Mode) smallest() uint64 {
	if m == Preempt {
		return 32
	}
	return 1
}

func (e *emitter) op(op byte, index uint32) {
	e.b = wasmbin.AppendU32(append(e.b, op), index)
}

func (e *emitter) i64(v uint64) {
	e.b = wasmbin.AppendS64(append(e.b, opI64Const), int64(v)) //nolint:gosec // costs are small
}

// body writes a function's body with edits, without its size.
func (e *emitter) body(n int, p *planner) {
	f, body := &e.m.own[n], e.m.bodies[n]
	e.fuel, e.depth, e.local, e.frame = f.locals, f.locals+1, 0, f.frame
	e.locals(body[:f.start], 2)
	e.entry(uint32(len(e.m.imports)+n), p) //nolint:gosec // indices are of 32 bits
	e.stack(p.bounds.checked[n], p.depth)
	at := f.start
	for n := range p.edits[1:] {
		d := &p.edits[1+n]
		e.b = append(e.b, body[at:d.at]...)
		at = d.at + d.skip
		e.edit(d)
	}
	e.b = append(e.b, body[at:]...)
}

// stack finds what is left of the stack below this function, for its calls, and
// ends the guest if there is nothing.
func (e *emitter) stack(check, calls bool) {
	if !check && !calls {
		return
	}
	e.op(opGlobalGet, e.m.globals+1)
	e.i64(e.frame)
	e.b = append(e.b, opI64Sub)
	e.op(opLocalSet, e.depth)
	if check {
		e.op(opLocalGet, e.depth)
		e.i64(0)
		e.b = append(e.b, opI64LtS, opIf, wasmbin.NoValue)
		e.op(opCall, uint32(len(e.m.imports)+1)) //nolint:gosec // indices are of 32 bits
		e.b = append(e.b, opUnreachable, opEnd)
	}
}

// locals adds to the locals of a body.
func (e *emitter) locals(declared []byte, more uint32) {
	r := wasmbin.Reader{B: declared}
	groups := r.U32()
	e.b = wasmbin.AppendU32(e.b, groups+1)
	e.b = append(e.b, declared[r.At:]...)
	e.b = append(wasmbin.AppendU32(e.b, more), wasmbin.I64)
}

func (e *emitter) edit(d *edit) {
	switch d.kind {
	case editCharge:
		if d.cost >= e.mode.smallest() {
			e.charge(d.cost, d.at < e.local)
		}
	case editLoop:
		if d.until > e.local {
			e.local = d.until
			e.op(opGlobalGet, e.m.globals)
			e.op(opLocalSet, e.fuel)
		}
	case editHead:
		e.head(d)
	case editCall:
		e.b = wasmbin.AppendU32(e.b, d.index)
	case editReplace:
		e.op(opCall, d.index)
	case editDepth:
		e.op(opLocalGet, e.depth)
		e.op(opGlobalSet, e.m.globals+1)
	case editTailDepth:
		e.op(opLocalGet, e.depth)
		e.i64(e.frame)
		e.b = append(e.b, opI64Add)
		e.op(opGlobalSet, e.m.globals+1)
	}
}

// charge takes cost from the fuel. Inside of a loop without calls the fuel is
// in a local, and only written through to the global.
func (e *emitter) charge(cost uint64, local bool) {
	if local {
		e.op(opLocalGet, e.fuel)
	} else {
		e.op(opGlobalGet, e.m.globals)
	}
	e.i64(cost)
	e.b = append(e.b, opI64Sub)
	if local {
		e.op(opLocalTee, e.fuel)
	}
	e.op(opGlobalSet, e.m.globals)
}

// chargeLocal takes cost from the fuel and leaves the new fuel in the local.
func (e *emitter) chargeLocal(cost uint64, local bool) {
	if local {
		e.op(opLocalGet, e.fuel)
	} else {
		e.op(opGlobalGet, e.m.globals)
	}
	e.i64(cost)
	e.b = append(e.b, opI64Sub)
	e.op(opLocalTee, e.fuel)
	e.op(opGlobalSet, e.m.globals)
}

// entry pays for a function's first block. Where fuel is gone, it is refilled,
// and the function called again.
func (e *emitter) entry(f uint32, p *planner) {
	cost := max(p.edits[0].cost, 1)
	if !p.calls && !p.loops && p.total < 1000 {
		if cost >= e.mode.smallest() {
			e.charge(cost, false)
		}
		return
	}
	s := e.m.signature(f)
	// In a chain of tail calls each call of itself would leave a frame.
	if len(s.Params) > maxReentry || p.tails {
		e.refillInPlace(cost, false)
		return
	}
	e.chargeLocal(cost, false)
	e.op(opLocalGet, e.fuel)
	e.i64(0)
	e.b = append(e.b, opI64LtS, opIf, wasmbin.NoValue)
	e.i64(cost)
	e.op(opCall, e.m.spend())
	e.b = append(e.b, opDrop)
	for n := range s.Params {
		e.op(opLocalGet, uint32(n)) //nolint:gosec // few
	}
	e.op(opCall, e.m.shift(f))
	e.b = append(e.b, opReturn, opEnd)
}

// head pays for a loop's first block. Where fuel is gone, it is refilled, and
// the loop begins anew.
func (e *emitter) head(d *edit) {
	cost := max(d.cost, 1)
	local := d.at < e.local
	if d.params {
		e.refillInPlace(cost, local)
		return
	}
	e.chargeLocal(cost, local)
	e.op(opLocalGet, e.fuel)
	e.i64(0)
	e.b = append(e.b, opI64GeS, opIf, wasmbin.NoValue, opElse)
	e.i64(cost)
	e.op(opCall, e.m.spend())
	e.op(opLocalSet, e.fuel)
	e.op(opBr, 1)
	e.b = append(e.b, opEnd)
}

// refillInPlace pays where neither a loop nor a function can begin anew.
func (e *emitter) refillInPlace(cost uint64, local bool) {
	e.chargeLocal(cost, local)
	e.op(opLocalGet, e.fuel)
	e.i64(0)
	e.b = append(e.b, opI64GeS, opIf, wasmbin.NoValue, opElse)
	e.i64(cost)
	e.op(opCall, e.m.spend())
	e.i64(cost)
	e.b = append(e.b, opI64Sub)
	e.op(opLocalTee, e.fuel)
	e.op(opGlobalSet, e.m.globals)
	e.b = append(e.b, opEnd)
}
