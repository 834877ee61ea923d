package wasmrt

import (
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"dhow.dev/dhow/wasmrt/internal/wasmbin"
)

// shaped is a module in the form in which its instances share the most: its
// data is out of it, in an image that they map, so that an instance can just as
// well begin with another memory; its start function is called from outside, so
// that it can be left out; its globals can be reached, so that they can be read
// and set; its table is filled as it is used. One compiled form serves first
// starts, copies and restored ones.
type shaped struct {
	wasm  []byte
	image *image // what its memory begins with; nil for zeros
	// start is the export to be called before all else, as the start function
	// was; "" if there is none.
	start   string
	globals []global // the mutable ones, in their order
	// fixed is why instances can begin at the beginning only; nil if they can
	// begin anywhere.
	fixed error
	// random tells that Go's linker made it: its instances hold generators of
	// random numbers.
	random bool
}

// global is a mutable global, which is exported.
type global struct {
	export    string
	valueType byte
}

// ownExport is how the exports begin that shape adds.
const ownExport = "dhow.shape."

// ReasonCannotCopy is why a module's instances cannot be copied or saved.
const ReasonCannotCopy = "CannotCopy"

func cannotCopy(format string, args ...any) *Error {
	e := failf(ReasonCannotCopy, format, args...)
	e.Message = "the guest cannot be copied: " + e.Message
	return e
}

// shape shapes a module. What it does not understand it leaves as it is: the
// engine judges it. The error is the host's: no memory for the image.
func shape(wasm []byte) (*shaped, error) {
	sections, err := wasmbin.Sections(wasm)
	if err != nil {
		return &shaped{wasm: wasm, fixed: notUnderstood(err)}, nil
	}
	s := &shaper{sections: sections}
	s.strip()
	if err := s.read(); err != nil {
		return &shaped{wasm: s.join(), fixed: notUnderstood(err)}, nil
	}
	s.reach()
	s.bindLazily()
	if err := s.takeData(); err != nil {
		return nil, err
	}
	s.out.fixed = s.fixed()
	s.out.wasm = s.join()
	return &s.out, nil
}

func notUnderstood(err error) error { return cannotCopy("the module is not understood: %v", err) }

// strip leaves out what only debuggers read. Of names, traps need those of
// functions; a count there that is too large would take the process down with
// it, as wazero believes it.
func (s *shaper) strip() {
	s.sections = slices.DeleteFunc(s.sections, func(c wasmbin.Section) bool {
		name, _ := c.Name()
		s.out.random = s.out.random || name == "go:buildid"
		return strings.HasPrefix(name, ".debug_") || strings.HasPrefix(name, "reloc.") ||
			name == "sourceMappingURL" || name == "external_debug_info"
	})
	for n, c := range s.sections {
		if name, rest := c.Name(); name == "name" {
			s.sections[n].Body = wasmbin.AppendName(nil, name)
			if names := functionNames(rest); names != nil {
				s.sections[n].Body = wasmbin.AppendSection(s.sections[n].Body, nameFunctions, names)
			}
		}
	}
}

// nameFunctions is the part of the name section that has the functions' names.
const nameFunctions = 1

// functionNames is that part, nil if there is none that is whole.
func functionNames(rest []byte) []byte {
	r := wasmbin.Reader{B: rest}
	for r.More() {
		id, body := r.Byte(), r.Name()
		if id != nameFunctions || r.Err() != nil {
			continue
		}
		names := wasmbin.Reader{B: body}
		for n := names.Count(); n > 0 && names.Err() == nil; n-- {
			names.U32()
			if !utf8.Valid(names.Name()) {
				return nil
			}
		}
		if names.Err() != nil || names.More() {
			return nil
		}
		return body
	}
	return nil
}

// reach exports the mutable globals and the start function.
func (s *shaper) reach() {
	if s.reserved {
		return
	}
	var exports []byte
	n := s.exports
	add := func(name string, kind byte, index uint32) {
		exports = append(wasmbin.AppendName(exports, name), kind)
		exports = wasmbin.AppendU32(exports, index)
		n++
	}
	for index, g := range s.globals {
		if g.mutable {
			g := global{ownExport + strconv.Itoa(index), g.valueType}
			s.out.globals = append(s.out.globals, g)
			add(g.export, wasmbin.ExternGlobal, uint32(index)) //nolint:gosec // as many as there are bytes
		}
	}
	if start := s.body(wasmbin.Start); start != nil {
		r := wasmbin.Reader{B: start}
		s.out.start = ownExport + "start"
		add(s.out.start, wasmbin.ExternFunc, r.U32())
		s.remove(wasmbin.Start)
	}
	s.grow(wasmbin.Export, n, exports)
}

// fixed is why instances can begin at the beginning only.
func (s *shaper) fixed() error {
	switch {
	case s.reserved:
		return cannotCopy("the module has exports of its own that begin with %q", ownExport)
	case s.importsState:
		return cannotCopy("the module imports a memory, a table or a global")
	case s.memory == nil:
		return cannotCopy("the module has no memory")
	case s.memory.Shared:
		return cannotCopy("the module's memory is shared by threads")
	case s.body(wasmbin.Data) != nil:
		return cannotCopy("the module's data cannot be laid out before it runs: addresses are computed, or segments are used at run time")
	}
	for _, op := range []struct {
		op   wasmbin.Op
		name string
	}{
		{wasmbin.OpTableSet, "table.set"},
		{wasmbin.OpTableGrow, "table.grow"},
		{wasmbin.OpTableCopy, "table.copy"},
		{wasmbin.OpTableInit, "table.init"},
		{wasmbin.OpTableFill, "table.fill"},
		{wasmbin.OpElemDrop, "elem.drop"},
	} {
		if s.uses[op.op] {
			return cannotCopy("the module changes its tables while it runs, with %s", op.name)
		}
	}
	for _, g := range s.globals {
		if g.mutable && (g.valueType == wasmbin.V128 || g.valueType == wasmbin.Funcref || g.valueType == wasmbin.Externref) {
			return cannotCopy("a global that can be set holds a %s, which cannot be read", ValueType(g.valueType))
		}
	}
	return nil
}
