package wasmrt

import (
	"encoding/binary"
	"strings"
)

// shaped is a module in the form in which all its instances share the most: its
// data is out of it, in an image that they map, so that an instance can just as
// well begin with another memory; its start function is called from outside, so
// that it can be left out; its globals can be reached, so that they can be read
// and set. One compiled form serves first starts, copies and restored ones.
type shaped struct {
	wasm  []byte
	image *image // what its memory begins with; nil for zeros
	// start is the export to be called before all else, as the start function
	// was; "" if there is none.
	start string
	// globals are exports: the mutable globals, in their order.
	globals []global
	// fixed is why instances cannot begin elsewhere than at the beginning; nil
	// if they can.
	fixed *Error
	// goGuest says that Go's linker made it.
	goGuest bool
}

type global struct {
	export string
	kind   byte // valtype
}

// ownExport is how the exports begin that shape adds.
const ownExport = "dhow.shape."

// ReasonCannotCopy is why a module's instances cannot be copied or saved.
const ReasonCannotCopy = "CannotCopy"

// shape shapes a module. What it does not understand it leaves as it is: the
// engine judges it. The error is of the host: no memory for the image.
func shape(wasm []byte) (*shaped, error) {
	sections, ok := splitSections(wasm)
	if !ok {
		return &shaped{wasm: wasm, fixed: cannotCopy("the module is broken")}, nil
	}
	s := &shaper{sections: sections}
	s.out.goGuest = s.custom("go:buildid") || s.custom("go.buildid")
	if err := s.do(); err != nil {
		return nil, err
	}
	return &s.out, nil
}

func cannotCopy(format string, args ...any) *Error {
	return failf(ReasonCannotCopy, "it cannot be copied: "+format, args...)
}

type shaper struct {
	sections []section
	out      shaped
}

func (s *shaper) do() error {
	s.out.wasm = joinSections(s.sections)
	return nil
}

// section is one of a module's.
type section struct {
	id   byte
	body []byte
}

// splitSections is false for what is no whole module.
func splitSections(wasm []byte) ([]section, bool) {
	if len(wasm) < 8 {
		return nil, false
	}
	var all []section
	r := reader{b: wasm, at: 8}
	for r.at < len(wasm) {
		id, size := r.byte(), uint64(r.u32())
		if r.err != nil || size > uint64(len(wasm)-r.at) {
			return nil, false
		}
		all = append(all, section{id, wasm[r.at : r.at+int(size)]})
		r.at += int(size)
	}
	return all, true
}

func joinSections(sections []section) []byte {
	size := 8
	for _, s := range sections {
		size += 6 + len(s.body)
	}
	out := append(make([]byte, 0, size), "\x00asm\x01\x00\x00\x00"...)
	for _, s := range sections {
		out = append(out, s.id)
		out = binary.AppendUvarint(out, uint64(len(s.body)))
		out = append(out, s.body...)
	}
	return out
}

// custom tells whether there is a custom section of that name.
func (s *shaper) custom(name string) bool {
	for _, c := range s.sections {
		if c.id == 0 && customName(c.body) == name {
			return true
		}
	}
	return false
}

func customName(body []byte) string {
	r := reader{b: body}
	return r.name()
}

// debugInfo tells whether a custom section is of use to debuggers only.
func debugInfo(name string) bool {
	return strings.HasPrefix(name, ".debug_") || strings.HasPrefix(name, "reloc.") || name == "sourceMappingURL" || name == "external_debug_info"
}
