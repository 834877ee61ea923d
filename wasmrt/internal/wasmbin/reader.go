package wasmbin

import (
	"errors"
	"fmt"
)

// Reader reads the binary format from B, beginning at At. The first error
// sticks: what is read after it is zero.
type Reader struct {
	B   []byte
	At  int
	err error
}

// errEnd is what the reader meets most often in broken modules.
var errEnd = errors.New("it ends early")

// Err is the first error.
func (r *Reader) Err() error { return r.err }

// More tells whether there is something left to read.
func (r *Reader) More() bool { return r.err == nil && r.At < len(r.B) }

// Left is how many bytes are left; 0 after an error.
func (r *Reader) Left() int {
	if r.err != nil {
		return 0
	}
	return len(r.B) - r.At
}

// Failf makes an error the reader's, unless it has one.
func (r *Reader) Failf(format string, args ...any) {
	if r.err == nil {
		r.err = fmt.Errorf(format, args...)
	}
}

// Fail makes err the reader's error, unless it has one.
func (r *Reader) Fail(err error) {
	if r.err == nil {
		r.err = err
	}
}

// Byte reads a byte.
func (r *Reader) Byte() byte {
	if r.err != nil || r.At >= len(r.B) {
		r.Fail(errEnd)
		return 0
	}
	r.At++
	return r.B[r.At-1]
}

// Bytes reads n bytes, which are a part of B.
func (r *Reader) Bytes(n uint32) []byte {
	if uint64(n) > uint64(r.Left()) {
		r.Fail(errEnd)
		return nil
	}
	r.At += int(n)
	return r.B[r.At-int(n) : r.At : r.At]
}

// U32 reads an unsigned number of at most 32 bits.
func (r *Reader) U32() uint32 {
	if r.err == nil && r.At < len(r.B) && r.B[r.At] < 0x80 {
		r.At++
		return uint32(r.B[r.At-1])
	}
	v := r.unsigned(32)
	return uint32(v) //nolint:gosec // unsigned checks the range
}

// U64 reads an unsigned number of at most 64 bits.
func (r *Reader) U64() uint64 { return r.unsigned(64) }

func (r *Reader) unsigned(bits int) uint64 {
	var v uint64
	for shift := 0; shift < bits; shift += 7 {
		b := r.Byte()
		if shift+7 > bits && b>>(bits-shift) != 0 {
			break
		}
		v |= uint64(b&0x7f) << shift
		if b < 0x80 {
			return v
		}
	}
	r.Failf("a number is too long")
	return 0
}

// S32 reads a signed number of at most 32 bits.
func (r *Reader) S32() int32 {
	return int32(r.signed(32)) //nolint:gosec // signed checks the range
}

// S33 reads a signed number of at most 33 bits: the type of a block.
func (r *Reader) S33() int64 { return r.signed(33) }

// S64 reads a signed number of at most 64 bits.
func (r *Reader) S64() int64 { return r.signed(64) }

func (r *Reader) signed(bits int) int64 {
	var v int64
	for shift := 0; shift < bits; shift += 7 {
		b := r.Byte()
		v |= int64(b&0x7f) << shift
		if b >= 0x80 {
			continue
		}
		if b&0x40 != 0 && shift+7 < 64 {
			v |= -1 << (shift + 7)
		}
		if left := bits - shift; left < 7 {
			// The bits past the number's must all be as its sign.
			if top := int8(b<<1) >> left; top != 0 && top != -1 { //nolint:gosec // the sign is meant
				break
			}
		}
		return v
	}
	r.Failf("a number is too long")
	return 0
}

// Count reads how many entries follow, each of at least one byte.
func (r *Reader) Count() uint32 {
	n := r.U32()
	if uint64(n) > uint64(r.Left()) {
		r.Fail(errEnd)
		return 0
	}
	return n
}

// Name reads a name's bytes, which are a part of B. They may be no UTF-8.
func (r *Reader) Name() []byte { return r.Bytes(r.U32()) }

// Limits are of a memory (in pages) or a table (in elements).
type Limits struct {
	Min, Max uint64
	HasMax   bool
	Shared   bool
	Wide     bool // addresses are 64 bits
}

// Limits reads limits.
func (r *Reader) Limits() Limits {
	flags := r.Byte()
	if flags > 7 {
		r.Failf("limits have the unknown flags %#x", flags)
	}
	l := Limits{HasMax: flags&1 != 0, Shared: flags&2 != 0, Wide: flags&4 != 0}
	l.Min = r.U64()
	if l.HasMax {
		l.Max = r.U64()
	}
	return l
}

// ValueType reads the type of a value that core modules have without the typed
// references of later proposals.
func (r *Reader) ValueType() byte {
	t := r.Byte()
	switch t {
	case I32, I64, F32, F64, V128, Funcref, Externref:
	default:
		r.unsupported(t == 0x63 || t == 0x64, "typed function references", "the type %#x is unknown", t)
	}
	return t
}

// Unsupported names a proposal that a module needs.
type Unsupported struct{ Proposal string }

func (u *Unsupported) Error() string { return "the module uses " + u.Proposal }

func (r *Reader) unsupported(known bool, proposal, otherwise string, args ...any) {
	if known {
		r.Fail(&Unsupported{proposal})
		return
	}
	r.Failf(otherwise, args...)
}
