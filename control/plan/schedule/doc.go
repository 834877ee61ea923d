// Package schedule decides on which node an instance runs: filters say which
// nodes can take it and why the others cannot, scores say which of them is
// best. It is pure. It keeps what nodes have free as it changes, so that a
// placement looks at a few nodes and not at all.
package schedule
