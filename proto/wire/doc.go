// Package wire carries errors over RPC: it turns *spec.Error into Connect
// errors and back, so that a client sees the code and the field paths that the
// server meant, in whichever protocol they spoke. It also holds the limits
// that both ends must agree on. It knows no service and opens no connection.
package wire

// MaxMessage is the largest message either end takes, in bytes.
const MaxMessage = 16 << 20

// ChunkSize is how much of a blob goes into one message of a stream.
const ChunkSize = 256 << 10

// ServersHeader of an answer lists all servers' API addresses, with commas.
const ServersHeader = "Dhow-Servers"

// SmallAnswer is how much data of a call, or of its answer, rides the node's
// session in one message; more takes a stream of its own, so that it holds up
// no heartbeat.
const SmallAnswer = 32 << 10
