package runtime

import (
	"context"
	"strings"
)

// MaxCallBytes bounds the data of a call and of its result, each.
const MaxCallBytes = 4 << 20

// Caller is a Runtime whose runs can be called by function. Which runs can is
// the task's matter: to others it answers NotCallable.
type Caller interface {
	// Call calls a function of a running run and returns when it has returned.
	// Cancelling ctx interrupts it. An *Error has one of the reasons below;
	// ErrUnknown is a run that the runtime does not know.
	Call(ctx context.Context, id ID, c Call) (CallResult, error)
	// Functions tells what Call can call, in order.
	Functions(ctx context.Context, id ID) ([]Function, error)
}

// Reasons of an Error that Call answers. A guest that ended otherwise has the
// reason of its Exit: Trapped, OutOfFuel, TimedOut, OutOfMemory.
const (
	ReasonNotCallable    = "NotCallable"    // the task is no function
	ReasonNoSuchFunction = "NoSuchFunction" // the message names those there are
	ReasonBadArguments   = "BadArguments"   // they do not fit the function's types
	ReasonBusy           = "Busy"           // the queue is full: try again, or elsewhere
	ReasonNotRunning     = "NotRunning"     // not started yet, or ended
	ReasonTooLarge       = "TooLarge"       // data, or the result, beyond MaxCallBytes
	ReasonFunctionFailed = "FunctionFailed" // the function itself says that it failed
)

// Call is one call of a function.
type Call struct {
	// Function's name. Empty: the only one there is, or the handler of an HTTP
	// function.
	Function string
	// Args are scalars as text, for functions that take typed ones.
	Args []string
	// Data is what functions on bytes get: an Extism plugin's input, a
	// command's standard input, a request's body.
	Data []byte
	// Header is what an HTTP function gets of it.
	Header map[string][]string
}

// CallResult is what the function answered.
type CallResult struct {
	Values []string // of functions with typed results, as text
	Data   []byte
	// Status and Header are an HTTP function's; Status is 0 for others.
	Status int
	Header map[string][]string
}

// Function is one that can be called.
type Function struct {
	Name string
	// Types of typed scalars ("i32", "f64"); both are empty when the function
	// takes and gives bytes.
	Params, Results []string
}

// String is the function as it is called: add(i32, i32) -> i32.
func (f Function) String() string {
	if len(f.Params)+len(f.Results) == 0 {
		return f.Name
	}
	s := f.Name + "(" + strings.Join(f.Params, ", ") + ")"
	if len(f.Results) > 0 {
		s += " -> " + strings.Join(f.Results, ", ")
	}
	return s
}
