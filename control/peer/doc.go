// Package peer is how servers speak to each other: proposals and read indexes
// forwarded to the leader, membership, blobs and logs that another server has.
// It holds no state and writes nothing itself.
package peer
