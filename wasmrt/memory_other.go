//go:build !linux

package wasmrt

import "errors"

type mapping struct{ buf []byte }

func (m *mapping) open(size uint64, _ *image) error {
	m.buf = make([]byte, size)
	return nil
}

func (m *mapping) grow(size uint64) error {
	b := make([]byte, size)
	copy(b, m.buf)
	m.buf = b
	return nil
}

func (m *mapping) close() { m.buf = nil }

func pagesUp(n uint64) uint64 { return n }

var errNoImages = errors.New("no images here")

// imageFile is only where mappings are.
type imageFile struct{}

func (imageFile) open() error                        { return errNoImages }
func (imageFile) write([]byte, uint64, uint64) error { return errNoImages }
func (imageFile) close()                             {}
