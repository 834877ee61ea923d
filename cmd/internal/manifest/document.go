package manifest

import (
	"errors"
	"fmt"
	"strings"

	dhowv1 "dhow.dev/dhow/proto/dhow/v1"
	"dhow.dev/dhow/proto/spec"
)

// Document is one object and where it was written.
type Document struct {
	Object *dhowv1.Object
	// Modules are the files that must be uploaded, and their digests filled in,
	// before the object is complete.
	Modules []Module

	file  string
	lines map[string]int
}

// Module is a wasm file that a task names.
type Module struct {
	Source *dhowv1.WasmSource // its artifact is still empty
	Path   string             // to open
	Field  string             // the task's field, for errors
}

// Error is what was wrong, and in which line of which file.
type Error struct {
	File string
	Line int // 0 when it is about the file as a whole
	Err  error
}

// Error begins with file:line, as compilers do.
func (e *Error) Error() string {
	if e.Line == 0 {
		return fmt.Sprintf("%s: %v", e.File, e.Err)
	}
	return fmt.Sprintf("%s:%d: %v", e.File, e.Line, e.Err)
}

// Unwrap returns what was wrong.
func (e *Error) Unwrap() error { return e.Err }

// Locate adds positions to errors about the document's object, joined or not.
func (d *Document) Locate(err error) error {
	var out []error
	for _, e := range spec.Errors(err) {
		out = append(out, &Error{File: d.file, Line: d.line(e.Path), Err: e})
	}
	return errors.Join(out...)
}

// Where is the position of the document itself, as file:line.
func (d *Document) Where() string { return fmt.Sprintf("%s:%d", d.file, d.lines[""]) }

// line finds the line of the field, or of the nearest field around it that
// was written.
func (d *Document) line(path string) int {
	for {
		if l, ok := d.lines[path]; ok {
			return l
		}
		cut := strings.LastIndexAny(path, ".[")
		if cut < 0 {
			return d.lines[""]
		}
		path = path[:cut]
	}
}
