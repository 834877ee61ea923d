package wasmbin

// Op is an instruction's opcode; prefixed ones are prefix<<8 | second number.
type Op uint16

// Instructions that readers of the format act upon.
const (
	OpUnreachable        Op = 0x00
	OpNop                Op = 0x01
	OpBlock              Op = 0x02
	OpLoop               Op = 0x03
	OpIf                 Op = 0x04
	OpElse               Op = 0x05
	OpEnd                Op = 0x0b
	OpBr                 Op = 0x0c
	OpBrIf               Op = 0x0d
	OpBrTable            Op = 0x0e
	OpReturn             Op = 0x0f
	OpCall               Op = 0x10
	OpCallIndirect       Op = 0x11
	OpReturnCall         Op = 0x12
	OpReturnCallIndirect Op = 0x13
	OpDrop               Op = 0x1a
	OpSelectTyped        Op = 0x1c
	OpLocalGet           Op = 0x20
	OpLocalSet           Op = 0x21
	OpLocalTee           Op = 0x22
	OpGlobalGet          Op = 0x23
	OpGlobalSet          Op = 0x24
	OpTableGet           Op = 0x25
	OpTableSet           Op = 0x26
	OpMemorySize         Op = 0x3f
	OpMemoryGrow         Op = 0x40
	OpI32Const           Op = 0x41
	OpI64Const           Op = 0x42
	OpF32Const           Op = 0x43
	OpF64Const           Op = 0x44
	OpI32Eqz             Op = 0x45
	OpI32GtU             Op = 0x4b
	OpI32LeU             Op = 0x4d
	OpI64LtS             Op = 0x53
	OpI64GtU             Op = 0x56
	OpI64GeS             Op = 0x59
	OpI32Add             Op = 0x6a
	OpI32Sub             Op = 0x6b
	OpI32Mul             Op = 0x6c
	OpI64Add             Op = 0x7c
	OpI64Sub             Op = 0x7d
	OpI64Mul             Op = 0x7e
	OpI64Shl             Op = 0x86
	OpI64ExtendI32U      Op = 0xad
	OpRefNull            Op = 0xd0
	OpRefIsNull          Op = 0xd1
	OpRefFunc            Op = 0xd2
	OpMemoryInit         Op = 0xfc08
	OpDataDrop           Op = 0xfc09
	OpMemoryCopy         Op = 0xfc0a
	OpMemoryFill         Op = 0xfc0b
	OpTableInit          Op = 0xfc0c
	OpElemDrop           Op = 0xfc0d
	OpTableCopy          Op = 0xfc0e
	OpTableGrow          Op = 0xfc0f
	OpTableSize          Op = 0xfc10
	OpTableFill          Op = 0xfc11
	OpV128Const          Op = 0xfd0c
)

// form is what follows an opcode.
type form byte

const (
	formUnknown form = iota
	formNone
	formBlock   // a block's type
	formIndex   // one index
	formIndices // two
	formTable   // labels of br_table
	formTypes   // of select
	formRefType
	formI32
	formI64
	formF32
	formF64
	formV128
	formMemArg
	formMemArgLane
	formLane
	formZero  // one byte, the only memory
	formZeros // two
	formIndexZero
	formShuffle
	formExceptions
	formTypedRefs
	formGC
	formAtomics
	formPrefix
)

// forms of the opcodes of one byte.
//
//nolint:gochecknoglobals // a table, never written
var forms = func() (t [256]form) {
	set := func(f form, from, to int) {
		for i := from; i <= to; i++ {
			t[i] = f
		}
	}
	set(formNone, 0x00, 0x01)
	set(formBlock, 0x02, 0x04)
	set(formNone, 0x05, 0x05)
	set(formExceptions, 0x06, 0x0a)
	set(formNone, 0x0b, 0x0b)
	set(formIndex, 0x0c, 0x0d)
	set(formTable, 0x0e, 0x0e)
	set(formNone, 0x0f, 0x0f)
	set(formIndex, 0x10, 0x10)
	set(formIndices, 0x11, 0x11)
	set(formIndex, 0x12, 0x12)
	set(formIndices, 0x13, 0x13)
	set(formTypedRefs, 0x14, 0x15)
	set(formExceptions, 0x18, 0x19)
	set(formNone, 0x1a, 0x1b)
	set(formTypes, 0x1c, 0x1c)
	set(formExceptions, 0x1f, 0x1f)
	set(formIndex, 0x20, 0x26)
	set(formMemArg, 0x28, 0x3e)
	set(formZero, 0x3f, 0x40)
	t[0x41], t[0x42], t[0x43], t[0x44] = formI32, formI64, formF32, formF64
	set(formNone, 0x45, 0xc4)
	t[0xd0], t[0xd1], t[0xd2] = formRefType, formNone, formIndex
	t[0xd3] = formGC
	set(formTypedRefs, 0xd4, 0xd6)
	t[0xfb], t[0xfc], t[0xfd], t[0xfe] = formGC, formPrefix, formPrefix, formAtomics
	return t
}()

// formFC is of the opcodes behind 0xfc.
func formFC(sub uint32) form {
	switch {
	case sub <= 7:
		return formNone
	case sub == 8:
		return formIndexZero
	case sub == 10:
		return formZeros
	case sub == 11:
		return formZero
	case sub == 12 || sub == 14:
		return formIndices
	case sub == 9 || sub >= 13 && sub <= 17:
		return formIndex
	}
	return formUnknown
}

// formFD is of the opcodes behind 0xfd: vectors.
func formFD(sub uint32) form {
	switch {
	case sub <= 11 || sub == 92 || sub == 93:
		return formMemArg
	case sub == 12:
		return formV128
	case sub == 13:
		return formShuffle
	case sub >= 21 && sub <= 34:
		return formLane
	case sub >= 84 && sub <= 91:
		return formMemArgLane
	case sub <= 255:
		return formNone
	}
	return formUnknown
}
