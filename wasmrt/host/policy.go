package host

import (
	"context"
	"time"
)

// Policy is what one guest may do with the functions of this package. Its zero
// value allows nothing: each call of the guest's is answered with Denied or
// NotFound, and what it logs is discarded.
type Policy struct {
	HTTP    *HTTP             // nil: no requests
	Config  map[string]string // must not be changed any more
	Secrets map[string]string // must not be changed any more
	Store   Store             // nil: none
	Invoker Invoker           // nil: no function can be invoked
	// MaxDepth bounds chains of functions that invoke each other. Default 8.
	MaxDepth int
	// Log takes what the guest logs, valid UTF-8 without a line feed at its end;
	// nil discards it. It is called from the guest's goroutine.
	Log func(Level, string)
	// MaxLogs is how many messages pass in a second; the number of those above
	// it is logged later. Default 1000.
	MaxLogs int
	// Now is the clock for MaxLogs. Default time.Now.
	Now func() time.Time
}

// Invoker calls functions of other modules.
type Invoker interface {
	// Invoke calls the function of a name. An error that wraps ErrNotFound,
	// ErrDenied, ErrBusy or ErrTooLarge is told to the guest as such.
	Invoke(ctx context.Context, name string, input []byte) ([]byte, error)
}

// Level is how important a log message is.
type Level uint32

// Levels of messages.
const (
	Debug Level = iota
	Info
	Warn
	Error
)

// String is the level's name in lower case.
func (l Level) String() string {
	switch l {
	case Debug:
		return "debug"
	case Warn:
		return "warn"
	case Error:
		return "error"
	case Info:
	}
	return "info"
}
