package host

import (
	"context"
	"time"
)

// Policy is what one guest may do with the functions of this package. Its zero
// value allows nothing: each call of the guest's is answered with Denied or
// NotFound, and what it logs is discarded. It must not be changed once it is
// in a context.
type Policy struct {
	HTTP    *HTTP             // nil: no requests
	Config  map[string]string // what config_get finds
	Secrets map[string]string // what secret_get finds
	Store   Store             // nil: none
	Invoker Invoker           // nil: no function can be invoked
	// MaxDepth bounds chains of functions that invoke each other. Default 8.
	MaxDepth int
	// Log takes what the guest logs: valid UTF-8 of at most MaxMessage bytes. nil
	// discards it. It is called from the guest's goroutine.
	Log func(Level, string)
	// MaxLogs is how many messages pass in a second; how many did not is logged
	// with the next that does. Default 1000.
	MaxLogs int
	// Now is the clock for MaxLogs. Default time.Now.
	Now func() time.Time
}

// Invoker calls functions of other modules.
type Invoker interface {
	// Invoke calls the function of a name. The context carries how deep the chain
	// is, and no Policy: the function that is called gets its own. An error that wraps
	// one of this package's is told to the guest as such.
	Invoke(ctx context.Context, name string, input []byte) ([]byte, error)
}

type (
	policyKey struct{}
	depthKey  struct{}
)

// With gives the guests that run in the context a policy. Many guests may share
// a policy, and each has its own results and last error.
func With(ctx context.Context, p Policy) context.Context {
	if p.MaxDepth <= 0 {
		p.MaxDepth = 8
	}
	if p.MaxLogs <= 0 {
		p.MaxLogs = 1000
	}
	if p.Now == nil {
		p.Now = time.Now //nolint:forbidigo // the default
	}
	return context.WithValue(ctx, policyKey{}, &p)
}

// policyOf is the context's policy, or one that allows nothing.
func policyOf(ctx context.Context) *Policy {
	if p, ok := ctx.Value(policyKey{}).(*Policy); ok && p != nil {
		return p
	}
	return &Policy{}
}

// Depth is how many functions have invoked one another to get to this context.
// An Invoker that crosses processes carries it over with WithDepth.
func Depth(ctx context.Context) int {
	n, _ := ctx.Value(depthKey{}).(int)
	return n
}

// WithDepth sets Depth.
func WithDepth(ctx context.Context, n int) context.Context {
	return context.WithValue(ctx, depthKey{}, n)
}
