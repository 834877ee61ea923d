package gossip

import "time"

// Idle cost decides the intervals: each probe and each tick wakes goroutines on
// several threads, about 0.1 ms in all. Four members in one process measured
// 1.0 % of a core at a probe each 250 ms, 0.33 % at 1 s, 0.15 to 0.29 % with a
// gossip tick each 500 ms instead of 200 ms. Quick detection of a process that
// died comes from Check instead, which costs nothing while nothing happens:
// 0.1 s after a kill -9 when whoever held a connection asks for it, 1.3 or 2.3 s
// when a probe is the first to notice, 5 s for a machine that falls silent.
const (
	probeInterval = time.Second
	probeTimeout  = 200 * time.Millisecond
	// In up to ten members: dead 2 s after the suspicion unless refuted.
	suspicionMult    = 2
	suspicionMaxMult = 3
	gossipInterval   = 500 * time.Millisecond
	// With 4 nodes a tick and 3 transmissions, a goodbye is out in one tick.
	gossipNodes      = 4
	retransmitMult   = 3
	pushPullInterval = 30 * time.Second

	// A machine that refuses connections to its gossip port this often in a row
	// runs no member; one that accepts so many does. An overloaded one never
	// refuses: its kernel accepts, or drops the packet.
	enough      = 3
	dialPause   = 40 * time.Millisecond
	dialTimeout = 500 * time.Millisecond
	// How often a member that was found gone is looked at again.
	recheckEvery = time.Second
)
