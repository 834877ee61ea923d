package meter

// The native stack is bounded by counting what is left of it, in bytes by an
// estimate. Counting costs, so only functions take part through which a call
// may come back to where it began, and those that call them: the others add
// little, and know how much.
//
// A function reads what is left from a global as it begins, keeps what is left
// below its own frame in a local, and puts that into the global before each
// call of another that takes part. So nothing needs to be restored after a
// call, and a trap leaves nothing to repair.

// untracked is how much stack calls may take that are not counted, in bytes.
const untracked = 64 << 10

// bounds tells which nodes of the call graph take part: functions, and after
// them types, which stand for the functions that can be called by them.
type bounds struct {
	tracked []bool
	// checked are the tracked functions that see whether the stack is full:
	// one on each cycle is enough, and here it is all of them.
	checked []bool
}

// search is Tarjan's search for strongly connected components, without
// recursion, as call graphs can be deep. It visits callees before callers.
type search struct {
	m       *module
	targets [][]uint32 // of type nodes
	index   []uint32   // of nodes in the order of their discovery, from 1
	low     []uint32
	onStack []bool
	stack   []uint32 // nodes whose component is not known yet
	path    []step   // from the root to the node that is looked at
	found   uint32
	weight  []uint64 // of untracked nodes: stack that a call may take
	bounds
}

type step struct {
	node uint32
	next int // callee to look at
}

func (m *module) findBounds() bounds {
	n := len(m.functions) + len(m.types)
	s := search{
		m: m, targets: m.indirectTargets(),
		index: make([]uint32, n), low: make([]uint32, n), onStack: make([]bool, n), weight: make([]uint64, n),
		bounds: bounds{tracked: make([]bool, n), checked: make([]bool, n)},
	}
	for f := range m.functions {
		if s.index[f] == 0 {
			s.from(uint32(f)) //nolint:gosec // indices are of 32 bits
		}
	}
	return s.bounds
}

// indirectTargets are for each type the functions that may be called by it.
func (m *module) indirectTargets() [][]uint32 {
	targets := make([][]uint32, len(m.types))
	for f, t := range m.functions {
		if m.escapes[len(m.imports)+f] {
			t = m.canonical[t]
			targets[t] = append(targets[t], uint32(f)) //nolint:gosec // indices are of 32 bits
		}
	}
	return targets
}

func (s *search) callees(node uint32) []uint32 {
	if n := uint32(len(s.m.functions)); node >= n { //nolint:gosec // indices are of 32 bits
		return s.targets[node-n]
	}
	return s.m.own[node].calls
}

func (s *search) from(root uint32) {
	s.discover(root)
	for len(s.path) > 0 {
		top := &s.path[len(s.path)-1]
		if callees := s.callees(top.node); top.next < len(callees) {
			callee := callees[top.next]
			top.next++
			if s.index[callee] == 0 {
				s.discover(callee)
			} else if s.onStack[callee] {
				s.low[top.node] = min(s.low[top.node], s.index[callee])
			}
			continue
		}
		node := top.node
		s.path = s.path[:len(s.path)-1]
		if len(s.path) > 0 {
			caller := s.path[len(s.path)-1].node
			s.low[caller] = min(s.low[caller], s.low[node])
		}
		if s.low[node] == s.index[node] {
			s.component(node)
		}
	}
}

func (s *search) discover(node uint32) {
	s.found++
	s.index[node], s.low[node], s.onStack[node] = s.found, s.found, true
	s.stack = append(s.stack, node)
	s.path = append(s.path, step{node: node})
}

// component takes a component off the stack, whose last member is root.
func (s *search) component(root uint32) {
	at := len(s.stack) - 1
	for s.stack[at] != root {
		at--
	}
	members := s.stack[at:]
	s.stack = s.stack[:at]
	cyclic := len(members) > 1
	for _, node := range members {
		s.onStack[node] = false
		for _, callee := range s.callees(node) {
			cyclic = cyclic || callee == node
		}
	}
	for _, node := range members {
		s.settle(node, cyclic)
	}
}

// settle decides on a node whose callees are decided on, but for those that
// are on a cycle with it.
func (s *search) settle(node uint32, cyclic bool) {
	var deepest, frame uint64
	if node < uint32(len(s.m.functions)) { //nolint:gosec // indices are of 32 bits
		frame = s.m.own[node].frame
	}
	for _, callee := range s.callees(node) {
		s.tracked[node] = s.tracked[node] || s.tracked[callee]
		deepest = max(deepest, s.weight[callee])
	}
	if heavy := frame+deepest > untracked; cyclic || heavy {
		s.tracked[node], s.checked[node] = true, true
	}
	if !s.tracked[node] {
		s.weight[node] = frame + deepest
	}
}
