// Package store is the replicated state of a server: typed tables in Pebble,
// a deterministic Apply, immutable snapshot reads and a change feed by
// revision. It is the only user of Pebble. It reads no clock, draws no random
// numbers and knows nothing of consensus: a Proposer is given to it, and the
// log that consensus keeps is numbered bytes to it.
//
// A data directory holds
//
//	FORMAT     the format's number and the cluster's id
//	log/       Pebble: Raft's entries and stable values; each write is synced
//	STATE      the name of the directory that holds the state
//	state-N/   Pebble without a write-ahead log: the tables
//
// The state is flushed before a checkpoint is made of it, so that what a
// crash takes from it is always in the log, and is applied again.
package store
