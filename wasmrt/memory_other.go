//go:build !linux

package wasmrt

func mapMemory(size uint64) ([]byte, error) { return make([]byte, size), nil }

func populate([]byte, span) {}

func growMemory(old []byte, size uint64) ([]byte, error) {
	b := make([]byte, size)
	copy(b, old)
	return b, nil
}

func unmapMemory([]byte) {}
