package wasmrt

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
)

// wasiModule is where preview 1 imports come from.
const wasiModule = "wasi_snapshot_preview1"

const pageSize = 64 << 10

// Section ids and external kinds of the binary format that inspect looks at.
const (
	sectionImport = 2
	sectionTable  = 4
	sectionMemory = 5
	sectionExport = 7

	externFunc   = 0
	externTable  = 1
	externMemory = 2
	externGlobal = 3
	externTag    = 4
)

func externName(kind byte) string {
	switch kind {
	case externTable:
		return "table"
	case externMemory:
		return "memory"
	case externGlobal:
		return "global"
	case externTag:
		return "tag"
	}
	return "function"
}

type imported struct {
	module, name string
	kind         byte
}

func (i imported) String() string {
	s := printable(i.module) + "." + printable(i.name)
	if i.kind != externFunc {
		s += " (" + externName(i.kind) + ")"
	}
	return s
}

// outline is what can be known of a module without compiling it, so that what
// can never run is refused in microseconds, with a reason people understand.
type outline struct {
	imports  []imported
	minPages uint64
	// minElements are those of all tables.
	minElements uint64
	hasMemory   bool
	exports     map[string]byte // name to external kind
}

// inspect reads the module's outline. It does not validate: the engine does.
func inspect(wasm []byte) (*outline, error) {
	if err := checkHeader(wasm); err != nil {
		return nil, err
	}
	o := &outline{exports: map[string]byte{}}
	r := reader{b: wasm, at: 8}
	for r.at < len(wasm) {
		start := r.at
		id := r.byte()
		size := r.u32()
		if r.err != nil || uint64(size) > uint64(len(wasm)-r.at) {
			return nil, failf(ReasonTruncated, "the module is cut off: the section at byte %d goes beyond the end of the file (%d bytes); copy or build it again", start, len(wasm))
		}
		end := r.at + int(size)
		s := reader{b: wasm[:end], at: r.at}
		switch id {
		case sectionImport:
			o.readImports(&s)
		case sectionTable:
			for n := s.u32(); n > 0 && s.err == nil; n-- {
				o.readTable(&s)
			}
		case sectionMemory:
			if n := s.u32(); n > 0 && s.err == nil {
				o.hasMemory, o.minPages = true, s.limits()
			}
		case sectionExport:
			for n := s.u32(); n > 0 && s.err == nil; n-- {
				name := s.name()
				o.exports[name] = s.byte()
				s.u32()
			}
		}
		if s.err != nil {
			return nil, failf(ReasonBroken, "the module is broken: section %d at byte %d: %v", id, start, s.err)
		}
		r.at = end
	}
	return o, nil
}

func (o *outline) readImports(s *reader) {
	for n := s.u32(); n > 0 && s.err == nil; n-- {
		i := imported{module: s.name(), name: s.name(), kind: s.byte()}
		switch i.kind {
		case externFunc:
			s.u32()
		case externTable:
			s.byte()
			s.limits()
		case externMemory:
			o.hasMemory, o.minPages = true, s.limits()
		case externGlobal:
			s.byte()
			s.byte()
		case externTag:
			s.byte()
			s.u32()
		default:
			s.failf("import of the unknown kind %d", i.kind)
			return
		}
		if s.err == nil {
			o.imports = append(o.imports, i)
		}
	}
}

// readTable reads a table, with an expression for its elements or without.
func (o *outline) readTable(s *reader) {
	if t := s.byte(); t == 0x40 || t < 0x60 {
		s.failf("a table of a kind that is not known here")
		return
	}
	o.minElements += min(s.limits(), 1<<32)
}

// checkHeader tells what a file is that is no module.
func checkHeader(b []byte) error {
	const magic = "\x00asm"
	switch {
	case len(b) == 0:
		return failf(ReasonEmpty, "the file is empty: it holds no WebAssembly module")
	case len(b) < 8 && strings.HasPrefix(magic+"\x01\x00\x00\x00", string(b)):
		return failf(ReasonTruncated, "the module is cut off after %d bytes; copy or build it again", len(b))
	case !bytes.HasPrefix(b, []byte(magic)):
		return failf(ReasonNotWasm, "this is no WebAssembly module: it begins with %q%s", b[:min(len(b), 8)], looksLike(b))
	case len(b) < 8:
		return failf(ReasonTruncated, "the module is cut off after %d bytes; copy or build it again", len(b))
	case bytes.Equal(b[4:8], []byte{0x0d, 0, 1, 0}):
		return failf(ReasonComponent, "this is a WebAssembly component (preview 2), which this runtime cannot run; build a preview 1 module instead (targets wasm32-wasip1, wasip1/wasm)")
	case !bytes.Equal(b[4:8], []byte{1, 0, 0, 0}):
		return failf(ReasonNotWasm, "this is WebAssembly of the unknown version %d; version 1 runs here", binary.LittleEndian.Uint32(b[4:8]))
	}
	return nil
}

func looksLike(b []byte) string {
	t := bytes.TrimLeft(b[:min(len(b), 256)], " \t\r\n")
	switch {
	case bytes.HasPrefix(t, []byte("(module")), bytes.HasPrefix(t, []byte(";;")):
		return "; it looks like the text format: translate it with wat2wasm"
	case bytes.HasPrefix(b, []byte("\x7fELF")):
		return "; it is a native program: build it for wasip1 instead"
	case bytes.HasPrefix(b, []byte("\x1f\x8b")):
		return "; it is compressed with gzip: unpack it first"
	}
	return ""
}

// check refuses what can never run here. provided tells which functions of the
// host there are.
func (o *outline) check(provided func(module, name string) bool) error {
	var unknown []string
	wasi := false
	for _, i := range o.imports {
		switch {
		case i.module == "wasi_unstable":
			return failf(ReasonUnstable, "the module imports wasi_unstable, which is older than preview 1; build it again with a newer toolchain (target wasm32-wasi or wasip1)")
		case i.kind != externFunc || !provided(i.module, i.name):
			unknown = append(unknown, i.String())
		case i.module == wasiModule:
			wasi = true
		}
	}
	if len(unknown) > 0 {
		slices.Sort(unknown)
		return failf(ReasonUnknownImport, "the module imports what this runtime does not have: %s; it has the functions of %s", named(slices.Compact(unknown)), wasiModule)
	}
	if kind, ok := o.exports["memory"]; wasi && (!ok || kind != externMemory || !o.hasMemory) {
		return failf(ReasonNoMemory, "the module exports no memory named \"memory\", without which WASI cannot pass it anything")
	}
	return nil
}

// checkCommand refuses what cannot be run as a command.
func (o *outline) checkCommand() error {
	if kind, ok := o.exports["_start"]; ok && kind == externFunc {
		return nil
	}
	hint := "build it as a command, with a main function"
	if _, ok := o.exports["_initialize"]; ok {
		hint = "it exports _initialize, so it is a library (reactor): " + hint
	}
	return failf(ReasonNoStart, "the module exports no function _start; %s", hint)
}

// named names all of them, up to a length that an error may have.
func named(names []string) string {
	const most = 200
	if len(names) <= most {
		return strings.Join(names, ", ")
	}
	return fmt.Sprintf("%s and %d more", strings.Join(names[:most], ", "), len(names)-most)
}

// printable keeps a name of the guest's from playing tricks on a terminal.
func printable(s string) string {
	const most = 200
	if len(s) > most {
		s = s[:most]
	}
	for _, r := range s {
		if r == utf8.RuneError || !strconv.IsPrint(r) {
			return strconv.Quote(s)
		}
	}
	return s
}

// reader reads the binary format; the first error sticks.
type reader struct {
	b   []byte
	at  int
	err error
}

func (r *reader) failf(format string, args ...any) {
	if r.err == nil {
		r.err = fmt.Errorf(format, args...)
	}
}

func (r *reader) byte() byte {
	if r.err != nil || r.at >= len(r.b) {
		r.failf("it ends early")
		return 0
	}
	r.at++
	return r.b[r.at-1]
}

func (r *reader) leb(bits int) uint64 {
	var v uint64
	for shift := 0; shift < bits; shift += 7 {
		b := r.byte()
		v |= uint64(b&0x7f) << shift
		if b&0x80 == 0 {
			return v
		}
	}
	r.failf("a number is too long")
	return 0
}

func (r *reader) u32() uint32 { return uint32(r.leb(32)) } //nolint:gosec // what overflows, the engine refuses.

func (r *reader) name() string {
	n := uint64(r.u32())
	if r.err != nil || n > uint64(len(r.b)-r.at) {
		r.failf("a name goes beyond its end")
		return ""
	}
	r.at += int(n)
	return string(r.b[r.at-int(n) : r.at])
}

// limits reads limits and returns their minimum.
func (r *reader) limits() uint64 {
	flags := r.byte()
	least := r.leb(64)
	if flags&1 != 0 {
		r.leb(64)
	}
	return least
}
