// Package plan decides what has to change so that the cluster becomes what its
// users asked for. It is pure: no clock, no I/O, no goroutine, no logger; now
// and the seed are inputs. In the room: State, an incremental model of the
// cluster that is fed with watch events, and the translation of what the
// sub-rooms decide into changes: schedule (where an instance runs), heal
// (which instances exist), liveness (which nodes live) and invariant (what
// must hold whatever happens).
package plan
