package wasmrt

import (
	"bufio"
	"context"
	"encoding/binary"
	"hash"
	"hash/crc32"
	"io"
	"time"
)

// A checkpoint is, with all numbers little-endian:
//
//	magic     8 bytes
//	version   uint32
//	header    uint32 length, and as many bytes: digest and architecture (uint16
//	          length and text each), memory size uint64, clock int64
//	          (nanoseconds), count of globals uint32, a type (one byte) and a
//	          value uint64 for each
//	sum       uint32, CRC-32C of all before
//	runs      of pages of 4 KiB: first uint32, count uint32, the pages; the
//	          last run has a count of 0
//	sum       uint32, CRC-32C of all before
//
// The version changes with the format, and with what shape does to data and
// globals.
const (
	checkpointMagic   = "dhowckp\n"
	checkpointVersion = 1
	maxHeader         = 16 << 20
)

type checkpointHeader struct {
	digest, arch string
	memory       uint64
	clock        time.Duration
	types        []byte // of globals
	values       []uint64
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli) //nolint:gochecknoglobals // a constant

func (h *checkpointHeader) marshal() []byte {
	var b []byte
	for _, s := range []string{h.digest, h.arch} {
		b = binary.LittleEndian.AppendUint16(b, uint16(len(s))) //nolint:gosec // short
		b = append(b, s...)
	}
	b = binary.LittleEndian.AppendUint64(b, h.memory)
	b = binary.LittleEndian.AppendUint64(b, uint64(h.clock))      //nolint:gosec // its bits
	b = binary.LittleEndian.AppendUint32(b, uint32(len(h.types))) //nolint:gosec // a module's globals
	for n, v := range h.values {
		b = binary.LittleEndian.AppendUint64(append(b, h.types[n]), v)
	}
	return b
}

// unmarshal is false for what marshal does not make.
func (h *checkpointHeader) unmarshal(b []byte) bool {
	ok := true
	next := func(n int) []byte {
		if ok = ok && n <= len(b); !ok {
			return make([]byte, 8)
		}
		part := b[:n]
		b = b[n:]
		return part
	}
	for _, s := range []*string{&h.digest, &h.arch} {
		n := int(binary.LittleEndian.Uint16(next(2)))
		*s = string(next(n))
	}
	h.memory = binary.LittleEndian.Uint64(next(8))
	h.clock = time.Duration(binary.LittleEndian.Uint64(next(8))) //nolint:gosec // its bits
	for n := binary.LittleEndian.Uint32(next(4)); n > 0 && ok; n-- {
		h.types = append(h.types, next(1)[0])
		h.values = append(h.values, binary.LittleEndian.Uint64(next(8)))
	}
	return ok && len(b) == 0
}

// writeCheckpoint writes a checkpoint with these pages of a memory.
func writeCheckpoint(ctx context.Context, w io.Writer, h checkpointHeader, memory []byte, pages []int) error {
	sum := crc32.New(castagnoli)
	out := bufio.NewWriterSize(io.MultiWriter(w, sum), 64<<10)
	header := h.marshal()
	b := binary.LittleEndian.AppendUint32([]byte(checkpointMagic), checkpointVersion)
	b = binary.LittleEndian.AppendUint32(b, uint32(len(header))) //nolint:gosec // short
	if err := writeSum(out, sum, append(b, header...)); err != nil {
		return err
	}
	for len(pages) > 0 {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		count := 1
		for count < len(pages) && pages[count] == pages[0]+count {
			count++
		}
		run := binary.LittleEndian.AppendUint32(nil, uint32(pages[0])) //nolint:gosec // at most a million
		run = binary.LittleEndian.AppendUint32(run, uint32(count))     //nolint:gosec // at most a million
		if _, err := out.Write(run); err != nil {
			return err
		}
		if _, err := out.Write(memory[pages[0]*copyPage : (pages[0]+count)*copyPage]); err != nil {
			return err
		}
		pages = pages[count:]
	}
	return writeSum(out, sum, make([]byte, 8))
}

// writeSum writes b and the sum of all until then.
func writeSum(out *bufio.Writer, sum hash.Hash32, b []byte) error {
	if _, err := out.Write(b); err != nil {
		return err
	}
	if err := out.Flush(); err != nil {
		return err
	}
	if err := binary.Write(out, binary.LittleEndian, sum.Sum32()); err != nil {
		return err
	}
	return out.Flush()
}

// checkpointReader reads what writeCheckpoint wrote, whatever it is given.
type checkpointReader struct {
	r   io.Reader
	sum hash.Hash32
}

func newCheckpointReader(r io.Reader) *checkpointReader {
	return &checkpointReader{bufio.NewReaderSize(r, 64<<10), crc32.New(castagnoli)}
}

func (c *checkpointReader) full(b []byte) error {
	if _, err := io.ReadFull(c.r, b); err != nil {
		return damaged(err)
	}
	_, _ = c.sum.Write(b) // never fails
	return nil
}

func (c *checkpointReader) number() (uint32, error) {
	var b [4]byte
	err := c.full(b[:])
	return binary.LittleEndian.Uint32(b[:]), err
}

// checked compares the sum of all until now with the one that comes next.
func (c *checkpointReader) checked() error {
	want := c.sum.Sum32()
	if got, err := c.number(); err != nil || got != want {
		if err != nil {
			return err
		}
		return failf(ReasonDamaged, "the checkpoint is not as it was written: a sum is wrong")
	}
	return nil
}

func (c *checkpointReader) header() (*checkpointHeader, error) {
	magic := make([]byte, len(checkpointMagic))
	if err := c.full(magic); err != nil {
		return nil, err
	}
	if string(magic) != checkpointMagic {
		return nil, failf(ReasonDamaged, "this is no checkpoint")
	}
	version, err := c.number()
	if err != nil {
		return nil, err
	}
	if version != checkpointVersion {
		return nil, failf(ReasonMismatch, "the checkpoint has version %d, and this is version %d", version, checkpointVersion)
	}
	size, err := c.number()
	if err != nil {
		return nil, err
	}
	if size > maxHeader {
		return nil, failf(ReasonDamaged, "the checkpoint's header would have %d bytes", size)
	}
	b, err := io.ReadAll(io.LimitReader(c.r, int64(size)))
	if err != nil {
		return nil, err
	}
	if uint64(len(b)) < uint64(size) {
		return nil, damaged(io.ErrUnexpectedEOF)
	}
	_, _ = c.sum.Write(b) // never fails
	if err := c.checked(); err != nil {
		return nil, err
	}
	h := &checkpointHeader{}
	if !h.unmarshal(b) {
		return nil, failf(ReasonDamaged, "the checkpoint's header cannot be read")
	}
	return h, nil
}

// pages reads the pages into a memory.
func (c *checkpointReader) pages(ctx context.Context, memory []byte) error {
	end := uint64(0) // of the last run
	for {
		first, err := c.number()
		if err != nil {
			return err
		}
		count, err := c.number()
		if err != nil {
			return err
		}
		if count == 0 {
			return c.checked()
		}
		from, to := uint64(first)*copyPage, (uint64(first)+uint64(count))*copyPage
		if from < end || to > uint64(len(memory)) {
			return failf(ReasonDamaged, "the checkpoint has pages outside of its memory")
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if err := c.full(memory[from:to]); err != nil {
			return err
		}
		end = to
	}
}
