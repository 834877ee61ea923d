package wasmrt

import "dhow.dev/dhow/wasmrt/internal/wasmbin"

// indirect returns the bodies of the code section with indirect calls that
// suit the binding. It is false for what the engine refuses.
func (s *shaper) indirect(b *binding) ([]byte, bool) {
	section := s.body(wasmbin.Code)
	r := wasmbin.Reader{B: section}
	out := make([]byte, 0, len(section)+len(section)/16)
	n := s.imported
	for count := r.Count(); count > 0; count-- {
		body := r.Bytes(r.U32())
		if r.Err() != nil || n >= len(s.functions) || int64(s.functions[n]) >= int64(len(s.types)) {
			return nil, false
		}
		params := len(s.types[s.functions[n]].Params)
		out = appendBody(out, s.indirectIn(b, body, uint64(params))) //nolint:gosec // a type's
		n++
	}
	return out, n == len(s.functions)
}

// indirectIn returns a body: before each indirect call the index is shifted,
// and put into the global if the binder may be what is called.
func (s *shaper) indirectIn(b *binding, body []byte, params uint64) []byte {
	r := wasmbin.Reader{B: body}
	groups, locals := skipLocals(&r)
	index := uint32(params + locals) //nolint:gosec // engines take far fewer
	start := r.At                    // of what is not copied yet
	var out []byte
	var i wasmbin.Instr
	for r.More() {
		r.Instr(&i)
		if i.Op != wasmbin.OpCallIndirect && i.Op != wasmbin.OpReturnCallIndirect {
			continue
		}
		if out == nil {
			out = s.withLocal(body, groups, start)
		}
		out = append(out, body[start:i.Start]...)
		start = i.Start
		if b.base > 0 {
			out = wasmbin.AppendS64(append(out, byte(wasmbin.OpI32Const)), int64(int32(b.base))) //nolint:gosec // an i32
			out = append(out, byte(wasmbin.OpI32Sub))
		}
		if key, ok := s.signatureKey(i.X); ok && key == b.common {
			out = op(out, wasmbin.OpLocalTee, index)
			out = op(out, wasmbin.OpGlobalSet, b.counter)
			out = op(out, wasmbin.OpLocalGet, index)
		}
	}
	if out == nil {
		return body
	}
	return append(out, body[start:]...)
}

// withLocal begins a body with one local more than it has.
func (s *shaper) withLocal(body []byte, groups uint32, end int) []byte {
	r := wasmbin.Reader{B: body}
	r.U32()
	out := wasmbin.AppendU32(make([]byte, 0, len(body)+64), groups+1)
	out = append(out, body[r.At:end]...)
	return append(out, 1, wasmbin.I32)
}
