package wasmrt

import (
	"context"
	goruntime "runtime"
	"sync"
	"time"
)

// gate lets few guests at a time go through their first moments, in which they
// set themselves up and use all the CPU they get: a Go guest 2 ms. Go's
// scheduler serves goroutines in turn, so behind a thousand fresh guests all
// else in the process, such as what tells others that it lives, would wait for
// seconds.
type gate chan struct{}

// freshFor is how long a guest counts as fresh that does not wait for
// anything: from then on it is one of those that compute, and the next may
// start.
const freshFor = 10 * time.Millisecond

func newGate() gate { return make(gate, 2*goruntime.GOMAXPROCS(0)) }

// enter waits for the guest's turn. What it returns is to be called when
// the guest is fresh no more, and may be called more than once.
func (g gate) enter(ctx context.Context) (func(), error) {
	select {
	case g <- struct{}{}:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	leave := sync.OnceFunc(func() { <-g })
	timer := time.AfterFunc(freshFor, leave)
	return sync.OnceFunc(func() { timer.Stop(); leave() }), nil
}
