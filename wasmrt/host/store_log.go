package host

import (
	"encoding/binary"
	"hash/crc32"
)

// A store's file is a log: a line that says what it is, then records of what
// was set and deleted, in order.
//
//	bytes  what
//	4      checksum (CRC-32C) of all that follows
//	1      1: set, 2: deleted
//	4      length of the key
//	4      length of the value
//	       key, value
//
// Numbers are little-endian.
const (
	logMagic   = "dhow kv 1\n"
	recordHead = 13

	recordSet     = 1
	recordDeleted = 2
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli) //nolint:gochecknoglobals // a constant table

func appendRecord(b []byte, kind byte, key string, value []byte) []byte {
	start := len(b)
	b = append(b, 0, 0, 0, 0, kind)
	b = binary.LittleEndian.AppendUint32(b, uint32(len(key)))   //nolint:gosec // bounded by the store
	b = binary.LittleEndian.AppendUint32(b, uint32(len(value))) //nolint:gosec // bounded by the store
	b = append(append(b, key...), value...)
	binary.LittleEndian.PutUint32(b[start:], crc32.Checksum(b[start+4:], castagnoli))
	return b
}

// replay calls apply for each record, and returns how many bytes of the log are
// whole. Torn tells that the rest is a record that was not written to its end, as
// after a crash; else its bytes are other ones than were written.
func replay(b []byte, apply func(kind byte, key string, value []byte)) (whole int, torn bool) {
	at := 0
	for at < len(b) {
		rest := b[at:]
		if len(rest) < recordHead {
			return at, true
		}
		kind := rest[4]
		keyLen, valueLen := uint64(binary.LittleEndian.Uint32(rest[5:])), uint64(binary.LittleEndian.Uint32(rest[9:]))
		end := recordHead + keyLen + valueLen
		if end > uint64(len(rest)) {
			return at, true
		}
		if crc32.Checksum(rest[4:end], castagnoli) != binary.LittleEndian.Uint32(rest) || kind != recordSet && kind != recordDeleted {
			return at, false
		}
		apply(kind, string(rest[recordHead:recordHead+keyLen]), rest[recordHead+keyLen:end])
		at += int(end) //nolint:gosec // at most the length of b
	}
	return at, false
}
