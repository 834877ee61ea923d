package wasmrt

import (
	"time"

	"github.com/tetratelabs/wazero/api"
)

// origin is what an instance begins with.
type origin struct {
	image   *image // the first bytes of its memory; nil for zeros
	size    uint64 // of its memory, in bytes
	globals []uint64
	// begun says that the start function and _initialize have run already.
	begun bool
	// ahead is what the guest's monotonic clock is ahead of the engine's.
	ahead time.Duration
}

// origin is what a module's instances begin with by themselves.
func (c *code) origin() *origin {
	return &origin{image: c.image, size: c.pages * pageSize}
}

// adopt gives a module just made, whose memory is mapped from o, the rest of o.
func (o *origin) adopt(m api.Module, s *shaped) error {
	if mem := memoryOf(m); mem != nil {
		has, _ := mem.Grow(0) // Size would say 0 of 4 GiB
		more := o.size/pageSize - min(uint64(has), o.size/pageSize)
		if _, ok := mem.Grow(uint32(more)); !ok { //nolint:gosec // at most 4 GiB
			return failf(ReasonMemoryLimit, "the copy needs %d bytes of memory: raise the limit", o.size)
		}
	}
	for n, v := range o.globals {
		m.ExportedGlobal(s.globals[n].export).(api.MutableGlobal).Set(v)
	}
	return nil
}

// alone runs f while nothing else can run or end the guest.
func (i *Instance) alone(f func() error) error {
	if err := i.take(); err != nil {
		return err
	}
	defer i.give()
	return f()
}

// capture makes an origin of what the guest is now. To be called alone.
func (i *Instance) capture() (*origin, error) {
	memory := i.memory.bytes()
	image, err := imageOf(memory)
	if err != nil {
		return nil, &Error{Reason: ReasonNoMapping, Message: "no memory for the image", Err: err}
	}
	return &origin{
		image: image, size: uint64(len(memory)), globals: i.globals(), begun: true,
		ahead: i.monotonic() - i.engine.monotonic(),
	}, nil
}

// globals are the values of the mutable globals.
func (i *Instance) globals() []uint64 {
	values := make([]uint64, 0, len(i.code.shape.globals))
	for _, g := range i.code.shape.globals {
		values = append(values, i.module.ExportedGlobal(g.export).Get())
	}
	return values
}

// copyable says what the guest has that cannot be carried to another one; nil
// if there is nothing. The guest is between calls.
func (i *Instance) copyable() error {
	if i.code.shape.fixed != nil {
		return i.code.shape.fixed
	}
	return i.alone(func() error {
		if what := i.files.opened(); what != "" {
			return cannotCopy("it has %s", what)
		}
		if len(i.attached) > 0 {
			return cannotCopy("the host keeps something for it")
		}
		pristine, name, err := i.pristine()
		if err == nil && !pristine {
			err = cannotCopy("the host module %s keeps something for it", printable(name))
		}
		return err
	})
}
