package meter

import (
	"slices"

	"dhow.dev/dhow/wasmrt/internal/wasmbin"
)

// shifter copies a section and gives functions their new indices.
type shifter struct {
	wasmbin.Reader
	m    *module
	out  []byte
	from int // what is read from here on is not copied yet
}

func (w *writer) shifter(s wasmbin.Section) *shifter {
	return &shifter{Reader: wasmbin.Reader{B: s.Body}, m: w.m, out: make([]byte, 0, len(s.Body)+len(s.Body)/4+16)}
}

// flush copies what was read.
func (s *shifter) flush(until int) {
	s.out = append(s.out, s.B[s.from:until]...)
	s.from = s.At
}

// function reads a function's index and writes the new one.
func (s *shifter) function() {
	at := s.At
	f := s.U32()
	s.flush(at)
	s.out = wasmbin.AppendU32(s.out, s.m.shift(f))
}

func (s *shifter) expression() {
	s.SkipExpr(func(i *wasmbin.Instr) {
		if i.Op == wasmbin.OpRefFunc {
			s.flush(i.Imm)
			s.out = wasmbin.AppendU32(s.out, s.m.shift(i.X))
		}
	})
}

func (s *shifter) done() []byte {
	s.flush(s.At)
	return s.out
}

// expressions copies the section of globals.
func (w *writer) expressions(section wasmbin.Section) []byte {
	s := w.shifter(section)
	for n := s.U32(); n > 0 && s.Err() == nil; n-- {
		s.GlobalType()
		s.expression()
	}
	return s.done()
}

// tables copies the section of tables.
func (w *writer) tables(section wasmbin.Section) []byte {
	s := w.shifter(section)
	readTables(&s.Reader, func(byte) {}, func(*wasmbin.Reader) { s.expression() })
	return s.done()
}

func (w *writer) exports(section wasmbin.Section) []byte {
	s := w.shifter(section)
	for n := s.U32(); n > 0 && s.Err() == nil; n-- {
		s.Name()
		if s.Byte() == wasmbin.ExternFunc {
			s.function()
		} else {
			s.U32()
		}
	}
	return s.done()
}

func (w *writer) elements(section wasmbin.Section) []byte {
	s := w.shifter(section)
	for n := s.U32(); n > 0 && s.Err() == nil; n-- {
		expressions := readSegmentHead(&s.Reader, func(*wasmbin.Reader) { s.expression() })
		for k := s.U32(); k > 0 && s.Err() == nil; k-- {
			if expressions {
				s.expression()
			} else {
				s.function()
			}
		}
	}
	return s.done()
}

// names copies the section of names. One that is broken stays as it is: engines
// judge it.
func (w *writer) names(section wasmbin.Section) []byte {
	_, rest := section.Name()
	s := wasmbin.Reader{B: rest}
	head := len(section.Body) - len(rest)
	out := slices.Clone(section.Body[:head])
	for s.More() {
		id := s.Byte()
		body := s.Name()
		if s.Err() != nil {
			break
		}
		switch id {
		case 1: // functions
			body = w.functionNames(body)
		case 2, 3: // locals and labels, by function
			body = w.localNames(body)
		}
		if body == nil {
			return section.Body
		}
		out = wasmbin.AppendSection(out, id, body)
	}
	if s.Err() != nil {
		return section.Body
	}
	return out
}

// functionNames shifts a map from function to name, and adds ours. It is nil if
// the map is broken.
func (w *writer) functionNames(body []byte) []byte {
	r := wasmbin.Reader{B: body}
	n := r.U32()
	imports := uint32(len(w.m.imports)) //nolint:gosec // indices are of 32 bits
	helpers := w.m.helpers()
	out := wasmbin.AppendU32(make([]byte, 0, len(body)+len(body)/8+128), n+added+uint32(len(helpers))) //nolint:gosec // few
	ours := false
	for ; n > 0 && r.Err() == nil; n-- {
		f, name := r.U32(), r.Name()
		if f >= imports && !ours {
			out, ours = appendOurs(out, imports), true
		}
		out = wasmbin.AppendU32(out, w.m.shift(f))
		out = append(wasmbin.AppendU32(out, uint32(len(name))), name...) //nolint:gosec // a part of the body
	}
	if r.Err() != nil || r.More() {
		return nil
	}
	if !ours {
		out = appendOurs(out, imports)
	}
	for k, h := range helpers {
		out = wasmbin.AppendU32(out, w.m.spend()+uint32(k)) //nolint:gosec // few
		out = wasmbin.AppendName(out, h.name)
	}
	return out
}

func appendOurs(out []byte, imports uint32) []byte {
	out = wasmbin.AppendName(wasmbin.AppendU32(out, imports), Namespace+"."+ImportRefill)
	return wasmbin.AppendName(wasmbin.AppendU32(out, imports+1), Namespace+"."+ImportOverflow)
}

// localNames shifts the functions of a map from function to a map of names.
func (w *writer) localNames(body []byte) []byte {
	s := &shifter{Reader: wasmbin.Reader{B: body}, m: w.m}
	for n := s.U32(); n > 0 && s.Err() == nil; n-- {
		s.function()
		for k := s.U32(); k > 0 && s.Err() == nil; k-- {
			s.U32()
			s.Name()
		}
	}
	if s.Err() != nil || s.More() {
		return nil
	}
	return s.done()
}
