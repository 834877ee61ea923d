package wasmrt

import (
	"context"
	"errors"
	"io"
	goruntime "runtime"
)

// Reasons of an Error that are about checkpoints.
const (
	// ReasonDamaged: the bytes are no checkpoint, or not as they were written.
	ReasonDamaged = "CheckpointDamaged"
	// ReasonMismatch: the checkpoint is of another module, architecture or
	// version of this package.
	ReasonMismatch = "CheckpointMismatch"
)

// Checkpoint writes what the instance is, between two calls: memory, globals
// and the time on its monotonic clock. Pages as the module has them from its
// beginning are left out. The instance goes on afterwards.
//
// The error is an *Error with ReasonCannotCopy, which names what cannot be
// carried, such as open files; with ReasonInUse during a call; an *ExitError
// after the end; or w's.
func (i *Instance) Checkpoint(ctx context.Context, w io.Writer) error {
	if err := i.copyable(); err != nil {
		return err
	}
	return i.alone(func() error {
		memory, base := i.memory.bytes(), i.code.image
		h := checkpointHeader{
			digest: i.code.digest, arch: goruntime.GOARCH, memory: uint64(len(memory)), clock: i.monotonic(),
			types: i.code.shape.globalTypes(), values: i.globals(),
		}
		return writeCheckpoint(ctx, w, h, memory, changed(memory, base))
	})
}

// Restore makes an instance that goes on where Checkpoint was called, maybe in
// another process. The module has to be the same. What the guest read of its
// arguments, environment and mounts stays as it was. A checkpoint restored
// twice gives guests that draw the same random numbers.
//
// The error is an *Error: ReasonDamaged, ReasonMismatch, ReasonCannotCopy, or
// what New fails with; or r's.
func (m *Module) Restore(ctx context.Context, r io.Reader, c Config) (*Instance, error) {
	code := m.code
	if code.shape.fixed != nil {
		return nil, code.shape.fixed
	}
	in := newCheckpointReader(r)
	h, err := in.header()
	if err != nil {
		return nil, err
	}
	if err := h.check(code); err != nil {
		return nil, err
	}
	i, err := m.newFrom(ctx, c, &origin{
		image: code.image, size: h.memory, globals: h.values, begun: true,
		ahead: h.clock - code.engine.monotonic(),
	})
	if err != nil {
		return nil, err
	}
	err = i.alone(func() error { return in.pages(ctx, i.memory.bytes()) })
	if err != nil {
		_ = i.Close()
		return nil, err
	}
	return i, nil
}

// check tells whether a checkpoint is of this module.
func (h *checkpointHeader) check(c *code) error {
	switch {
	case h.digest != c.digest:
		return failf(ReasonMismatch, "the checkpoint is of the module %s, and this is %s", printable(h.digest), c.digest)
	case h.arch != goruntime.GOARCH:
		return failf(ReasonMismatch, "the checkpoint was made on %s, and this is %s", printable(h.arch), goruntime.GOARCH)
	case string(h.types) != string(c.shape.globalTypes()):
		return failf(ReasonMismatch, "the checkpoint has other globals than the module")
	case h.memory%pageSize != 0 || h.memory < c.pages*pageSize || h.memory > 1<<32:
		return failf(ReasonDamaged, "the checkpoint has a memory of %d bytes, which the module cannot have", h.memory)
	case h.clock < 0:
		return failf(ReasonDamaged, "the checkpoint's clock is before the beginning")
	}
	return nil
}

// globalTypes are the types of the globals that are carried.
func (s *shaped) globalTypes() []byte {
	types := make([]byte, 0, len(s.globals))
	for _, g := range s.globals {
		types = append(types, g.valueType)
	}
	return types
}

// changed are the pages of a memory that are not as the image has them.
func changed(memory []byte, base *image) []int {
	var pages []int
	for n := range len(memory) / copyPage {
		if [copyPage]byte(pageAt(memory, n)) != [copyPage]byte(base.page(n)) {
			pages = append(pages, n)
		}
	}
	return pages
}

// damaged is an error of reading a checkpoint.
func damaged(err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return failf(ReasonDamaged, "the checkpoint is cut off")
	}
	return err
}
