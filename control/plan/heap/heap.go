// Package heap is a priority queue without interface values. It is pure.
package heap

// Item can be compared.
type Item[T any] interface {
	// Before tells whether it is to come out before the other.
	Before(other T) bool
}

// Heap gives out the first of its items first: h[0], unless it is empty.
type Heap[T Item[T]] []T

// Init orders items in arbitrary order.
func (h Heap[T]) Init() {
	for i := len(h)/2 - 1; i >= 0; i-- {
		h.Down(i)
	}
}

// Push adds an item.
func (h *Heap[T]) Push(t T) {
	*h = append(*h, t)
	s := *h
	for i := len(s) - 1; i > 0; {
		up := (i - 1) / 2
		if !s[i].Before(s[up]) {
			return
		}
		s[i], s[up] = s[up], s[i]
		i = up
	}
}

// Pop takes the first item out. The heap must not be empty.
func (h *Heap[T]) Pop() T {
	s := *h
	k := len(s) - 1
	top := s[0]
	s[0] = s[k]
	var zero T
	s[k] = zero
	*h = s[:k]
	h.Down(0)
	return top
}

// Down puts item i, which may have come to be later, where it belongs.
func (h Heap[T]) Down(i int) {
	for {
		m := 2*i + 1
		if m >= len(h) {
			return
		}
		if m+1 < len(h) && h[m+1].Before(h[m]) {
			m++
		}
		if !h[m].Before(h[i]) {
			return
		}
		h[i], h[m] = h[m], h[i]
		i = m
	}
}
