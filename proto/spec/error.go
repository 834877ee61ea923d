package spec

import (
	"errors"
	"fmt"
)

// Code classifies an Error. Each maps to one Connect code and one exit code.
type Code string

// The codes.
const (
	CodeInvalid     Code = "invalid"      // bad input; exit 2
	CodeNotFound    Code = "not_found"    // exit 3
	CodeExists      Code = "exists"       // there already; exit 1
	CodeConflict    Code = "conflict"     // the expected version was another; exit 1
	CodeDenied      Code = "denied"       // known, but not allowed; exit 5
	CodeUnknownUser Code = "unknown_user" // not authenticated; exit 5
	CodeTooOld      Code = "too_old"      // the revision is no longer kept; list again
	CodeNotLeader   Code = "not_leader"   // try the leader
	CodeUnavailable Code = "unavailable"  // no leader, node or server gone; retry; exit 6
	CodeTimeout     Code = "timeout"      // exit 4
	CodeExhausted   Code = "exhausted"    // disk full, too large, too many; exit 1
	CodeInternal    Code = "internal"     // a bug or a broken disk; exit 1
)

// Error is the one error type of dhow: a code, what was wrong, and where.
type Error struct {
	Code    Code
	Path    string // field path, such as spec.template.tasks[0].wasm; may be empty
	Message string // what was wrong and, where it helps, what to do
	Err     error  // the cause; may be nil
	// Nothing was done: the same may be asked again, or elsewhere.
	Untouched bool
}

// Error is for people: path, message and cause.
func (e *Error) Error() string {
	s := e.Message
	if e.Path != "" {
		s = e.Path + ": " + s
	}
	if e.Err != nil {
		if s != "" {
			s += ": "
		}
		s += e.Err.Error()
	}
	return s
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

// Errorf makes an Error; %w keeps the cause for errors.Is and errors.As.
func Errorf(code Code, format string, args ...any) *Error {
	err := fmt.Errorf(format, args...)
	return &Error{Code: code, Err: err}
}

// CodeOf finds the code of an error; CodeInternal when it has none, and the
// empty code for nil.
func CodeOf(err error) Code {
	if err == nil {
		return ""
	}
	if e, ok := errors.AsType[*Error](err); ok {
		return e.Code
	}
	return CodeInternal
}

// Untouched tells whether an error says that nothing was done, so that the
// same may be asked again, or elsewhere.
func Untouched(err error) bool {
	e, ok := errors.AsType[*Error](err)
	return ok && e.Untouched
}
