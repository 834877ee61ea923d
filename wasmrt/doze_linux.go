package wasmrt

import (
	"encoding/binary"
	"os"
	"reflect"
	"unsafe"

	"github.com/tetratelabs/wazero/api"
	"golang.org/x/sys/unix"
)

// own are the pages of the first size bytes that hold memory of the process's
// own; none where this cannot be told.
func (m *mapping) own(size int) []int {
	if os.Getpagesize() != copyPage {
		return nil
	}
	f, err := os.Open("/proc/self/pagemap")
	if err != nil {
		return nil
	}
	defer func() { _ = f.Close() }() // only read
	const (
		entry   = 8
		present = 1 << 63
		shared  = 1 << 61 // the image's
	)
	var own []int
	buf := make([]byte, min(size/copyPage*entry, 4096))
	for page := 0; page < size/copyPage; {
		buf = buf[:min(len(buf), (size/copyPage-page)*entry)]
		at := int64(uintptr(unsafe.Pointer(&m.buf[0]))/copyPage) + int64(page) //nolint:gosec // an address
		if _, err := f.ReadAt(buf, at*entry); err != nil {
			return nil
		}
		for b := buf; len(b) > 0; b = b[entry:] {
			if e := binary.NativeEndian.Uint64(b); e&present != 0 && e&shared == 0 {
				own = append(own, page)
			}
			page++
		}
	}
	return own
}

// imaged is how many bytes of it are an image's.
func (m *mapping) imaged() uint64 { return m.image }

// discard gives pages back: they are as they were at first.
func (m *mapping) discard(pages []int) {
	for len(pages) > 0 {
		n := 1
		for n < len(pages) && pages[n] == pages[0]+n {
			n++
		}
		_ = unix.Madvise(m.buf[pages[0]*copyPage:(pages[0]+n)*copyPage], unix.MADV_DONTNEED) // else they stay as they are
		pages = pages[n:]
	}
}

// freeStack gives back the unused pages of the stack that a function runs on,
// which wazero makes of 10 KiB. The guest is inside a host function: what is
// below its stack pointer is dead. wazero shows neither; where it has them not
// by these names, nothing is done.
func freeStack(f api.Function) {
	engine := reflect.ValueOf(f)
	if engine.Kind() != reflect.Pointer || engine.Elem().Kind() != reflect.Struct {
		return
	}
	stack := engine.Elem().FieldByName("stack")
	exec := engine.Elem().FieldByName("execCtx")
	if stack.Kind() != reflect.Slice || stack.Type().Elem().Kind() != reflect.Uint8 || stack.Len() == 0 || exec.Kind() != reflect.Struct {
		return
	}
	sp := exec.FieldByName("stackPointerBeforeGoCall")
	if sp.Kind() != reflect.Pointer {
		return
	}
	b := unsafe.Slice((*byte)(stack.UnsafePointer()), stack.Len())
	low, at := uintptr(stack.UnsafePointer()), sp.Pointer()
	if at < low || at >= low+uintptr(len(b)) {
		return
	}
	page := uintptr(os.Getpagesize()) //nolint:gosec // a power of two
	from, to := (low+page-1)&^(page-1), at&^(page-1)
	if from < to {
		_ = unix.Madvise(b[from-low:to-low], unix.MADV_DONTNEED) // else it stays
	}
}
