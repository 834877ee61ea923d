package wasmbin

// Instr is an instruction. Start and End delimit it in the reader's bytes, and
// what follows the opcode begins at Imm.
type Instr struct {
	Start, Imm, End int
	// X and Y are the first numbers that follow: indices or labels. For
	// br_table X is how many labels there are without the default one.
	X, Y uint32
	// Block is the type of a block: an index, or below zero a value's type;
	// see BlockType.
	Block int64
	Op    Op
}

// Instr reads an instruction into i.
func (r *Reader) Instr(i *Instr) {
	i.Start = r.At
	b := r.Byte()
	i.Op, i.Imm = Op(b), r.At
	f := forms[b]
	switch f {
	case formNone:
	case formIndex:
		i.X = r.U32()
	case formBlock:
		r.blockType(i)
	case formMemArg:
		r.memArg()
	case formI32:
		r.S32()
	case formI64:
		r.S64()
	case formPrefix:
		sub := r.U32()
		f = formFC(sub)
		if b == 0xfd {
			f = formFD(sub)
		}
		i.Op, i.Imm = Op(b)<<8|Op(sub&0xff), r.At //nolint:gosec // larger ones have no form
		if f == formUnknown {
			r.unsupported(b == 0xfd, "relaxed vector instructions", "the instruction %#x %d is unknown", b, sub)
		}
		r.immediates(i, f)
	default:
		r.immediates(i, f)
	}
	i.End = r.At
}

// immediates reads what follows an opcode, for the rarer forms.
func (r *Reader) immediates(i *Instr, f form) {
	switch f {
	case formNone, formPrefix:
	case formIndex:
		i.X = r.U32()
	case formIndices:
		i.X, i.Y = r.U32(), r.U32()
	case formTable:
		i.X = r.Count()
		for n := uint64(i.X) + 1; n > 0 && r.err == nil; n-- {
			r.U32()
		}
	case formTypes:
		for n := r.Count(); n > 0 && r.err == nil; n-- {
			r.ValueType()
		}
	case formRefType:
		if t := r.Byte(); t != Funcref && t != Externref {
			r.unsupported(true, "typed function references", "")
		}
	case formF32:
		r.Bytes(4)
	case formF64:
		r.Bytes(8)
	case formMemArg:
		r.memArg()
	case formZero:
		r.zero()
	case formZeros:
		r.zero()
		r.zero()
	case formIndexZero:
		i.X = r.U32()
		r.zero()
	default:
		r.vector(i, f)
	}
}

// vector reads what only follows vector instructions.
func (r *Reader) vector(i *Instr, f form) {
	switch f {
	case formV128, formShuffle:
		r.Bytes(16)
	case formMemArgLane:
		r.memArg()
		r.Byte()
	case formLane:
		r.Byte()
	default:
		r.refuse(i, f)
	}
}

// refuse names what an instruction belongs to that is not read.
func (r *Reader) refuse(i *Instr, f form) {
	switch f {
	case formExceptions:
		r.unsupported(true, "exception handling", "")
	case formTypedRefs:
		r.unsupported(true, "typed function references", "")
	case formGC:
		r.unsupported(true, "garbage collection", "")
	case formAtomics:
		r.unsupported(true, "threads", "")
	default:
		r.Failf("the instruction %#x is unknown", byte(i.Op))
	}
}

func (r *Reader) blockType(i *Instr) {
	i.Block = r.S33()
	if i.Block >= 0 {
		return
	}
	switch i.Block + 0x80 {
	case NoValue, I32, I64, F32, F64, V128, Funcref, Externref:
	default:
		r.unsupported(true, "typed references", "")
	}
}

func (r *Reader) memArg() {
	const anotherMemory = 1 << 6
	if align := r.U32(); align >= anotherMemory {
		r.unsupported(align < 2*anotherMemory, "several memories", "an alignment is 2 to the power of %d", align)
	}
	r.U64()
}

func (r *Reader) zero() {
	if r.Byte() != 0 {
		r.unsupported(true, "several memories", "")
	}
}

// BlockType tells what a block takes and gives. It is false for a type that
// there is not.
func (i *Instr) BlockType(types []Signature) (params, results int, ok bool) {
	switch {
	case i.Block >= 0:
		if i.Block >= int64(len(types)) {
			return 0, 0, false
		}
		t := types[i.Block]
		return len(t.Params), len(t.Results), true
	case i.Block == NoValue-0x80:
		return 0, 0, true
	}
	return 0, 1, true
}

// SkipExpr reads a constant expression up to its end, and hands each
// instruction to visit.
func (r *Reader) SkipExpr(visit func(*Instr)) {
	var i Instr
	for r.err == nil {
		r.Instr(&i)
		if r.err != nil || i.Op == OpEnd {
			return
		}
		visit(&i)
	}
}
