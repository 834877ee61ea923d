package runtime

import "errors"

// ErrNotSupported is what a runtime answers to a verb it does not have.
var ErrNotSupported = errors.New("not supported by this runtime")

// ErrUnknown is what Wait, Stats and Exec answer about a run that the
// runtime does not know.
var ErrUnknown = errors.New("no such run")

// Error is why a runtime could not do what it was asked.
type Error struct {
	Reason string // a CamelCase word: BadModule, NoArtifact, PortInUse
	// Trying again cannot help: the module or the spec is at fault.
	Permanent bool
	Err       error
}

func (e *Error) Error() string { return e.Err.Error() }

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }
