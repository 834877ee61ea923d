package wasmrt

import (
	"bytes"
	"sync/atomic"
)

// image is what a guest's memory begins with, laid out once. Guests map it
// copy-on-write, so that they share the pages that they do not write, and none
// is copied before it is: of a Go guest's 1.3 MB, most. Pages past the image
// are zero. It does not change any more once it is made.
type image struct {
	file  imageFile
	size  uint64       // whole pages of the system
	bytes []byte       // to read
	more  atomic.Int32 // users beside the first
}

// newImage makes an image of a size, which is rounded up, and lets fill write
// it. What fill does not touch costs nothing.
func newImage(size uint64, fill func([]byte)) (*image, error) {
	i := &image{size: pagesUp(size)}
	var err error
	if i.bytes, err = i.file.make(i.size, fill); err != nil {
		i.file.close()
		return nil, err
	}
	return i, nil
}

// imageOf copies a guest's memory, and leaves out zeros.
func imageOf(memory []byte) (*image, error) {
	pages := nonZero(memory)
	if len(pages) == 0 {
		return nil, nil //nolint:nilnil // zeros need no image
	}
	end := min(uint64(pages[len(pages)-1]+1)*copyPage, uint64(len(memory))) //nolint:gosec // not negative
	return newImage(end, func(b []byte) {
		for _, p := range pages {
			copy(b[p*copyPage:], pageAt(memory, p))
		}
	})
}

// copyPage is the unit in which memories are compared and copied, whatever the
// system's pages are.
const copyPage = 4096

var zeros [copyPage]byte //nolint:gochecknoglobals // never written

func pageAt(memory []byte, n int) []byte {
	return memory[n*copyPage : min((n+1)*copyPage, len(memory))]
}

// nonZero are the pages of a memory with something else than zeros.
func nonZero(memory []byte) []int {
	var pages []int
	for n := range (len(memory) + copyPage - 1) / copyPage {
		if p := pageAt(memory, n); !bytes.Equal(p, zeros[:len(p)]) {
			pages = append(pages, n)
		}
	}
	return pages
}

// page is the image's content there, zeros past its end.
func (i *image) page(n int) []byte {
	if i == nil || uint64(n+1)*copyPage > i.size { //nolint:gosec // not negative
		return zeros[:]
	}
	return pageAt(i.bytes, n)
}

// hold adds a user, of whom each closes it.
func (i *image) hold() {
	if i != nil {
		i.more.Add(1)
	}
}

func (i *image) close() {
	if i != nil && i.more.Add(-1) < 0 {
		i.file.close()
		i.bytes = nil
	}
}
