package wasmrt

import (
	"context"
	"sync"
	"time"
)

type instanceKey struct{}

// callContext is what host functions get: the caller's values, and done when
// the guest is to end. What it needs for that is made when somebody first asks:
// most calls never do.
type callContext struct {
	context.Context //nolint:containedctx // the caller's: this is one itself
	instance        *Instance
	deadline        time.Duration // on the engine's clock; 0: none
	whole           bool          // it lasts as long as the guest

	mu      sync.Mutex
	ended   bool
	derived context.Context //nolint:containedctx // as above
	cancel  context.CancelFunc
}

// Value gives host functions their guest.
func (c *callContext) Value(key any) any {
	if key == (instanceKey{}) {
		return c
	}
	return c.Context.Value(key)
}

// callOf finds the call that a host function belongs to.
func callOf(ctx context.Context) *callContext {
	if c, ok := ctx.(*callContext); ok {
		return c
	}
	return ctx.Value(instanceKey{}).(*callContext)
}

func instanceOf(ctx context.Context) *Instance { return callOf(ctx).instance }

// Done implements context.Context.
func (c *callContext) Done() <-chan struct{} {
	if c.whole && c.deadline == 0 && c.Context.Done() == nil {
		return c.instance.life.Done() // guests that sleep are many
	}
	return c.derive().Done()
}

// Err implements context.Context.
func (c *callContext) Err() error {
	err := c.over(c.instance.engine.monotonic())
	if err == nil && c.instance.stopping.Load() {
		err = context.Canceled
	}
	if err == nil && c.whole {
		err = c.instance.life.Err()
	}
	c.mu.Lock()
	derived := c.derived
	c.mu.Unlock()
	switch {
	case err == nil && derived != nil:
		return derived.Err()
	case err != nil: // so that Done says so too
		c.derive()
		c.cancel()
	}
	return err
}

// over is why the call is over at a time, but for the guest's own end.
func (c *callContext) over(now time.Duration) error {
	if c.deadline != 0 && now >= c.deadline {
		return context.DeadlineExceeded
	}
	return c.Context.Err()
}

// Deadline implements context.Context.
func (c *callContext) Deadline() (time.Time, bool) {
	at, ok := c.Context.Deadline()
	if c.deadline == 0 {
		return at, ok
	}
	own := c.instance.engine.start.Add(c.deadline)
	if ok && at.Before(own) {
		return at, true
	}
	return own, true
}

func (c *callContext) derive() context.Context {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.derived != nil {
		return c.derived
	}
	ctx, cancel := c.Context, context.CancelFunc(nil)
	if c.deadline != 0 {
		ctx, cancel = context.WithTimeout(ctx, c.deadline-c.instance.engine.monotonic())
	} else {
		ctx, cancel = context.WithCancel(ctx)
	}
	// The guest's own end ends it too.
	undo := context.AfterFunc(c.instance.life, cancel)
	c.derived, c.cancel = ctx, func() { undo(); cancel() }
	if c.ended {
		c.cancel()
	}
	return ctx
}

// end frees what it needed. Who still has it finds it cancelled.
func (c *callContext) end() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.ended = true
	if c.cancel != nil {
		c.cancel()
	}
}
