package wasmrt

import "fmt"

// Reasons of an Exit.
const (
	ExitedReason      = "Exited"
	StoppedReason     = "Stopped"
	TrappedReason     = "Trapped"
	OutOfMemoryReason = "OutOfMemory"
	OutOfFuelReason   = "OutOfFuel"
	TimedOutReason    = "TimedOut"
	StackReason       = "StackOverflow"
)

// Exit codes of guests that did not choose one, as shells give them to
// processes that end by SIGTERM, SIGABRT, SIGXCPU, timeout(1) and SIGSEGV.
const (
	StoppedCode   = 143
	TrappedCode   = 134
	OutOfFuelCode = 152
	TimedOutCode  = 124
	StackCode     = 139
)

// Exit is how a guest ended.
type Exit struct {
	// Code is what the guest gave to proc_exit, 0 when _start returned, or one
	// of the codes above.
	Code   uint32
	Reason string // one of the Reason words above
	// Message is for people: a trap and the guest's stack.
	Message string
}

// ExitError is how an instance ended during a call.
type ExitError struct {
	Exit Exit
	Err  error // what a host function ended it with; may be nil
}

// Error is for people.
func (e *ExitError) Error() string {
	if e.Exit.Message == "" {
		return fmt.Sprintf("the guest ended: %s, code %d", e.Exit.Reason, e.Exit.Code)
	}
	return fmt.Sprintf("the guest ended: %s: %s", e.Exit.Reason, e.Exit.Message)
}

// Unwrap returns the host function's error.
func (e *ExitError) Unwrap() error { return e.Err }
