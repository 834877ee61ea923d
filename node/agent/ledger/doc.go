// Package ledger keeps what an agent must remember in one append-only file.
// In the room: frames, their checksums, one write and one fsync per batch,
// and compaction. What the records mean is the agent's core's to know.
//
// A frame is two magic bytes, the payload's length, its CRC-32C and a
// LedgerRecord. The file is rewritten when it is mostly history, so that few
// bytes are written in all: flash wears.
package ledger
