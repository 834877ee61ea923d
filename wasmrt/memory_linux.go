package wasmrt

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
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
	areas int64  // that mapped counts
}

const anonymous = unix.MAP_PRIVATE | unix.MAP_ANON | unix.MAP_NORESERVE

// areas is how many areas a mapping counts as.
const areas = 2

// mapped counts the process's areas that are guests'.
var mapped atomic.Int64 //nolint:gochecknoglobals // as the kernel's count, it is the process's

// mostAreas leaves a quarter of what the kernel allows to the rest of the
// process: where the Go runtime gets no area it dies.
var mostAreas = sync.OnceValue(func() int64 { //nolint:gochecknoglobals // see mapped
	allowed := int64(65530)
	if b, err := os.ReadFile("/proc/sys/vm/max_map_count"); err == nil {
		if n, err := strconv.ParseInt(strings.TrimSpace(string(b)), 10, 64); err == nil {
			allowed = n
		}
	}
	return allowed / 4 * 3
})

var errAreas = errors.New("too many guests for this process: vm.max_map_count bounds the areas of its memory")

func (m *mapping) open(size uint64, i *image) error {
	if size == 0 {
		return nil
	}
	if mapped.Add(areas) > mostAreas() {
		mapped.Add(-areas)
		return fmt.Errorf("%w (%d are in use)", errAreas, mapped.Load())
	}
	m.areas = areas
	p, err := unix.MmapPtr(-1, 0, nil, uintptr(size), unix.PROT_READ|unix.PROT_WRITE, anonymous)
	if err != nil {
		m.close()
		return err
	}
	m.buf = unsafe.Slice((*byte)(p), size)
	if i == nil {
		return nil
	}
	if _, err := unix.MmapPtr(int(i.file.f.Fd()), 0, p, uintptr(i.size), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_FIXED|unix.MAP_NORESERVE); err != nil {
		m.close()
		return err
	}
	m.image = i.size
	return nil
}

// small keeps the kernel from backing a byte that is written with 2 MiB, where
// it is set to do so: guests that are many are small.
func (m *mapping) small() {
	if len(m.buf) > 0 {
		_ = unix.Madvise(m.buf, unix.MADV_NOHUGEPAGE) // kernels without huge pages do not know it
	}
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
		// What has moved away is not to be unmapped: others may be there now.
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

// unmapping is held while a mapping goes: it takes a thread beside those of
// Go's processors, and many of them would take the machine from the guests.
var unmapping sync.Mutex //nolint:gochecknoglobals // the machine is one

func (m *mapping) close() {
	if len(m.buf) > 0 {
		unmapping.Lock()
		defer unmapping.Unlock()
		_ = unix.MunmapPtr(unsafe.Pointer(&m.buf[0]), uintptr(len(m.buf))) // fails only on what is not mapped
	}
	mapped.Add(-m.areas)
	*m = mapping{}
}

func pagesUp(n uint64) uint64 {
	page := uint64(unix.Getpagesize()) //nolint:gosec // a power of two
	return (n + page - 1) &^ (page - 1)
}

// imageFile is a file in memory, without a name.
type imageFile struct {
	f    *os.File
	view []byte
}

// make returns a view of it, which lives until close.
func (i *imageFile) make(size uint64, fill func([]byte)) ([]byte, error) {
	fd, err := unix.MemfdCreate("dhow-image", unix.MFD_CLOEXEC|unix.MFD_ALLOW_SEALING)
	if err != nil {
		return nil, err
	}
	i.f = os.NewFile(uintptr(fd), "dhow-image")
	if err := unix.Ftruncate(fd, int64(size)); err != nil { //nolint:gosec // at most 4 GiB
		return nil, err
	}
	b, err := unix.Mmap(fd, 0, int(size), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		return nil, err
	}
	fill(b)
	if err := unix.Munmap(b); err != nil {
		return nil, err
	}
	const seals = unix.F_SEAL_SHRINK | unix.F_SEAL_GROW | unix.F_SEAL_WRITE | unix.F_SEAL_SEAL
	if _, err := unix.FcntlInt(uintptr(fd), unix.F_ADD_SEALS, seals); err != nil {
		return nil, err
	}
	// Shared, older kernels take it for one that may be written later.
	i.view, err = unix.Mmap(fd, 0, int(size), unix.PROT_READ, unix.MAP_PRIVATE)
	return i.view, err
}

func (i *imageFile) close() {
	if i.f != nil {
		_ = i.f.Close() // what is mapped of it stays
	}
	if i.view != nil {
		_ = unix.Munmap(i.view)
	}
	*i = imageFile{}
}
