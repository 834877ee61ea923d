package wasmrt

import "sync/atomic"

// memory is a guest's linear memory, of a fixed limit. It counts what the
// guest was refused, so that its end can be explained.
//
// wazero frees it when the module closes, which is while the guest still has
// host frames on its stack (proc_exit), or not at all (a context cancelled as
// the call ends). So Free does nothing, and the instance calls release after
// the guest's call has returned, always and once.
type memory struct {
	limit   uint64
	size    atomic.Uint64
	refused atomic.Bool
	refuse  func() // told when the guest is refused more
	turn    func() // told before it grows: that may take long, and costs no fuel
	m       mapping
	image   *image // what it was mapped from
	apart   []byte // what the pages held that were given back; see doze
}

// room is mapped beyond the size that a guest has, so that it rarely moves
// when it grows: a Go guest grows by 4 MiB at once.
const room = 16 << 20

// newMemory maps the first size bytes, so that a host without memory is an
// error here and not a panic inside wazero. They are the image's, then zero.
func newMemory(size, limit uint64, i *image) (*memory, error) {
	m := &memory{limit: limit}
	if size == 0 {
		return m, nil
	}
	if err := m.m.open(min(size+room, max(size, limit)), i); err != nil {
		return nil, err
	}
	m.m.small()
	if i != nil {
		i.hold()
		m.image = i
	}
	return m, nil
}

// Reallocate implements experimental.LinearMemory.
func (m *memory) Reallocate(size uint64) []byte {
	if size > m.limit {
		m.denied()
		return nil
	}
	if m.turn != nil {
		m.turn()
	}
	if size > uint64(len(m.m.buf)) {
		if m.m.grow(min(size+max(size, room), m.limit)) != nil {
			m.denied()
			return nil
		}
	}
	m.size.Store(size)
	return m.m.buf[:size:size]
}

func (m *memory) denied() {
	m.refused.Store(true)
	if m.refuse != nil {
		m.refuse()
	}
}

// bytes is all of it, until it grows or is released.
func (m *memory) bytes() []byte { return m.m.buf[:m.size.Load()] }

// Free implements experimental.LinearMemory; see release.
func (m *memory) Free() {}

func (m *memory) release() {
	m.m.close()
	m.image.close()
	m.image, m.apart = nil, nil
	m.size.Store(0)
}
