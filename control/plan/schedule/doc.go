// Package schedule decides on which node an instance runs: filters say which
// nodes can take it and why the others cannot, scores say which of them is
// best. It is pure.
package schedule
