package wasmrt

import (
	"bytes"
	"slices"

	"dhow.dev/dhow/wasmrt/internal/wasmbin"
)

// shaper is a module being shaped.
type shaper struct {
	sections []wasmbin.Section
	out      shaped

	types           []wasmbin.Signature
	functions       []uint32 // the types of all, imported ones first
	imported        int      // functions
	importsState    bool     // memories, tables or globals
	tables          []tableType
	memory          *wasmbin.Limits
	globals         []globalType // imported ones first
	importedGlobals uint32
	exports         uint32
	reserved        bool // an export is named as ours are
	tableSeen       bool // a table is exported
	uses            map[wasmbin.Op]bool
}

type tableType struct {
	valueType byte
	limits    wasmbin.Limits
	plain     bool // without an initial value
}

type globalType struct {
	valueType byte
	mutable   bool
}

// read reads all that shaping needs to know.
func (s *shaper) read() error {
	s.uses = map[wasmbin.Op]bool{}
	for _, section := range s.sections {
		r := &wasmbin.Reader{B: section.Body}
		switch section.ID {
		case wasmbin.Type:
			entries(r, func() { s.types = append(s.types, r.Signature()) })
		case wasmbin.Import:
			entries(r, func() { s.readImport(r.Import()) })
		case wasmbin.Function:
			entries(r, func() { s.functions = append(s.functions, r.U32()) })
		case wasmbin.Table:
			entries(r, func() { s.readTable(r) })
		case wasmbin.Memory:
			entries(r, func() { l := r.Limits(); s.memory = &l })
		case wasmbin.Global:
			entries(r, func() { s.readGlobal(r) })
		case wasmbin.Export:
			s.exports = entries(r, func() { s.readExport(r.Export()) })
		case wasmbin.Code:
			entries(r, func() { s.readCode(r) })
		}
		if err := r.Err(); err != nil {
			return err
		}
	}
	return nil
}

// entries reads each entry of a section, and returns how many there are.
func entries(r *wasmbin.Reader, read func()) uint32 {
	count := r.Count()
	for n := count; n > 0 && r.Err() == nil; n-- {
		read()
	}
	if r.More() {
		r.Failf("a section has more than its entries")
	}
	return count
}

func (s *shaper) readImport(i wasmbin.ImportEntry) {
	switch i.Kind {
	case wasmbin.ExternFunc:
		s.functions = append(s.functions, i.Type)
		s.imported++
	case wasmbin.ExternTable:
		s.tables = append(s.tables, tableType{valueType: i.ValueType, limits: i.Limits})
		s.importsState = true
	case wasmbin.ExternGlobal:
		// Not to be exported again, and kept by who owns it.
		s.globals = append(s.globals, globalType{valueType: i.ValueType})
		s.importedGlobals++
		s.importsState = true
	default:
		s.importsState = true
	}
}

func (s *shaper) readTable(r *wasmbin.Reader) {
	const withValue = 0x40
	if r.More() && r.B[r.At] == withValue {
		r.Failf("a table has an initial value")
	}
	s.tables = append(s.tables, tableType{r.ValueType(), r.Limits(), true})
}

func (s *shaper) readGlobal(r *wasmbin.Reader) {
	t, mutable := r.GlobalType()
	s.globals = append(s.globals, globalType{t, mutable})
	r.SkipExpr(func(*wasmbin.Instr) {})
}

func (s *shaper) readExport(e wasmbin.ExportEntry) {
	s.reserved = s.reserved || bytes.HasPrefix(e.Name, []byte(ownExport))
	s.tableSeen = s.tableSeen || e.Kind == wasmbin.ExternTable
}

func (s *shaper) readCode(r *wasmbin.Reader) {
	f := wasmbin.Reader{B: r.Bytes(r.U32())}
	skipLocals(&f)
	var i wasmbin.Instr
	for f.More() {
		f.Instr(&i)
		if i.Op == wasmbin.OpTableGet || i.Op == wasmbin.OpTableSet || i.Op > 0xff {
			s.uses[i.Op] = true
		}
	}
	if err := f.Err(); err != nil && r.Err() == nil {
		r.Failf("in a function: %w", err)
	}
}

// skipLocals reads a function's locals, and returns how many they are.
func skipLocals(f *wasmbin.Reader) (groups uint32, locals uint64) {
	groups = entriesOf(f, func() {
		locals += uint64(f.U32())
		f.ValueType()
	})
	return groups, locals
}

func entriesOf(r *wasmbin.Reader, read func()) uint32 {
	count := r.Count()
	for n := count; n > 0 && r.Err() == nil; n-- {
		read()
	}
	return count
}

// body is a section's, nil if there is none.
func (s *shaper) body(id byte) []byte {
	for _, section := range s.sections {
		if section.ID == id {
			return section.Body
		}
	}
	return nil
}

func (s *shaper) remove(id byte) {
	s.sections = slices.DeleteFunc(s.sections, func(c wasmbin.Section) bool { return c.ID == id })
}

// replace puts a body in place of a section's, or a new section to its place.
func (s *shaper) replace(id byte, body []byte) {
	for n := range s.sections {
		if s.sections[n].ID == id {
			s.sections[n].Body = body
			return
		}
	}
	at := slices.IndexFunc(s.sections, func(c wasmbin.Section) bool {
		return c.ID != wasmbin.Custom && wasmbin.Order(c.ID) > wasmbin.Order(id)
	})
	if at < 0 {
		at = len(s.sections)
	}
	s.sections = slices.Insert(s.sections, at, wasmbin.Section{ID: id, Body: body})
}

// grow gives a section count entries, of which more are the last.
func (s *shaper) grow(id byte, count uint32, more []byte) {
	if len(more) == 0 {
		return
	}
	var have []byte
	if body := s.body(id); body != nil {
		r := wasmbin.Reader{B: body}
		r.U32()
		have = body[r.At:]
	}
	body := wasmbin.AppendU32(make([]byte, 0, len(have)+len(more)+5), count)
	s.replace(id, append(append(body, have...), more...))
}

func (s *shaper) join() []byte {
	size := len(wasmbin.Header)
	for _, c := range s.sections {
		size += len(c.Body) + 6
	}
	out := append(make([]byte, 0, size), wasmbin.Header...)
	for _, c := range s.sections {
		out = wasmbin.AppendSection(out, c.ID, c.Body)
	}
	return out
}
