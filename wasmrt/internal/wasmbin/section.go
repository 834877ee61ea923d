package wasmbin

import (
	"errors"
	"fmt"
)

// Section of a module; Body is a part of the module's bytes.
type Section struct {
	ID    byte
	Start int // of the section, header included, in the module
	Body  []byte
}

// Name is a custom section's name, and what follows it.
func (s Section) Name() (name string, rest []byte) {
	r := Reader{B: s.Body}
	b := r.Name()
	if s.ID != Custom || r.Err() != nil {
		return "", nil
	}
	return string(b), s.Body[r.At:]
}

// ErrNotCore tells that the bytes do not begin as core modules do.
var ErrNotCore = errors.New("it is no core module of version 1")

// Sections splits a module. Sections are in the order that the format wants,
// and none but custom ones comes twice.
func Sections(wasm []byte) ([]Section, error) {
	if len(wasm) < len(Header) || string(wasm[:len(Header)]) != Header {
		return nil, ErrNotCore
	}
	all := make([]Section, 0, 16)
	r := Reader{B: wasm, At: len(Header)}
	last := 0
	for r.More() {
		s := Section{Start: r.At, ID: r.Byte()}
		s.Body = r.Bytes(r.U32())
		if r.Err() != nil {
			return nil, fmt.Errorf("section %d at byte %d: %w", s.ID, s.Start, r.Err())
		}
		if s.ID != Custom {
			at := Order(s.ID)
			if at <= last {
				return nil, fmt.Errorf("section %d at byte %d is unknown, comes twice, or too late", s.ID, s.Start)
			}
			last = at
		}
		all = append(all, s)
	}
	return all, r.Err()
}

// Order is a section's place in a module, from 1. It is 0 for custom and
// unknown ones.
func Order(id byte) int {
	switch id {
	case Type, Import, Function, Table, Memory:
		return int(id)
	case Tag:
		return 6
	case Global, Export, Start, Element:
		return int(id) + 1
	case DataCount:
		return 11
	case Code, Data:
		return int(id) + 2
	}
	return 0
}

// ImportEntry is one import.
type ImportEntry struct {
	Module, Name []byte
	Kind         byte
	Type         uint32 // of a function
	ValueType    byte   // of a global, or a table's elements
	Mutable      bool   // a global
	Limits       Limits // of a memory or a table
}

// Import reads an import.
func (r *Reader) Import() ImportEntry {
	i := ImportEntry{Module: r.Name(), Name: r.Name(), Kind: r.Byte()}
	switch i.Kind {
	case ExternFunc:
		i.Type = r.U32()
	case ExternTable:
		i.ValueType, i.Limits = r.ValueType(), r.Limits()
	case ExternMemory:
		i.Limits = r.Limits()
	case ExternGlobal:
		i.ValueType, i.Mutable = r.ValueType(), r.mutable()
	default:
		r.unsupported(i.Kind == ExternTag, "exception handling", "an import is of the unknown kind %d", i.Kind)
	}
	return i
}

func (r *Reader) mutable() bool {
	b := r.Byte()
	if b > 1 {
		r.Failf("a global is neither mutable nor not: %#x", b)
	}
	return b == 1
}

// ExportEntry is one export.
type ExportEntry struct {
	Name  []byte
	Kind  byte
	Index uint32
}

// Export reads an export.
func (r *Reader) Export() ExportEntry {
	e := ExportEntry{Name: r.Name(), Kind: r.Byte(), Index: r.U32()}
	if e.Kind > ExternGlobal {
		r.unsupported(e.Kind == ExternTag, "exception handling", "an export is of the unknown kind %d", e.Kind)
	}
	return e
}

// Signature is a function's type; both are parts of the module's bytes, one
// byte a value.
type Signature struct{ Params, Results []byte }

// Signature reads a function's type.
func (r *Reader) Signature() Signature {
	if form := r.Byte(); form != FuncType {
		r.unsupported(form >= 0x4e && form <= 0x5f, "garbage collection", "a type has the unknown form %#x", form)
	}
	return Signature{Params: r.valueTypes(), Results: r.valueTypes()}
}

func (r *Reader) valueTypes() []byte {
	n := r.Count()
	start := r.At
	for range n {
		r.ValueType()
	}
	if r.Err() != nil {
		return nil
	}
	return r.B[start:r.At:r.At]
}

// GlobalType reads the head of a global: an expression follows.
func (r *Reader) GlobalType() (valueType byte, mutable bool) {
	return r.ValueType(), r.mutable()
}
