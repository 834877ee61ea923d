package meter

import (
	"dhow.dev/dhow/wasmrt/internal/wasmbin"
)

// added is how many functions are imported, before the module's own.
const added = 2

// shift is the new index of a function.
func (m *module) shift(f uint32) uint32 {
	if uint64(f) < uint64(len(m.imports)) {
		return f
	}
	return f + added
}

// spend is the index of the helper that asks for fuel.
func (m *module) spend() uint32 {
	return uint32(len(m.escapes)) + added //nolint:gosec // indices are of 32 bits
}

// Rewrite returns the module with meters in it. The input is not changed. The
// error is an *Error.
func Rewrite(wasm []byte, o Options) ([]byte, error) {
	if o.Stack <= 0 {
		o.Stack = 16 << 20
	}
	m, err := parse(wasm)
	if err != nil {
		return nil, err
	}
	code, err := m.code(o.Mode)
	if err != nil {
		return nil, broken(err)
	}
	w := writer{m: m, o: o, code: code, b: make([]byte, 0, len(wasm)+len(wasm)/2)}
	return w.module(), nil
}

// code rewrites the code section's body.
func (m *module) code(mode Mode) ([]byte, error) {
	if err := m.scan(); err != nil {
		return nil, err
	}
	size := 0
	for _, b := range m.bodies {
		size += len(b)
	}
	helpers := m.helpers()
	out := make([]byte, 0, size+size/2+1024)
	out = wasmbin.AppendU32(out, uint32(len(m.bodies)+len(helpers))) //nolint:gosec // indices are of 32 bits
	bounds := m.findBounds()
	p := planner{m: m, bounds: &bounds}
	e := emitter{m: m, mode: mode}
	for n := range m.bodies {
		if err := p.plan(n); err != nil {
			return nil, err
		}
		e.b = e.b[:0]
		e.body(n, &p)
		out = appendBody(out, e.b)
	}
	for _, h := range helpers {
		out = appendBody(out, h.body)
	}
	return out, nil
}

func appendBody(out, body []byte) []byte {
	out = wasmbin.AppendU32(out, uint32(len(body))) //nolint:gosec // modules are below 4 GiB
	return append(out, body...)
}

// readLocals finds where a body's instructions begin, and counts its locals.
func readLocals(body []byte, params int) (start int, locals uint32, err error) {
	r := wasmbin.Reader{B: body}
	all := uint64(params) //nolint:gosec // a length
	for n := r.Count(); n > 0 && r.Err() == nil; n-- {
		all += uint64(r.U32())
		r.ValueType()
	}
	if r.Err() == nil && all > maxLocals {
		r.Fail(&Error{Reason: ReasonTooManyLocals, Message: "a function has too many locals"})
	}
	return r.At, uint32(all), r.Err() //nolint:gosec // checked
}

// helper is a function that Rewrite appends.
type helper struct {
	name      string
	signature wasmbin.Signature
	body      []byte
}

func (m *module) helpers() []helper {
	return append([]helper{m.spendHelper()}, m.bulkHelpers...)
}

// spendHelper gives back a charge that will be made again, and asks for fuel
// until there is enough for it.
func (m *module) spendHelper() helper {
	e := emitter{m: m}
	e.b = append(e.b, 0) // no locals
	e.op(opGlobalGet, m.globals)
	e.op(opLocalGet, 0)
	e.b = append(e.b, opI64Add)
	e.op(opGlobalSet, m.globals)
	e.b = append(e.b, opLoop, wasmbin.NoValue)
	e.op(opGlobalGet, m.globals)
	e.op(opCall, uint32(len(m.imports))) //nolint:gosec // indices are of 32 bits
	e.op(opGlobalSet, m.globals)
	e.op(opGlobalGet, m.globals)
	e.op(opLocalGet, 0)
	e.b = append(e.b, opI64LtS)
	e.op(opBrIf, 0)
	e.b = append(e.b, opEnd)
	e.op(opGlobalGet, m.globals)
	e.b = append(e.b, opEnd)
	i64 := []byte{wasmbin.I64}
	return helper{name: "dhow:refill", signature: wasmbin.Signature{Params: i64, Results: i64}, body: e.b}
}
