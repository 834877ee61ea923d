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
	buf     []byte
}

// newMemory maps the first size bytes, so that a host without memory is an
// error here and not a panic inside wazero. Data tells where large segments go.
func newMemory(size, limit uint64, data []span) (*memory, error) {
	m := &memory{limit: limit}
	buf, err := mapMemory(size)
	if err != nil {
		return nil, err
	}
	for _, s := range data {
		populate(buf, s)
	}
	m.buf = buf
	return m, nil
}

// Reallocate implements experimental.LinearMemory.
func (m *memory) Reallocate(size uint64) []byte {
	if size > m.limit {
		m.refused.Store(true)
		return nil
	}
	if size > uint64(len(m.buf)) {
		buf, err := growMemory(m.buf, size)
		if err != nil {
			m.refused.Store(true)
			return nil
		}
		m.buf = buf
	}
	m.size.Store(size)
	return m.buf[:size:size]
}

// Free implements experimental.LinearMemory; see release.
func (m *memory) Free() {}

func (m *memory) release() {
	if m.buf != nil {
		unmapMemory(m.buf)
		m.buf = nil
	}
	m.size.Store(0)
}
