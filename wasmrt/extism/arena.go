package extism

import (
	"math/bits"
	"sort"
)

// Sizes of the arena, in bytes.
const (
	pageSize  = 64 << 10
	firstByte = 16 // no block is at 0, which means none
	alignment = 8
	// overhead is what each block counts for beside its bytes, as the host
	// keeps a record of it.
	overhead = 64
)

// quarantine is how many freed blocks of a size are kept from being used
// again. Some kits free what they gave to the host, some leave that to the host: it frees, and
// the plugin's own free, soon after, must not hit another block.
const quarantine = 16

// block is a part of the memory.
type block struct {
	at, size uint64
	used     uint64 // of size, by its present owner
	active   bool
}

// arena tells which parts of a plugin's memory are in use. It is a value of
// the host's, out of the plugin's reach, and touches no memory itself.
type arena struct {
	blocks []block // by ascending offset; nothing is ever taken out
	free   [64][]int32
	end    uint64 // of the last block
	size   uint64 // of the memory
	most   uint64 // that blocks may take together
}

// reset forgets all blocks.
func (a *arena) reset(size, most uint64) {
	for _, b := range a.blocks {
		c := class(b.size)
		a.free[c] = a.free[c][:0]
	}
	const keep = 1 << 12 // a call that needed very many must not hold their records for ever
	if cap(a.blocks) > keep {
		*a = arena{}
	}
	a.blocks, a.end, a.size, a.most = a.blocks[:0], firstByte, size, most
}

// class is the size class of blocks: those of class c have up to 1<<c bytes.
func class(size uint64) int { return bits.Len64(size - 1) }

// alloc returns the offset of n bytes, 0 when there are no more or n is 0. It
// calls grow for more pages.
func (a *arena) alloc(n uint64, grow func(pages uint32) bool) uint64 {
	if n == 0 || n > a.most {
		return 0
	}
	size := (n + alignment - 1) &^ (alignment - 1)
	if b := a.reuse(size); b != nil {
		b.used, b.active = n, true
		return b.at
	}
	end := a.end + size
	if end+overhead*uint64(len(a.blocks)+1) > a.most {
		return 0
	}
	if end > a.size {
		pages := (end - a.size + pageSize - 1) / pageSize
		if pages > 1<<16 || !grow(uint32(pages)) { //nolint:gosec // bounded on the left
			return 0
		}
		a.size += pages * pageSize
	}
	a.blocks = append(a.blocks, block{at: a.end, size: size, used: n, active: true})
	a.end = end
	return a.blocks[len(a.blocks)-1].at
}

// reuse finds a freed block: of this size class if it is large enough, or of
// the next.
func (a *arena) reuse(size uint64) *block {
	for c := class(size); c <= class(size)+1; c++ {
		list := a.free[c]
		if len(list) <= quarantine {
			continue
		}
		if b := &a.blocks[list[0]]; b.size >= size {
			a.free[c] = list[1:]
			return b
		}
	}
	return nil
}

// find is the active block that begins at an offset, or nil.
func (a *arena) find(at uint64) *block {
	n := sort.Search(len(a.blocks), func(n int) bool { return a.blocks[n].at >= at })
	if n == len(a.blocks) || a.blocks[n].at != at || !a.blocks[n].active {
		return nil
	}
	return &a.blocks[n]
}

// release frees the block at an offset; false when there is none.
func (a *arena) release(at uint64) bool {
	b := a.find(at)
	if b == nil {
		return false
	}
	b.active = false
	c := class(b.size)
	n := sort.Search(len(a.blocks), func(n int) bool { return a.blocks[n].at >= at })
	a.free[c] = append(a.free[c], int32(n)) //nolint:gosec // bounded by the memory
	return true
}

// length is of the block at an offset, 0 when there is none.
func (a *arena) length(at uint64) uint64 {
	if b := a.find(at); b != nil {
		return b.used
	}
	return 0
}

// has tells whether n bytes at an offset are in the memory.
func (a *arena) has(at, n uint64) bool { return at <= a.size && n <= a.size-at }
