package ledger

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"hash/crc32"

	"google.golang.org/protobuf/proto"

	dhowv1 "dhow.dev/dhow/proto/dhow/v1"
)

const (
	magic   = "\xd4\x0e" // begins a frame
	headLen = 10
	maxLen  = 64 << 20
)

// checksum is CRC-32C; the table is made once, by the library.
func checksum(b []byte) uint32 { return crc32.Checksum(b, crc32.MakeTable(crc32.Castagnoli)) }

// appendFrame appends the record as a frame.
func appendFrame(b []byte, r *dhowv1.LedgerRecord) ([]byte, error) {
	at := len(b)
	b = append(b, magic[0], magic[1], 0, 0, 0, 0, 0, 0, 0, 0)
	b, err := proto.MarshalOptions{Deterministic: true}.MarshalAppend(b, r)
	if err != nil {
		return nil, fmt.Errorf("encode a ledger record: %w", err)
	}
	payload := b[at+headLen:]
	if len(payload) > maxLen {
		return nil, fmt.Errorf("a ledger record of %d bytes is over the limit of %d", len(payload), maxLen)
	}
	binary.LittleEndian.PutUint32(b[at+2:], uint32(len(payload)))
	binary.LittleEndian.PutUint32(b[at+6:], checksum(payload))
	return b, nil
}

// readFrame reads the frame at the start of b; size 0 when there is no whole
// one.
func readFrame(b []byte) (r *dhowv1.LedgerRecord, size int) {
	if len(b) < headLen || b[0] != magic[0] || b[1] != magic[1] {
		return nil, 0
	}
	n := int(binary.LittleEndian.Uint32(b[2:]))
	if n > maxLen || n > len(b)-headLen {
		return nil, 0
	}
	payload := b[headLen : headLen+n]
	if checksum(payload) != binary.LittleEndian.Uint32(b[6:]) {
		return nil, 0
	}
	r = &dhowv1.LedgerRecord{}
	if proto.Unmarshal(payload, r) != nil {
		return nil, 0
	}
	return r, headLen + n
}

// Damage tells what of a ledger could not be read.
type Damage struct {
	Path   string
	Offset int64 // of the first byte that is not part of a frame
	Bytes  int64 // in all
	// Only the end is missing, as after a crash in the middle of a write.
	Tail bool
}

func (d *Damage) Error() string {
	if d.Tail {
		return fmt.Sprintf("ledger %s: the last %d bytes, from offset %d, are an unfinished write", d.Path, d.Bytes, d.Offset)
	}
	return fmt.Sprintf("ledger %s: %d bytes are damaged, the first at offset %d", d.Path, d.Bytes, d.Offset)
}

// parse reads all frames, and goes on behind what it cannot read.
func parse(path string, b []byte) ([]*dhowv1.LedgerRecord, *Damage) {
	var (
		out    []*dhowv1.LedgerRecord
		damage *Damage
	)
	for at := 0; at < len(b); {
		r, size := readFrame(b[at:])
		if size > 0 {
			out = append(out, r)
			at += size
			if damage != nil {
				damage.Tail = false
			}
			continue
		}
		next := bytes.Index(b[at+1:], []byte(magic))
		if next < 0 {
			next = len(b) - at - 1
		}
		if damage == nil {
			damage = &Damage{Path: path, Offset: int64(at), Tail: true}
		}
		damage.Bytes += int64(next + 1)
		at += next + 1
	}
	return out, damage
}
