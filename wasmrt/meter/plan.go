package meter

import (
	"math"

	"dhow.dev/dhow/wasmrt/internal/wasmbin"
)

// editKind is what an edit does to a body.
type editKind byte

const (
	// editCharge pays for the instructions of a basic block, and of those
	// that surely follow it.
	editCharge editKind = iota
	// editHead is the same at the head of a loop, where it is checked
	// whether there is fuel left.
	editHead
	// editLoop stands before a loop.
	editLoop
	// editCall gives a call its new index.
	editCall
	// editReplace puts a call of a helper in an instruction's place.
	editReplace
	// editDepth says what is left of the stack, before a call.
	editDepth
	// editTailDepth does the same for a call in this function's place.
	editTailDepth
)

// edit is a change of a body: what is put in at a place, instead of skip bytes.
type edit struct {
	at, skip int
	cost     uint64
	until    int    // editLoop: where a loop without calls ends; 0 for others
	index    uint32 // editCall, editReplace: of the function
	kind     editKind
	params   bool // editHead: the loop takes parameters
}

// frame is an open block, loop or if while a body is read; the body itself is
// the first.
type frame struct {
	op     wasmbin.Op
	live   bool // it can be reached
	branch bool // something branches to its end
	calls  bool // there are calls in it
	isElse bool
	params int
	// target is the outermost frame that is branched to from within this one.
	target int
	// outer pays for what comes before this frame; cur did at the end of the
	// first arm of an if. first is the payment of each arm.
	outer, thenCur int
	arms           [2]int
	loop           int // edit of the loop
}

// dead stands for the payment of code that cannot be reached.
const dead = -1

// planner finds the edits of one body after the other.
//
// Each basic block has a payment: an edit that charges for it before it is run.
// Blocks that are run just as often share one. After a block or an if that
// nothing branches out of, what follows is run as often as what went before, so
// it is paid for there.
type planner struct {
	m      *module
	bounds *bounds
	edits  []edit
	frames []frame
	cur    int // payment of the code that is read, or dead
	locals uint32
	calls  bool // there are calls in the body
	tails  bool // it has calls in its own place
	loops  bool
	depth  bool   // there are calls of functions that count the stack
	total  uint64 // cost of all instructions
	r      wasmbin.Reader
}

// plan finds the edits of a function's body.
func (p *planner) plan(n int) error {
	f := &p.m.own[n]
	p.r = wasmbin.Reader{B: p.m.bodies[n], At: f.start}
	p.edits = append(p.edits[:0], edit{at: f.start, kind: editCharge})
	p.frames = append(p.frames[:0], frame{op: wasmbin.OpBlock, live: true, outer: dead, target: math.MaxInt})
	p.cur, p.locals, p.total = 0, f.locals, 0
	p.calls, p.tails, p.loops, p.depth = false, false, false, false
	var i wasmbin.Instr
	for len(p.frames) > 0 && p.r.Err() == nil {
		p.r.Instr(&i)
		p.instr(&i)
	}
	if p.r.Err() == nil && p.r.More() {
		p.r.Failf("a body goes on after its end")
	}
	return p.r.Err()
}

func (p *planner) instr(i *wasmbin.Instr) {
	switch i.Op {
	case wasmbin.OpNop, wasmbin.OpBlock, wasmbin.OpLoop, wasmbin.OpElse, wasmbin.OpEnd:
	default:
		p.pay(1)
	}
	switch i.Op {
	case wasmbin.OpBlock, wasmbin.OpIf, wasmbin.OpLoop:
		p.open(i)
	case wasmbin.OpElse:
		p.otherwise(i)
	case wasmbin.OpEnd:
		p.end(i)
	case wasmbin.OpBr:
		p.branch(i.X)
		p.cur = dead
	case wasmbin.OpBrIf:
		p.branch(i.X)
		p.payment(i.End)
	case wasmbin.OpBrTable:
		p.branches(i)
		p.cur = dead
	case wasmbin.OpReturn:
		p.branch(uint32(len(p.frames) - 1)) //nolint:gosec // a body is below 4 GiB
		p.cur = dead
	case wasmbin.OpUnreachable:
		p.cur = dead
	case wasmbin.OpLocalGet, wasmbin.OpLocalSet, wasmbin.OpLocalTee:
		p.within(i.X, p.locals, "local")
	case wasmbin.OpGlobalGet, wasmbin.OpGlobalSet:
		p.within(i.X, p.m.globals, "global")
	default:
		p.call(i)
	}
}

func (p *planner) call(i *wasmbin.Instr) {
	switch i.Op {
	case wasmbin.OpRefFunc:
		p.renumber(i)
		return
	case wasmbin.OpCall, wasmbin.OpReturnCall:
		if n := uint32(len(p.m.imports)); i.X >= n { //nolint:gosec // indices are of 32 bits
			p.countDepth(i, i.X-n)
		}
		p.renumber(i)
	case wasmbin.OpCallIndirect, wasmbin.OpReturnCallIndirect:
		p.countDepth(i, p.m.typeNode(i.X))
	case wasmbin.OpMemoryFill, wasmbin.OpMemoryCopy, wasmbin.OpMemoryInit,
		wasmbin.OpTableFill, wasmbin.OpTableCopy, wasmbin.OpTableInit, wasmbin.OpTableGrow:
		p.edits = append(p.edits, edit{kind: editReplace, at: i.Start, skip: i.End - i.Start, index: p.m.bulks[bulkOf(i)]})
	default:
		return
	}
	p.calls = true
	p.frames[len(p.frames)-1].calls = true
	if i.Op == wasmbin.OpReturnCall || i.Op == wasmbin.OpReturnCallIndirect {
		p.tails = true
		p.branch(uint32(len(p.frames) - 1)) //nolint:gosec // a body is below 4 GiB
		p.cur = dead
	}
}

// renumber gives the function that an instruction names its new index.
func (p *planner) renumber(i *wasmbin.Instr) {
	p.edits = append(p.edits, edit{kind: editCall, at: i.Imm, skip: i.End - i.Imm, index: p.m.shift(i.X)})
}

// countDepth says what is left of the stack, if who is called wants to know.
func (p *planner) countDepth(i *wasmbin.Instr, callee uint32) {
	if !p.bounds.tracked[callee] {
		return
	}
	p.depth = true
	e := edit{kind: editDepth, at: i.Start}
	if i.Op == wasmbin.OpReturnCall || i.Op == wasmbin.OpReturnCallIndirect {
		e.kind = editTailDepth
	}
	p.edits = append(p.edits, e)
}

// within checks an index.
func (p *planner) within(index, count uint32, what string) {
	if index >= count {
		p.r.Failf("there is no %s %d", what, index)
	}
}

// pay adds to what the code that is read costs.
func (p *planner) pay(cost uint64) {
	p.total += cost
	if p.cur != dead {
		p.edits[p.cur].cost += cost
	}
}

// payment begins a payment for the code from a place on, if it can be reached.
func (p *planner) payment(at int) {
	if p.cur != dead {
		p.begin(edit{kind: editCharge, at: at})
	}
}

func (p *planner) begin(e edit) {
	p.cur = len(p.edits)
	p.edits = append(p.edits, e)
}

func (p *planner) open(i *wasmbin.Instr) {
	params, _, ok := i.BlockType(p.m.types)
	if !ok {
		p.r.Failf("there is no type %d", i.Block)
	}
	f := frame{op: i.Op, live: p.cur != dead, outer: p.cur, params: params, target: math.MaxInt}
	switch i.Op {
	case wasmbin.OpIf:
		p.payment(i.End)
		f.arms[0] = p.cur
	case wasmbin.OpLoop:
		p.loops = true
		if f.live {
			f.loop = len(p.edits)
			p.edits = append(p.edits, edit{kind: editLoop, at: i.Start})
			p.begin(edit{kind: editHead, at: i.End, params: params > 0})
		}
	default:
	}
	p.frames = append(p.frames, f)
}

func (p *planner) otherwise(i *wasmbin.Instr) {
	f := &p.frames[len(p.frames)-1]
	if f.op != wasmbin.OpIf || f.isElse {
		p.r.Failf("an else stands outside of an if")
		return
	}
	f.isElse, f.thenCur = true, p.cur
	p.cur = f.outer
	p.payment(i.End)
	f.arms[1] = p.cur
}

// branch notes a branch to a label.
func (p *planner) branch(label uint32) {
	top := len(p.frames) - 1
	if uint64(label) > uint64(top) {
		p.r.Failf("there is no label %d", label)
		return
	}
	if p.cur == dead {
		return
	}
	to := top - int(label)
	p.frames[to].branch = true
	p.frames[top].target = min(p.frames[top].target, to)
}

func (p *planner) branches(i *wasmbin.Instr) {
	r := wasmbin.Reader{B: p.r.B, At: i.Imm}
	for n := uint64(r.U32()) + 1; n > 0 && p.r.Err() == nil; n-- {
		p.branch(r.U32())
	}
}

func (p *planner) end(i *wasmbin.Instr) {
	top := len(p.frames) - 1
	f := p.frames[top]
	p.frames = p.frames[:top]
	if top == 0 {
		return
	}
	outer := &p.frames[top-1]
	outer.target = min(outer.target, f.target)
	outer.calls = outer.calls || f.calls
	if f.op == wasmbin.OpLoop && f.live && !f.calls {
		p.edits[f.loop].until = i.End
	}
	p.cur = p.after(&f, f.target < top, i.End)
}

// after is the payment of what follows a frame that ends.
func (p *planner) after(f *frame, escapes bool, at int) int {
	ends := p.cur != dead // the last arm comes to its end
	if f.op == wasmbin.OpIf && !f.isElse {
		ends = f.live
	}
	thenEnds := f.isElse && f.thenCur != dead
	labelled := f.branch && f.op != wasmbin.OpLoop
	switch {
	case !f.live || !ends && !thenEnds && !labelled:
		return dead
	case !escapes:
		p.share(f, ends, thenEnds)
		return f.outer
	case labelled, f.op == wasmbin.OpIf && !f.isElse, ends && thenEnds:
	case thenEnds:
		return f.thenCur
	default:
		return p.cur
	}
	p.begin(edit{kind: editCharge, at: at})
	return p.cur
}

// share lets what goes before an if pay for what both of its arms cost. An arm
// that ends with a trap costs whatever the other does.
func (p *planner) share(f *frame, elseEnds, thenEnds bool) {
	if f.op != wasmbin.OpIf || !f.isElse {
		return
	}
	a, b := &p.edits[f.arms[0]], &p.edits[f.arms[1]]
	outer := &p.edits[f.outer]
	switch common := min(a.cost, b.cost); {
	case !f.branch && !thenEnds:
		outer.cost, b.cost = outer.cost+b.cost, 0
	case !f.branch && !elseEnds:
		outer.cost, a.cost = outer.cost+a.cost, 0
	default:
		outer.cost, a.cost, b.cost = outer.cost+common, a.cost-common, b.cost-common
	}
}
