// Package spec is the vocabulary on top of the messages of proto/dhow/v1: the
// order of states, names and keys of objects, Default, Validate and the one
// error type. It is pure: no clock, no I/O, no goroutine.
package spec
