//go:build race

package sim

// The race detector makes a run ten times as slow and finds nothing in one
// goroutine.
const defaultSeeds = 20
