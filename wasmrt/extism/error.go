package extism

import (
	"errors"
	"fmt"

	"dhow.dev/dhow/wasmrt"
)

// Failure is what a plugin's function reported, or how it ended.
type Failure struct {
	// Code is what the function returned, or the exit code of a plugin that
	// ended.
	Code int32
	// Message is the plugin's own; may be empty.
	Message string
	// Ended is how the instance ended, of no use any more; nil when it goes on.
	Ended *wasmrt.ExitError
}

// Error is for people.
func (e *Failure) Error() string {
	switch {
	case e.Ended != nil && e.Message != "":
		return fmt.Sprintf("%s (%v)", e.Message, e.Ended)
	case e.Ended != nil:
		return e.Ended.Error()
	case e.Message != "":
		return e.Message
	}
	return fmt.Sprintf("the plugin returned code %d", e.Code)
}

// Unwrap returns how the instance ended.
func (e *Failure) Unwrap() error {
	if e.Ended == nil {
		return nil
	}
	return e.Ended
}

// outcome is the error of a call, by Extism's rules: one function result that
// is not 0, or a message set, is a failure; to exit with code 0 is none. The
// message is nil when none was set.
func outcome(results []uint64, err error, message *string) error {
	f := &Failure{}
	if message != nil {
		f.Message = *message
	}
	ended, isEnd := errors.AsType[*wasmrt.ExitError](err)
	switch {
	case isEnd && ended.Exit.Reason == wasmrt.ExitedReason && ended.Exit.Code == 0:
	case isEnd:
		f.Code, f.Ended = int32(ended.Exit.Code), ended //nolint:gosec // as the guest gave it
	case err != nil:
		return err
	case len(results) > 1:
		return &wasmrt.Error{Reason: wasmrt.ReasonBadCall, Message: "a plugin's function has one result at the most"}
	case len(results) == 1:
		f.Code = int32(results[0]) //nolint:gosec // an i32
	}
	if f.Code == 0 && f.Ended == nil && message == nil {
		return nil
	}
	return f
}
