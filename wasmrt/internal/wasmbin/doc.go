// Package wasmbin reads and writes the binary format of core WebAssembly
// modules: numbers, sections, their entries, and a walk over instructions. It
// checks that what it reads is well formed, never that it validates, and never
// panics. Nothing is copied that need not be. Only the format belongs here: no
// engine, no policy.
package wasmbin

// Section ids, in the order of the file but for DataCount and Tag.
const (
	Custom    = 0
	Type      = 1
	Import    = 2
	Function  = 3
	Table     = 4
	Memory    = 5
	Global    = 6
	Export    = 7
	Start     = 8
	Element   = 9
	Code      = 10
	Data      = 11
	DataCount = 12 // between Element and Code
	Tag       = 13 // between Memory and Global
)

// Kinds of imports and exports.
const (
	ExternFunc   = 0
	ExternTable  = 1
	ExternMemory = 2
	ExternGlobal = 3
	ExternTag    = 4
)

// Types of values.
const (
	I32       = 0x7f
	I64       = 0x7e
	F32       = 0x7d
	F64       = 0x7c
	V128      = 0x7b
	Funcref   = 0x70
	Externref = 0x6f
	// NoValue is the type of a block without parameters and results.
	NoValue = 0x40
	// FuncType begins a function's type.
	FuncType = 0x60
)

// Header begins every core module.
const Header = "\x00asm\x01\x00\x00\x00"
