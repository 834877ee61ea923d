// Package replica agrees with the other servers on one log: Raft, its
// transport, snapshots and membership. It is the only user of
// hashicorp/raft. It knows the state only as an FSM that makes and takes
// checkpoint directories, and the log only as numbered bytes.
//
// Proposals that wait together become one entry. A read is confirmed by one
// round of heartbeats that all waiting reads share. A leader serves neither
// before it has applied all that earlier leaders wrote.
package replica
