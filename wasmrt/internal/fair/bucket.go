package fair

import "time"

const (
	// burst is the time for which a quota can be saved up.
	burst = 50 * time.Millisecond
	// quantum is what one whose quota was gone gets at least, before it goes on:
	// not a wait for each slice.
	quantum = 500 * time.Microsecond
	// whole is the rate of one core.
	whole = 1000
)

// Bucket is a quota of CPU time. Its zero value is without limit.
type Bucket struct {
	rate  uint32        // thousandths of a core; 0: no limit
	level time.Duration // what may be used; below zero: what was used too much
	at    time.Duration // when level was so
	empty bool          // used up, and not yet filled to the quantum
}

// Set changes the rate at a time. A bucket that had none is full.
func (b *Bucket) Set(rate uint32, now time.Duration) {
	b.fill(now)
	if b.rate == 0 {
		b.level, b.at, b.empty = capacity(rate), now, false
	}
	b.rate = rate
	b.level = min(b.level, capacity(rate))
}

// Take notes use until now.
func (b *Bucket) Take(now, used time.Duration) {
	if b.rate == 0 {
		return
	}
	b.fill(now)
	b.level -= used
	b.empty = b.empty || b.level < 0
}

// Wait is how long its owner has to wait from now on; 0 when it may go on.
func (b *Bucket) Wait(now time.Duration) time.Duration {
	if b.rate == 0 {
		return 0
	}
	b.fill(now)
	enough := min(quantum, capacity(b.rate))
	if !b.empty || b.level >= enough {
		b.empty = false
		return 0
	}
	missing := enough - b.level
	return (missing*whole + time.Duration(b.rate) - 1) / time.Duration(b.rate)
}

// fill adds what came since the last time. A clock that went back adds
// nothing.
func (b *Bucket) fill(now time.Duration) {
	gone := max(now-b.at, 0)
	b.at = max(b.at, now)
	if most := capacity(b.rate); b.rate > 0 && b.level < most {
		// What takes longer than it needs to fill is cut first, against
		// overflow.
		need := (most-b.level)*whole/time.Duration(b.rate) + 1
		b.level = min(b.level+min(gone, need)*time.Duration(b.rate)/whole, most)
	}
}

func capacity(rate uint32) time.Duration { return burst * time.Duration(rate) / whole }
