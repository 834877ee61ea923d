package wasmrt

import (
	"os"
	"unsafe"

	"golang.org/x/sys/unix"
)

// mapping is memory outside Go's heap: untouched pages cost nothing, it goes
// back to the system at once, and the collector never sees it. It is one or two
// areas of the kernel, the image's and the zero one, as vm.max_map_count bounds
// them.
type mapping struct {
	buf   []byte
	image uint64 // bytes of buf that are an image's
}

const anonymous = unix.MAP_PRIVATE | unix.MAP_ANON

func (m *mapping) open(size uint64, i *image) error {
	if size == 0 {
		return nil
	}
	p, err := unix.MmapPtr(-1, 0, nil, uintptr(size), unix.PROT_READ|unix.PROT_WRITE, anonymous)
	if err != nil {
		return err
	}
	m.buf = unsafe.Slice((*byte)(p), size)
	if i != nil {
		if _, err := unix.MmapPtr(int(i.file.f.Fd()), 0, p, uintptr(i.size), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_FIXED); err != nil {
			m.close()
			return err
		}
		m.image = i.size
	}
	return nil
}

// grow moves it to a place that has room. On an error it is as it was.
func (m *mapping) grow(size uint64) error {
	var to mapping
	if err := to.open(size, nil); err != nil {
		return err
	}
	if zero := uint64(len(m.buf)) - m.image; zero > 0 {
		if err := move(m.buf[m.image:], to.buf[m.image:]); err != nil {
			to.close()
			return err
		}
		m.buf = m.buf[:m.image]
	}
	to.image = m.image
	if m.image > 0 {
		if move(m.buf, to.buf[:m.image]) == nil {
			m.buf = nil
		} else {
			to.image = 0
			copy(to.buf, m.buf)
		}
	}
	m.close()
	*m = to
	return nil
}

// move moves pages and maps more behind them, in place of what is mapped there.
func move(from, to []byte) error {
	_, err := unix.MremapPtr(unsafe.Pointer(&from[0]), uintptr(len(from)), unsafe.Pointer(&to[0]), uintptr(len(to)), unix.MREMAP_MAYMOVE|unix.MREMAP_FIXED)
	return err
}

func (m *mapping) close() {
	if len(m.buf) > 0 {
		_ = unix.MunmapPtr(unsafe.Pointer(&m.buf[0]), uintptr(len(m.buf))) // fails only on what is not mapped
	}
	*m = mapping{}
}

func pagesUp(n uint64) uint64 {
	page := uint64(unix.Getpagesize()) //nolint:gosec // a power of two
	return (n + page - 1) &^ (page - 1)
}

// imageFile is a file in memory, without a name.
type imageFile struct{ f *os.File }

func (i *imageFile) open() error {
	if i.f != nil {
		return nil
	}
	fd, err := unix.MemfdCreate("dhow-image", unix.MFD_CLOEXEC)
	if err != nil {
		return err
	}
	i.f = os.NewFile(uintptr(fd), "dhow-image")
	return nil
}

func (i *imageFile) write(b []byte, at, size uint64) error {
	if _, err := i.f.WriteAt(b, int64(at)); err != nil { //nolint:gosec // below 4 GiB
		return err
	}
	return i.f.Truncate(int64(size)) //nolint:gosec // below 4 GiB
}

func (i *imageFile) close() {
	if i.f != nil {
		_ = i.f.Close() // what is mapped of it stays
		i.f = nil
	}
}
