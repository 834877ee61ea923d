package wasmrt

// image is what a module's memory begins with: its large data segments, laid
// out once. Guests map it copy-on-write, so that they share the pages that
// they do not write, and none is copied before it is: of a Go guest's 1.3 MB,
// most. Pages past the image are zero.
type image struct {
	file imageFile
	size uint64 // whole pages of the system
}

// largeSegment is from where on a segment goes into the image.
const largeSegment = 64 << 10

// imageOf moves data segments from a module into an image. Both are as they
// were if there is nothing to gain or the system has no images. Size is of the
// memory that the module has from its start.
func imageOf(wasm []byte, size uint64) ([]byte, *image) {
	i := &image{}
	var err error
	without := mergeData(wasm, func(s dataSegment) bool {
		// What does not fit is for the engine to refuse.
		if len(s.bytes) < largeSegment || s.end() > size || err != nil {
			return false
		}
		err = i.write(s)
		return err == nil
	})
	if err != nil || i.size == 0 {
		i.close()
		return mergeData(wasm, func(dataSegment) bool { return false }), nil
	}
	return without, i
}

func (i *image) write(s dataSegment) error {
	if err := i.file.open(); err != nil {
		return err
	}
	i.size = max(i.size, pagesUp(s.end()))
	return i.file.write(s.bytes, s.at, i.size)
}

func (i *image) close() {
	if i != nil {
		i.file.close()
	}
}
