// Package liveness decides from gossip and sessions which nodes live. It is
// pure.
package liveness

// Gossip is what gossip knows of a machine.
type Gossip uint8

// The values, in no order.
const (
	Unknown Gossip = iota // never seen, or not taking part
	Alive
	Failed
	Left
)

// Facts is what gossip knows of all machines at one moment. It is not changed
// after it was handed over.
type Facts struct {
	Nodes   map[string]Gossip // by name; missing is Unknown
	Servers map[string]Gossip // by name; missing is Unknown
}
