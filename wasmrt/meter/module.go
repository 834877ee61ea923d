package meter

import (
	"bytes"
	"errors"

	"dhow.dev/dhow/wasmrt/internal/wasmbin"
)

// maxLocals is how many locals a function may have, its parameters included:
// as many as browsers take.
const maxLocals = 50_000

// module is what Rewrite must know of one.
type module struct {
	sections  []wasmbin.Section
	types     []wasmbin.Signature
	imports   []uint32 // types of imported functions
	functions []uint32 // types of its own
	globals   uint32
	tables    []byte // types of their elements
	bodies    [][]byte
	// escapes are functions that can be called by other means than the call
	// instruction: by the table, or as a reference.
	escapes []bool

	own         []function
	canonical   []uint32        // for each type the first that is the same
	bulks       map[bulk]uint32 // operations to the functions that do them
	bulkHelpers []helper
}

// parse reads a module. It refuses what names our names, and what lies outside
// of its index spaces: Rewrite adds to these, so that what was wrong would mean
// something.
func parse(wasm []byte) (*module, error) {
	m := &module{}
	var err error
	if m.sections, err = wasmbin.Sections(wasm); err != nil {
		return nil, broken(err)
	}
	// Functions are known before what names them is read.
	err = m.read(map[byte]func(*wasmbin.Reader){
		wasmbin.Type: m.readTypes, wasmbin.Import: m.readImports, wasmbin.Function: m.readFunctions,
		wasmbin.Table: m.readTables, wasmbin.Tag: refuseTags,
	})
	if err != nil {
		return nil, err
	}
	m.escapes = make([]bool, len(m.imports)+len(m.functions))
	err = m.read(map[byte]func(*wasmbin.Reader){
		wasmbin.Table: m.readInitials, wasmbin.Global: m.readGlobals, wasmbin.Export: m.readExports, wasmbin.Start: m.readStart,
		wasmbin.Element: m.readElements, wasmbin.DataCount: readDataCount,
		wasmbin.Code: m.readCode, wasmbin.Data: m.readData,
	})
	if err != nil {
		return nil, err
	}
	if len(m.bodies) != len(m.functions) {
		return nil, broken(errors.New("there are not as many bodies as functions"))
	}
	return m, nil
}

func (m *module) read(sections map[byte]func(*wasmbin.Reader)) error {
	for _, s := range m.sections {
		read := sections[s.ID]
		if read == nil {
			continue
		}
		r := wasmbin.Reader{B: s.Body}
		read(&r)
		if r.Err() == nil && r.More() {
			r.Failf("section %d is longer than what it holds", s.ID)
		}
		if r.Err() != nil {
			return broken(r.Err())
		}
	}
	return nil
}

// broken makes an error of what the reader met.
func broken(err error) error {
	if u, ok := errors.AsType[*wasmbin.Unsupported](err); ok {
		return &Error{Reason: ReasonUnsupported, Message: "the module cannot be metered, as it uses " + u.Proposal}
	}
	if e, ok := errors.AsType[*Error](err); ok {
		return e
	}
	return &Error{Reason: ReasonBroken, Message: "the module is broken", Err: err}
}

func (m *module) readTypes(r *wasmbin.Reader) {
	n := r.Count()
	m.types = make([]wasmbin.Signature, 0, n)
	for ; n > 0 && r.Err() == nil; n-- {
		m.types = append(m.types, r.Signature())
	}
}

func (m *module) readImports(r *wasmbin.Reader) {
	for n := r.Count(); n > 0 && r.Err() == nil; n-- {
		i := r.Import()
		if string(i.Module) == Namespace {
			r.Fail(&Error{Reason: ReasonReservedName, Message: "the module imports from " + Namespace + ", which is reserved for metering"})
		}
		switch i.Kind {
		case wasmbin.ExternFunc:
			m.imports = append(m.imports, m.typeIndex(r, i.Type))
		case wasmbin.ExternTable:
			m.tables = append(m.tables, i.ValueType)
		case wasmbin.ExternGlobal:
			m.globals++
		}
	}
}

func (m *module) typeIndex(r *wasmbin.Reader, t uint32) uint32 {
	if uint64(t) >= uint64(len(m.types)) {
		r.Failf("there is no type %d", t)
	}
	return t
}

func (m *module) readFunctions(r *wasmbin.Reader) {
	n := r.Count()
	m.functions = make([]uint32, 0, n)
	for ; n > 0 && r.Err() == nil; n-- {
		m.functions = append(m.functions, m.typeIndex(r, r.U32()))
	}
}

func refuseTags(r *wasmbin.Reader) { r.Fail(&wasmbin.Unsupported{Proposal: "exception handling"}) }

func (m *module) readTables(r *wasmbin.Reader) {
	readTables(r, func(t byte) { m.tables = append(m.tables, t) }, func(r *wasmbin.Reader) {
		r.SkipExpr(func(*wasmbin.Instr) {})
	})
}

// readInitials reads what is in tables at first.
func (m *module) readInitials(r *wasmbin.Reader) { readTables(r, func(byte) {}, m.constant) }

// readTables reads tables, of which some may say what is in all entries at
// first.
func readTables(r *wasmbin.Reader, each func(valueType byte), initial func(*wasmbin.Reader)) {
	const withInitial = 0x40
	for n := r.Count(); n > 0 && r.Err() == nil; n-- {
		has := r.More() && r.B[r.At] == withInitial
		if has {
			if r.Byte(); r.Byte() != 0 {
				r.Failf("a table has an unknown form")
			}
		}
		each(r.ValueType())
		r.Limits()
		if has {
			initial(r)
		}
	}
}

func (m *module) readGlobals(r *wasmbin.Reader) {
	for n := r.Count(); n > 0 && r.Err() == nil; n-- {
		r.GlobalType()
		m.constant(r)
		m.globals++
	}
}

// constant reads a constant expression.
func (m *module) constant(r *wasmbin.Reader) {
	r.SkipExpr(func(i *wasmbin.Instr) {
		switch i.Op {
		case wasmbin.OpRefFunc:
			m.escape(r, i.X)
		case wasmbin.OpGlobalGet:
			if i.X >= m.globals {
				r.Failf("there is no global %d", i.X)
			}
		default:
		}
	})
}

func (m *module) escape(r *wasmbin.Reader, f uint32) {
	if uint64(f) >= uint64(len(m.escapes)) {
		r.Failf("there is no function %d", f)
		return
	}
	m.escapes[f] = true
}

func (m *module) readExports(r *wasmbin.Reader) {
	for n := r.Count(); n > 0 && r.Err() == nil; n-- {
		e := r.Export()
		if bytes.HasPrefix(e.Name, []byte("dhow:")) {
			r.Fail(&Error{Reason: ReasonReservedName, Message: "the module exports names that begin with dhow:, which are reserved for metering"})
		}
		switch e.Kind {
		case wasmbin.ExternFunc:
			if uint64(e.Index) >= uint64(len(m.escapes)) {
				r.Failf("there is no function %d", e.Index)
			}
		case wasmbin.ExternGlobal:
			if e.Index >= m.globals {
				r.Failf("there is no global %d", e.Index)
			}
		}
	}
}

func (m *module) readStart(r *wasmbin.Reader) {
	if f := r.U32(); uint64(f) >= uint64(len(m.escapes)) {
		r.Failf("there is no function %d", f)
	}
}

func readDataCount(r *wasmbin.Reader) {
	r.U32()
}

func (m *module) readData(r *wasmbin.Reader) {
	for n := r.Count(); n > 0 && r.Err() == nil; n-- {
		switch flags := r.U32(); flags {
		case 0:
			m.constant(r)
		case 1:
		case 2:
			if r.U32() != 0 {
				r.Fail(&wasmbin.Unsupported{Proposal: "several memories"})
			}
			m.constant(r)
		default:
			r.Failf("a data segment has the unknown flags %d", flags)
		}
		r.Name()
	}
}

func (m *module) readElements(r *wasmbin.Reader) {
	for n := r.Count(); n > 0 && r.Err() == nil; n-- {
		expressions := readSegmentHead(r, m.constant)
		for k := r.Count(); k > 0 && r.Err() == nil; k-- {
			if expressions {
				m.constant(r)
			} else {
				m.escape(r, r.U32())
			}
		}
	}
}

// readSegmentHead reads an element segment up to its elements.
func readSegmentHead(r *wasmbin.Reader, constant func(*wasmbin.Reader)) (expressions bool) {
	const passive, explicit, expression = 1, 2, 4
	flags := r.U32()
	if flags > passive|explicit|expression {
		r.Failf("an element segment has the unknown flags %d", flags)
	}
	if flags&passive == 0 {
		if flags&explicit != 0 {
			r.U32() // table
		}
		constant(r)
	}
	expressions = flags&expression != 0
	switch {
	case flags&(passive|explicit) == 0:
	case expressions:
		r.ValueType()
	default:
		r.Byte() // kind
	}
	return expressions
}

func (m *module) readCode(r *wasmbin.Reader) {
	n := r.Count()
	m.bodies = make([][]byte, 0, n)
	for ; n > 0 && r.Err() == nil; n-- {
		m.bodies = append(m.bodies, r.Name())
	}
}

// signature of a function by its index.
func (m *module) signature(f uint32) wasmbin.Signature {
	n := uint32(len(m.imports)) //nolint:gosec // indices are of 32 bits
	if f < n {
		return m.types[m.imports[f]]
	}
	return m.types[m.functions[f-n]]
}

// isName tells whether a custom section is the one of names.
func isName(s wasmbin.Section) bool {
	name, _ := s.Name()
	return name == "name"
}
