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
	// clock is what the guest's monotonic clock is ahead of the engine's.
	clock time.Duration
}

// origin is what a module's instances begin with by themselves.
func (c *code) origin() *origin {
	return &origin{image: c.image, size: c.pages * pageSize}
}

// adopt gives a module just made, whose memory is mapped from o, the rest of o.
func (o *origin) adopt(m api.Module, s *shaped) error {
	if mem := m.Memory(); mem != nil && o.size > uint64(mem.Size()) {
		more := (o.size - uint64(mem.Size())) / pageSize
		if _, ok := mem.Grow(uint32(more)); !ok { //nolint:gosec // at most 4 GiB
			return failf(ReasonMemoryLimit, "the copy needs %d bytes of memory: raise the limit", o.size)
		}
	}
	for n, v := range o.globals {
		m.ExportedGlobal(s.globals[n].export).(api.MutableGlobal).Set(v)
	}
	return nil
}
