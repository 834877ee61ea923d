package meter

import "dhow.dev/dhow/wasmrt/internal/wasmbin"

// writer puts the rewritten module together.
type writer struct {
	m    *module
	o    Options
	code []byte
	b    []byte
}

// section ids that the rewritten module has in any case, in their order.
func needed() []byte {
	return []byte{wasmbin.Type, wasmbin.Import, wasmbin.Function, wasmbin.Global, wasmbin.Export, wasmbin.Code}
}

func (w *writer) module() []byte {
	w.b = append(w.b, wasmbin.Header...)
	missing := needed()
	for _, s := range w.m.sections {
		if s.ID != wasmbin.Custom {
			for len(missing) > 0 && wasmbin.Order(missing[0]) < wasmbin.Order(s.ID) {
				w.section(wasmbin.Section{ID: missing[0], Body: []byte{0}})
				missing = missing[1:]
			}
			if len(missing) > 0 && missing[0] == s.ID {
				missing = missing[1:]
			}
		}
		w.section(s)
	}
	for _, id := range missing {
		w.section(wasmbin.Section{ID: id, Body: []byte{0}})
	}
	return w.b
}

func (w *writer) section(s wasmbin.Section) {
	body := s.Body
	switch s.ID {
	case wasmbin.Type:
		body = more(body, uint32(2+len(w.m.helpers())), w.types())
	case wasmbin.Import:
		body = more(body, added, w.imports())
	case wasmbin.Function:
		body = more(body, uint32(len(w.m.helpers())), w.functions())
	case wasmbin.Table:
		body = w.tables(s)
	case wasmbin.Global:
		body = more(w.expressions(s), 2, w.globals())
	case wasmbin.Export:
		body = more(w.exports(s), 2, w.newExports())
	case wasmbin.Start:
		r := wasmbin.Reader{B: body}
		body = wasmbin.AppendU32(nil, w.m.shift(r.U32()))
	case wasmbin.Element:
		body = w.elements(s)
	case wasmbin.Code:
		body = w.code
	case wasmbin.Custom:
		if isName(s) {
			body = w.names(s)
		}
	}
	w.b = wasmbin.AppendSection(w.b, s.ID, body)
}

// more adds entries to a section that begins with their number.
func more(body []byte, n uint32, entries []byte) []byte {
	r := wasmbin.Reader{B: body}
	count := r.U32()
	out := make([]byte, 0, len(body)+len(entries)+5)
	out = wasmbin.AppendU32(out, count+n)
	out = append(out, body[r.At:]...)
	return append(out, entries...)
}

// types are of the imports, and of the helpers.
func (w *writer) types() []byte {
	b := appendSignature(nil, wasmbin.Signature{Params: []byte{wasmbin.I64}, Results: []byte{wasmbin.I64}})
	b = appendSignature(b, wasmbin.Signature{})
	for _, h := range w.m.helpers() {
		b = appendSignature(b, h.signature)
	}
	return b
}

func appendSignature(b []byte, s wasmbin.Signature) []byte {
	b = append(b, wasmbin.FuncType)
	b = append(wasmbin.AppendU32(b, uint32(len(s.Params))), s.Params...) //nolint:gosec // few
	return append(wasmbin.AppendU32(b, uint32(len(s.Results))), s.Results...)
}

func (w *writer) imports() []byte {
	var b []byte
	for n, name := range []string{ImportRefill, ImportOverflow} {
		b = wasmbin.AppendName(wasmbin.AppendName(b, Namespace), name)
		b = append(b, wasmbin.ExternFunc)
		b = wasmbin.AppendU32(b, uint32(len(w.m.types)+n)) //nolint:gosec // indices are of 32 bits
	}
	return b
}

// functions are the helpers' types.
func (w *writer) functions() []byte {
	var b []byte
	for n := range w.m.helpers() {
		b = wasmbin.AppendU32(b, uint32(len(w.m.types)+2+n)) //nolint:gosec // indices are of 32 bits
	}
	return b
}

func (w *writer) globals() []byte {
	var b []byte
	for _, initial := range []int64{0, w.o.Stack} {
		b = append(b, wasmbin.I64, 1, opI64Const)
		b = append(wasmbin.AppendS64(b, initial), opEnd)
	}
	return b
}

func (w *writer) newExports() []byte {
	var b []byte
	for n, name := range []string{ExportFuel, ExportDepth} {
		b = append(wasmbin.AppendName(b, name), wasmbin.ExternGlobal)
		b = wasmbin.AppendU32(b, w.m.globals+uint32(n)) //nolint:gosec // few
	}
	return b
}
