package wasmrt

import "dhow.dev/dhow/wasmrt/internal/wasmbin"

// Go's linker writes a data segment for each run of bytes between zeros: some
// 36,000 of them for a small program. Each costs wazero a constant expression
// at every start and 24 bytes of heap in every instance, together a third of
// the start and a megabyte.

// dataSegment is an active one: bytes at an address of the memory.
type dataSegment struct {
	at    uint64
	bytes []byte
}

func (s dataSegment) end() uint64 { return s.at + uint64(len(s.bytes)) }

// takeData moves the data from the module into an image. It stays where it is
// if instructions may name segments, or if the engine has something to refuse.
// The error is the host's.
func (s *shaper) takeData() error {
	body := s.body(wasmbin.Data)
	if body == nil || s.memory == nil || s.uses[wasmbin.OpMemoryInit] || s.uses[wasmbin.OpDataDrop] {
		return nil
	}
	segments, ok := readSegments(body)
	if !ok {
		return nil
	}
	var end uint64
	for _, segment := range segments {
		if segment.end() > s.memory.Min*pageSize {
			return nil
		}
		if len(segment.bytes) > 0 {
			end = max(end, segment.end())
		}
	}
	if end > 0 {
		var err error
		s.out.image, err = newImage(end, func(b []byte) {
			for _, segment := range segments { // the later ones win
				copy(b[segment.at:], segment.bytes)
			}
		})
		if err != nil {
			return err
		}
	}
	s.remove(wasmbin.Data)
	s.remove(wasmbin.DataCount)
	return nil
}

// readSegments reads a data section. It is false for one with passive segments
// or computed addresses.
func readSegments(body []byte) ([]dataSegment, bool) {
	r := wasmbin.Reader{B: body}
	n := r.Count()
	all := make([]dataSegment, 0, n)
	for range n {
		switch flag := r.U32(); {
		case flag == 0:
		case flag == 2 && r.U32() == 0: // the memory is named
		default:
			return nil, false
		}
		if wasmbin.Op(r.Byte()) != wasmbin.OpI32Const {
			return nil, false
		}
		at := uint64(uint32(r.S32())) //nolint:gosec // an address is unsigned
		if wasmbin.Op(r.Byte()) != wasmbin.OpEnd {
			return nil, false
		}
		all = append(all, dataSegment{at, r.Bytes(r.U32())})
	}
	return all, r.Err() == nil && !r.More()
}
