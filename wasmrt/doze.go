package wasmrt

import (
	"bytes"
	"encoding/binary"
	"slices"
	"time"
)

// A guest that waits in poll_oneoff for more than dozeAfter gives its pages back
// to the system. What they hold beyond its image, mostly a few hundred bytes of
// a stack and some variables, is kept apart until the wait is over.
const (
	dozeAfter = time.Second
	// dozeMost bounds the memory of guests that do so, as all of it is looked at.
	dozeMost = 16 << 20
	// dozeBlock is the unit in which a page is compared with the image's.
	dozeBlock = 64
)

// doze frees the memory's pages until wake. Nobody uses the memory meanwhile.
func (m *memory) doze() {
	all := m.bytes()
	if m.apart != nil || len(all) == 0 || len(all) > dozeMost {
		return
	}
	own := m.m.own(len(all))
	var apart []byte
	for _, p := range own {
		if apart = m.differing(apart, p); len(apart) > len(own)*copyPage/2 {
			return // it is not worth it
		}
	}
	m.apart = slices.Clone(apart) // what grew has room to spare
	m.m.discard(own)
}

// wake brings back what doze kept.
func (m *memory) wake() {
	for b := m.apart; len(b) > 0; b = b[4+dozeBlock:] {
		copy(m.m.buf[binary.LittleEndian.Uint32(b):], b[4:4+dozeBlock])
	}
	m.apart = nil
}

// differing appends the blocks of a page that are not as they were at first,
// each after its offset in the memory.
func (m *memory) differing(to []byte, page int) []byte {
	first := zeros[:]
	if uint64(page)*copyPage < m.m.imaged() { //nolint:gosec // not negative
		first = m.image.page(page)
	}
	is := pageAt(m.m.buf, page)
	for at := 0; at < copyPage; at += dozeBlock {
		if block := is[at : at+dozeBlock]; !bytes.Equal(block, first[at:at+dozeBlock]) {
			to = binary.LittleEndian.AppendUint32(to, uint32(page*copyPage+at)) //nolint:gosec // at most dozeMost
			to = append(to, block...)
		}
	}
	return to
}

// doze gives back what the guest does not need while it waits. It is called by
// the goroutine of its call.
func (i *Instance) doze() {
	i.memory.doze()
	if i.functions != nil {
		for _, f := range i.functions.known {
			freeStack(f.call)
		}
	}
}
