package wasmrt

import (
	"bytes"
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
	dozeBlock = 8
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
	for b := m.apart; len(b) > 0; {
		at, n := le.Uint32(b), le.Uint32(b[4:])
		copy(m.m.buf[at:], b[8:8+n])
		b = b[8+n:]
	}
	m.apart = nil
}

// differing appends the blocks of a page that are not as they were at first,
// each run of them after its offset in the memory and its size.
func (m *memory) differing(to []byte, page int) []byte {
	first := zeros[:]
	if uint64(page)*copyPage < m.m.imaged() { //nolint:gosec // not negative
		first = m.image.page(page)
	}
	is := pageAt(m.m.buf, page)
	run := -1 // where it begins in to
	for at := 0; at < copyPage; at += dozeBlock {
		block := is[at : at+dozeBlock]
		if bytes.Equal(block, first[at:at+dozeBlock]) {
			run = -1
			continue
		}
		if run < 0 {
			run = len(to)
			to = le.AppendUint32(to, uint32(page*copyPage+at)) //nolint:gosec // at most dozeMost
			to = le.AppendUint32(to, 0)
		}
		to = append(to, block...)
		le.PutUint32(to[run+4:], uint32(len(to)-run-8)) //nolint:gosec // at most a page
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
