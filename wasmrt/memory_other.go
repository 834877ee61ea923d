//go:build !linux

package wasmrt

type mapping struct{ buf []byte }

func (m *mapping) open(size uint64, i *image) error {
	m.buf = make([]byte, size)
	if i != nil {
		copy(m.buf, i.bytes)
	}
	return nil
}

func (m *mapping) small() {}

func (m *mapping) grow(size uint64) error {
	b := make([]byte, size)
	copy(b, m.buf)
	m.buf = b
	return nil
}

func (m *mapping) close() { m.buf = nil }

func pagesUp(n uint64) uint64 { return (n + copyPage - 1) &^ (copyPage - 1) }

// imageFile is a file only where mappings are.
type imageFile struct{}

func (imageFile) make(size uint64, fill func([]byte)) ([]byte, error) {
	b := make([]byte, size)
	fill(b)
	return b, nil
}

func (imageFile) close() {}
