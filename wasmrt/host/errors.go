package host

import (
	"context"
	"errors"
)

// Errors that guests are told of by number.
var (
	ErrNotFound = errors.New("not found")
	ErrDenied   = errors.New("not allowed")
	ErrInvalid  = errors.New("invalid")
	ErrTooLarge = errors.New("too large")
	ErrTimedOut = errors.New("timed out")
	ErrBusy     = errors.New("busy")
	ErrFault    = errors.New("outside of memory")
)

// failed is the number of all other errors.
const failed = -6

// code is the number of an error in the guests' interface. They are promised:
// a number never changes its meaning.
func code(err error) int32 {
	for _, known := range [...]struct {
		err  error
		code int32
	}{
		{ErrNotFound, -1},
		{ErrDenied, -2},
		{ErrInvalid, -3},
		{ErrTooLarge, -4},
		{ErrTimedOut, -5},
		{context.DeadlineExceeded, -5},
		{ErrBusy, -7},
		{ErrFault, -8},
	} {
		if errors.Is(err, known.err) {
			return known.code
		}
	}
	return failed
}
