package schedule

import "dhow.dev/dhow/control/plan/heap"

// Counts tells how many instances of a workload a node has, by node.
type Counts map[*Node]int

// Batch places several instances of one workload, one after the other. What is
// placed must be taken with Node.Take before the next.
type Batch struct {
	c      *Cluster
	s      *Shape
	counts Counts
	hint   *Node
	queue  heap.Heap[rank]
	last   bool // the queue's first was placed on and is to be ranked anew
}

// Batch starts placing. The counts may change as instances are placed.
func (c *Cluster) Batch(s *Shape, counts Counts) *Batch {
	return &Batch{c: c, s: s, counts: counts}
}

// Place finds a node, and tells false when there is none. A node to avoid is
// only taken when there is no other.
func (b *Batch) Place(avoid string) (*Node, bool) {
	if b.s.failed == b.c.version {
		return nil, false
	}
	find := b.pack
	if b.s.Spread {
		find = b.spread
	}
	n := find(avoid)
	if n == nil && avoid != "" {
		n = find("")
	}
	if n == nil {
		b.s.failed = b.c.version
		return nil, false
	}
	return n, true
}

// candidates is how many nodes are compared for one placement.
const candidates = 8

// pack fills the fullest of the first few nodes that fit.
func (b *Batch) pack(avoid string) *Node {
	c, s := b.c, b.s
	if h := b.hint; h != nil && h.name != avoid && s.maySoft(&c.tree.cells[c.tree.size+h.pos]) && c.fits(h, s) {
		return h
	}
	var best *Node
	var score int64
	seen := 0
	c.tree.first(1, s.maySoft, func(pos int) bool {
		n := c.nodes[pos]
		if n.name == avoid || !c.fits(n, s) {
			return true
		}
		if v := c.tree.cells[c.tree.size+pos].empty; best == nil || v < score {
			best, score = n, v
		}
		seen++
		return seen < candidates
	})
	if best == nil {
		// Only nodes that are full of instances which asked for nothing are
		// left: spread what comes over them.
		if pos := c.tree.emptiest(s.mayHard, func(pos int) bool {
			return c.nodes[pos].name != avoid && c.fits(c.nodes[pos], s)
		}); pos >= 0 {
			return c.nodes[pos]
		}
		return nil
	}
	b.hint = best
	return best
}

// spread takes the node with the fewest of the workload's instances, then the
// emptiest.
func (b *Batch) spread(avoid string) *Node {
	c, s := b.c, b.s
	if b.queue == nil {
		// As long as most nodes have none, one of those is the best.
		if len(b.counts)*4 < len(c.names) {
			if pos := c.tree.emptiest(s.mayHard, func(pos int) bool {
				n := c.nodes[pos]
				return n.name != avoid && b.counts[n] == 0 && c.fits(n, s)
			}); pos >= 0 {
				return c.nodes[pos]
			}
		}
		b.rank()
	}
	if b.last {
		b.queue[0].rank(b)
		b.queue.Down(0)
		b.last = false
	}
	var aside *rank
	var found *Node
	for len(b.queue) > 0 && found == nil {
		top := b.queue[0]
		switch {
		case !c.fits(top.node, s):
			b.queue.Pop()
		case top.node.name == avoid:
			aside = &top
			b.queue.Pop()
		default:
			found = top.node
			b.last = true
		}
	}
	if aside != nil {
		if b.last {
			b.queue[0].count++ // what it will be, so that the order holds
			b.queue.Down(0)
			b.last = false
		}
		b.queue.Push(*aside)
	}
	return found
}

// rank orders all nodes that fit.
func (b *Batch) rank() {
	b.queue = make(heap.Heap[rank], 0, len(b.c.names))
	for _, n := range b.c.nodes {
		if n != nil && b.c.fits(n, b.s) {
			r := rank{node: n}
			r.rank(b)
			b.queue = append(b.queue, r)
		}
	}
	b.queue.Init()
}

type rank struct {
	node  *Node
	count int
	empty int64
}

func (r *rank) rank(b *Batch) {
	r.count = b.counts[r.node]
	r.empty = b.c.tree.cells[b.c.tree.size+r.node.pos].empty
}

// Before orders the better node first.
func (r rank) Before(o rank) bool {
	switch {
	case r.count != o.count:
		return r.count < o.count
	case r.empty != o.empty:
		return r.empty > o.empty
	}
	return r.node.pos < o.node.pos
}
