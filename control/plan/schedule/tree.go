package schedule

import "math"

// cell holds, for a node or for all nodes of a subtree, the most there is of
// each: free for the comparison (soft), free in truth (hard), emptiness.
type cell struct {
	softCPU, softMemory int64
	hardCPU, hardMemory int64
	empty               int64
}

// none is less than any node has, also one that is overcommitted.
const none = math.MinInt64

var closed = cell{none, none, none, none, none} //nolint:gochecknoglobals // a constant; Go has none of this type

func (a cell) most(b cell) cell {
	return cell{
		max(a.softCPU, b.softCPU), max(a.softMemory, b.softMemory),
		max(a.hardCPU, b.hardCPU), max(a.hardMemory, b.hardMemory),
		max(a.empty, b.empty),
	}
}

// tree is a complete binary tree over node positions: leaf i is cells[size+i].
type tree struct {
	size  int
	cells []cell
}

// grow makes room for n leaves.
func (t *tree) grow(n int) {
	if n <= t.size {
		return
	}
	old := *t
	size := max(1, old.size)
	for size < n {
		size *= 2
	}
	t.size, t.cells = size, make([]cell, 2*size)
	for i := range t.cells {
		t.cells[i] = closed
	}
	copy(t.cells[size:], old.cells[min(old.size, len(old.cells)):])
	for i := size - 1; i > 0; i-- {
		t.cells[i] = t.cells[2*i].most(t.cells[2*i+1])
	}
}

func (t *tree) set(pos int, v cell) {
	i := t.size + pos
	if t.cells[i] == v {
		return
	}
	t.cells[i] = v
	for i /= 2; i > 0; i /= 2 {
		m := t.cells[2*i].most(t.cells[2*i+1])
		if t.cells[i] == m {
			return
		}
		t.cells[i] = m
	}
}

// first calls visit with the leaves that may fit, from left to right, until it
// returns false.
func (t *tree) first(i int, may func(*cell) bool, visit func(pos int) bool) bool {
	if i >= len(t.cells) || !may(&t.cells[i]) {
		return true
	}
	if i >= t.size {
		return visit(i - t.size)
	}
	return t.first(2*i, may, visit) && t.first(2*i+1, may, visit)
}

// emptiest finds the emptiest leaf that may fit and is taken; -1 if none.
func (t *tree) emptiest(may func(*cell) bool, take func(pos int) bool) int {
	best, found := int64(none), -1
	var walk func(i int)
	walk = func(i int) {
		c := &t.cells[i]
		if c.empty <= best || !may(c) {
			return
		}
		if i >= t.size {
			if take(i - t.size) {
				best, found = c.empty, i-t.size
			}
			return
		}
		l, r := 2*i, 2*i+1
		if t.cells[r].empty > t.cells[l].empty {
			l, r = r, l
		}
		walk(l)
		walk(r)
	}
	if t.size > 0 {
		walk(1)
	}
	return found
}
