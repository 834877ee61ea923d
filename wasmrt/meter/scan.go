package meter

import "dhow.dev/dhow/wasmrt/internal/wasmbin"

// function is what is known of one of the module's own functions before its
// body is rewritten.
type function struct {
	start  int    // where the instructions begin in its body
	locals uint32 // with its parameters
	frame  uint64 // estimate of its native frame, in bytes
	calls  []uint32
}

// scan reads all bodies once: who calls whom, which bulk operations there are,
// and how large the frames may be.
func (m *module) scan() error {
	m.own = make([]function, len(m.bodies))
	m.canonicalTypes()
	var calls []uint32
	for n, body := range m.bodies {
		f := &m.own[n]
		var err error
		f.start, f.locals, err = readLocals(body, len(m.signature(uint32(len(m.imports)+n)).Params)) //nolint:gosec // indices are of 32 bits
		if err != nil {
			return err
		}
		r := wasmbin.Reader{B: body, At: f.start}
		first, values := len(calls), uint64(0)
		var i wasmbin.Instr
		for r.More() {
			r.Instr(&i)
			switch i.Op {
			case wasmbin.OpLocalSet, wasmbin.OpLocalTee:
				values++
			default:
				calls = m.scanCall(&r, &i, calls)
			}
		}
		if r.Err() != nil {
			return r.Err()
		}
		f.calls = calls[first:len(calls):len(calls)]
		f.frame = frameSize(f.locals, values, len(f.calls))
	}
	return nil
}

// frameSize estimates a native frame. A value that a local is given, or that
// waits for a call to end, may have a place of its own there: that is how
// wazero allots them.
func frameSize(locals uint32, sets uint64, calls int) uint64 {
	return 64 + 8*(uint64(locals)+sets/4+uint64(calls)/4) //nolint:gosec // a length
}

// scanCall checks what an instruction names, and notes what it calls.
func (m *module) scanCall(r *wasmbin.Reader, i *wasmbin.Instr, calls []uint32) []uint32 {
	switch i.Op {
	case wasmbin.OpCall, wasmbin.OpReturnCall:
		if uint64(i.X) >= uint64(len(m.escapes)) {
			r.Failf("there is no function %d", i.X)
		} else if n := uint32(len(m.imports)); i.X >= n { //nolint:gosec // indices are of 32 bits
			calls = append(calls, i.X-n)
		}
	case wasmbin.OpCallIndirect, wasmbin.OpReturnCallIndirect:
		if uint64(i.X) >= uint64(len(m.types)) {
			r.Failf("there is no type %d", i.X)
		} else {
			calls = append(calls, m.typeNode(i.X))
		}
	case wasmbin.OpRefFunc:
		m.escape(r, i.X)
	case wasmbin.OpMemoryFill, wasmbin.OpMemoryCopy, wasmbin.OpMemoryInit,
		wasmbin.OpTableFill, wasmbin.OpTableCopy, wasmbin.OpTableInit, wasmbin.OpTableGrow:
		m.needBulk(r, i)
	default:
	}
	return calls
}

// typeNode is the node of the call graph that stands for all functions of a
// type that can be called indirectly. It comes after those of the functions.
func (m *module) typeNode(t uint32) uint32 {
	return uint32(len(m.functions)) + m.canonical[t] //nolint:gosec // indices are of 32 bits
}

// canonicalTypes finds for each type the first one that is the same.
func (m *module) canonicalTypes() {
	m.canonical = make([]uint32, len(m.types))
	first := make(map[string]uint32, len(m.types))
	for n, t := range m.types {
		key := string(t.Params) + ":" + string(t.Results)
		if _, ok := first[key]; !ok {
			first[key] = uint32(n) //nolint:gosec // indices are of 32 bits
		}
		m.canonical[n] = first[key]
	}
}
