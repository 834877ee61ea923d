package wasmrt

import "golang.org/x/sys/unix"

// Memory of guests is mapped outside Go's heap: untouched pages cost nothing,
// it goes back to the system at once, and the collector never sees it. One mapping a guest,
// grown by mremap, as vm.max_map_count bounds mappings.

func mapMemory(size uint64) ([]byte, error) {
	if size == 0 {
		return []byte{}, nil
	}
	return unix.Mmap(-1, 0, int(size), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANON) //nolint:gosec // at most 4 GiB
}

// populate gives pages to a part that is about to be written whole: in one
// call, without a fault for each page. Kernels before 5.14 do not know it, and
// fault.
func populate(b []byte, s span) {
	from := s.from &^ uint64(unix.Getpagesize()-1) //nolint:gosec // a power of two
	if s.to <= uint64(len(b)) {
		_ = unix.Madvise(b[from:s.to], unix.MADV_POPULATE_WRITE)
	}
}

func growMemory(old []byte, size uint64) ([]byte, error) {
	if len(old) == 0 {
		return mapMemory(size)
	}
	return unix.Mremap(old, int(size), unix.MREMAP_MAYMOVE) //nolint:gosec // at most 4 GiB
}

func unmapMemory(b []byte) {
	if len(b) > 0 {
		_ = unix.Munmap(b) // fails only on what is not mapped
	}
}
