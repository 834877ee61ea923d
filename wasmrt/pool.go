package wasmrt

import (
	"container/list"
	"context"
	goruntime "runtime"
	"time"
)

// ReasonBusy is that of callers of a pool whose instances are all in use and
// whose queue is full.
const ReasonBusy = "Busy"

// PoolConfig is what a Pool needs.
type PoolConfig struct {
	// New makes an instance: Snapshot.New, or Module.New.
	New func(context.Context) (*Instance, error)
	// Max bounds the instances in use at a time. Default: twice the
	// processors.
	Max int
	// Queue is how many callers may wait for one; more are refused with
	// ReasonBusy. Default 64 for each of Max; negative: none waits.
	Queue int
	// MaxIdle bounds the instances kept between uses. Default Max; negative
	// keeps none.
	MaxIdle int
	// IdleTimeout is after which time an idle instance goes. Default a minute.
	IdleTimeout time.Duration
	// MaxUses is after how many uses an instance goes, however well it is. 1
	// gives each use a fresh one, so that nothing is left from one to the
	// next. 0: no bound.
	MaxUses int
}

func (c *PoolConfig) setDefaults() {
	if c.Max <= 0 {
		c.Max = 2 * goruntime.GOMAXPROCS(0)
	}
	if c.Queue == 0 {
		c.Queue = 64 * c.Max
	}
	if c.MaxIdle == 0 {
		c.MaxIdle = c.Max
	}
	if c.IdleTimeout <= 0 {
		c.IdleTimeout = time.Minute
	}
}

// PoolStats are a pool's counts.
type PoolStats struct {
	Busy, Idle, Waiting int    // now
	Made                uint64 // instances
	Reused              uint64 // uses of one that was idle
	Replaced            uint64 // instances that failed in use or while idle
	Failed              uint64 // attempts to make one
	Refused             uint64 // callers, as the queue was full
}

// Pool lends instances of one module to many callers. Callers wait in the order
// in which they came. An instance that failed is never lent again.
type Pool struct{ k keeper[*Instance] }

// NewPool makes a pool, which makes its instances when they are needed.
func NewPool(c PoolConfig) *Pool {
	c.setDefaults()
	return &Pool{keeper[*Instance]{
		make: c.New,
		alive: func(i *Instance) bool {
			select {
			case <-i.Done():
				return false
			default:
				return true
			}
		},
		free:    func(i *Instance) { _ = i.Close() }, // it only frees
		limit:   keeperLimits{users: c.Max, queue: max(c.Queue, 0), idle: max(c.MaxIdle, 0), uses: c.MaxUses, age: c.IdleTimeout},
		waiting: list.New(),
	}}
}

// Do lends an instance to f, which must not keep it. It waits for one while
// ctx lasts. The error is f's, New's, the context's, or an *Error: ReasonBusy,
// ReasonClosed. An instance that ended, or in whose use f panicked, is replaced.
func (p *Pool) Do(ctx context.Context, f func(context.Context, *Instance) error) error {
	return p.k.use(ctx, func(i *Instance) error { return f(ctx, i) })
}

// Close refuses new callers and those that wait, waits for those that have an
// instance, and closes all.
func (p *Pool) Close() { p.k.close() }

// Stats are the counts now.
func (p *Pool) Stats() PoolStats { return p.k.snapshot() }
