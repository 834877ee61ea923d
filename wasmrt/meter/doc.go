// Package meter rewrites core WebAssembly modules so that they count what they
// compute, and call their host when a slice of it is used up: the host can then
// stop them, make them wait, or let them go on. It also bounds the depth of
// calls. Only rewriting belongs here: bytes in, bytes out, no clock, no I/O, no
// engine.
package meter

// Names that the rewritten module has in addition to its own.
const (
	// Namespace is the module that its two new imports come from. A module
	// that has imports from there already is refused.
	Namespace = "dhow:meter"
	// ImportRefill is a function (remaining i64) -> (fuel i64), which the
	// guest calls when its fuel does not suffice for what comes next. The
	// result is the fuel to go on with, and must be more than remaining: what
	// remains and the next slice. So all that was granted less what remains
	// is what the guest has used, for slices of any size. Remaining is below
	// zero if the guest ran on a little, which it does until its next loop or
	// call. The host ends a guest by not returning.
	ImportRefill = "refill"
	// ImportOverflow is a function () -> () that must not return: the guest
	// has reached the bound of its stack.
	ImportOverflow = "overflow"
	// ExportFuel is a mutable global, i64: the fuel that is left. It begins
	// with 0, so that the guest asks before it does anything.
	ExportFuel = "dhow:fuel"
	// ExportDepth is a mutable global, i64: bytes that are left of the stack.
	// It begins with Options.Stack. Set it before each call from outside, as
	// what a call leaves there means nothing.
	ExportDepth = "dhow:depth"
)

// Mode says what is counted.
type Mode int

const (
	// Exact counts each instruction, by basic blocks, and at least one for each
	// function and turn of a loop: block, loop, else, end
	// and nop are free, bulk operations cost one unit a byte, or 8 a table's
	// element, more. What remains of a block after a trap is counted too. The
	// same module and input use the same fuel on every machine.
	Exact Mode = iota
	// Preempt counts loops, calls and large blocks only. It is cheaper, and
	// just as good for taking turns. It is deterministic too.
	Preempt
)

// Options of Rewrite.
type Options struct {
	Mode Mode
	// Stack bounds the native stack, in bytes by an estimate of the frames.
	// Default 16 MiB.
	Stack int64
}

// Reason says in one word why a module was refused.
type Reason string

// Reasons.
const (
	// ReasonBroken: the bytes are no module that validates.
	ReasonBroken Reason = "Broken"
	// ReasonUnsupported: it uses a proposal that cannot be metered; the
	// message names it.
	ReasonUnsupported Reason = "Unsupported"
	// ReasonReservedName: it imports or exports names that are ours.
	ReasonReservedName Reason = "ReservedName"
	// ReasonTooManyLocals: a function has more locals than engines take.
	ReasonTooManyLocals Reason = "TooManyLocals"
)

// Error says why a module was refused.
type Error struct {
	Reason  Reason
	Message string
	Err     error
}

func (e *Error) Error() string {
	if e.Err != nil {
		return e.Message + ": " + e.Err.Error()
	}
	return e.Message
}

func (e *Error) Unwrap() error { return e.Err }
