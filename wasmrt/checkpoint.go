package wasmrt

import (
	"context"
	"io"
)

// Reasons of an Error that are about checkpoints.
const (
	ReasonDamaged  = "CheckpointDamaged"
	ReasonMismatch = "CheckpointMismatch"
)

// Checkpoint writes what the instance is, between two calls: memory, globals
// and the time on its monotonic clock. The error is an *Error with
// ReasonCannotCopy, which names what cannot be carried, such as open files; or
// ReasonInUse during a call.
func (i *Instance) Checkpoint(ctx context.Context, w io.Writer) error {
	return cannotCopy("not yet")
}

// Restore makes an instance that goes on where Checkpoint was called, maybe in
// another process. The module has to be the same. The error is an *Error:
// ReasonDamaged, ReasonMismatch, or what New fails with.
func (m *Module) Restore(ctx context.Context, r io.Reader, c Config) (*Instance, error) {
	return nil, failf(ReasonDamaged, "not yet")
}
