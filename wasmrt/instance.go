package wasmrt

import (
	"context"
	"io"
	"time"
)

// Config is what one run of a module gets.
type Config struct {
	// Args are argv: the first is the program's name.
	Args []string
	// Env holds "NAME=value" pairs.
	Env []string
	// Stdin is read by the guest; nil is empty.
	Stdin io.Reader
	// Stdout and Stderr take the guest's output; nil discards it. They are
	// called from the guest's goroutine, one write at a time, and must not
	// keep what they are given.
	Stdout, Stderr io.Writer
	// MemoryLimit is in bytes, rounded down to pages of 64 KiB. 0 leaves the
	// module's own maximum, at most 4 GiB.
	MemoryLimit uint64
}

// Reasons of an Exit.
const (
	ExitedReason      = "Exited"
	StoppedReason     = "Stopped"
	TrappedReason     = "Trapped"
	OutOfMemoryReason = "OutOfMemory"
)

// Exit is how a run ended.
type Exit struct {
	// Code is what the guest gave to proc_exit, 0 when _start returned. 137
	// when it was stopped, 134 when it trapped.
	Code   uint32
	Reason string // one of the Reason words above
	// Message is for people: a trap and the guest's stack.
	Message string
}

// Instance is one running guest.
type Instance struct {
	done chan struct{}
	exit Exit
}

// Run runs the module's _start and returns when it has ended. Cancelling ctx
// interrupts the guest. The error is an *Error when the guest could not start.
func (m *Module) Run(ctx context.Context, c Config) (Exit, error) {
	i, err := m.Start(ctx, c)
	if err != nil {
		return Exit{}, err
	}
	return i.Wait(), nil
}

// Start begins a run and returns as soon as the guest is instantiated.
func (m *Module) Start(ctx context.Context, c Config) (*Instance, error) {
	return nil, failf(ReasonClosed, "the engine is closed")
}

// Done is closed when the guest has ended and all it held is freed.
func (i *Instance) Done() <-chan struct{} { return i.done }

// Wait returns when the guest has ended.
func (i *Instance) Wait() Exit { <-i.done; return i.exit }

// Stop interrupts the guest and does not wait.
func (i *Instance) Stop() {}

// Memory is the size of the guest's memory in bytes, 0 after its end.
func (i *Instance) Memory() uint64 { return 0 }

// Elapsed is the time since the guest's start, until its end.
func (i *Instance) Elapsed() time.Duration { return 0 }
