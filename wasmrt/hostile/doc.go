// Package hostile is a suite of guests that mean harm, in guests/, and of tests
// which say how each of them ends: itself failed, with a reason, its neighbours
// unharmed, and nothing left behind. Only guests and tests belong here. What it
// costs the neighbours is measured by `make bench-wasm ARGS=neighbours`.
package hostile
