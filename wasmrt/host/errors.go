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
	ErrFailed   = errors.New("failed")
	ErrBusy     = errors.New("busy")
	ErrFault    = errors.New("outside of memory")
)

// code is the number of an error in the guests' interface.
func code(err error) int32 {
	switch {
	case err == nil:
		return 0
	case errors.Is(err, ErrNotFound):
		return -1
	case errors.Is(err, ErrDenied):
		return -2
	case errors.Is(err, ErrInvalid):
		return -3
	case errors.Is(err, ErrTooLarge):
		return -4
	case errors.Is(err, ErrTimedOut), errors.Is(err, context.DeadlineExceeded):
		return -5
	case errors.Is(err, ErrBusy):
		return -7
	case errors.Is(err, ErrFault):
		return -8
	}
	return -6
}
