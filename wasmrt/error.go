package wasmrt

import "fmt"

// Reasons of an Error. They are CamelCase words that can be shown as they are.
const (
	ReasonEmpty         = "EmptyFile"
	ReasonNotWasm       = "NotWasm"
	ReasonTruncated     = "TruncatedModule"
	ReasonTooLarge      = "ModuleTooLarge"
	ReasonBroken        = "BrokenModule"
	ReasonComponent     = "ComponentNotSupported"
	ReasonUnstable      = "WasiUnstable"
	ReasonUnknownImport = "UnknownImport"
	ReasonNoStart       = "NoStartFunction"
	ReasonNoMemory      = "NoMemory"
	ReasonMemoryLimit   = "MemoryLimitTooLow"
	ReasonBadConfig     = "BadConfig"
	ReasonUnreadable    = "ModuleUnreadable"
	ReasonNoMapping     = "OutOfHostMemory"
	ReasonClosed        = "EngineClosed"
	ReasonUnsupported   = "UnsupportedFeature"
	ReasonReserved      = "ReservedName"
	ReasonTableLimit    = "TableLimitTooLow"
	ReasonNoExport      = "NoSuchFunction"
	ReasonBadCall       = "BadCall"
	ReasonInUse         = "InstanceInUse"
)

// Error is why a module cannot be compiled or started.
type Error struct {
	Reason  string // one of the Reason constants
	Message string // what is wrong, and what to do
	Err     error  // the cause; may be nil
}

// Error is for people.
func (e *Error) Error() string {
	if e.Err == nil {
		return e.Message
	}
	return e.Message + ": " + e.Err.Error()
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

// Permanent tells whether trying the same module with the same Config again
// cannot help.
func (e *Error) Permanent() bool {
	switch e.Reason {
	case ReasonUnreadable, ReasonNoMapping, ReasonClosed, ReasonBusy:
		return false
	}
	return true
}

func failf(reason, format string, args ...any) *Error {
	return &Error{Reason: reason, Message: fmt.Sprintf(format, args...)}
}
