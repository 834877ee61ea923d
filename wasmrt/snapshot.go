package wasmrt

import (
	"context"
	"sync"
)

// Snapshot is an initialised guest that is not run any more: the beginning of
// others, which share the memory that they do not write. It is safe for use by
// many goroutines.
type Snapshot struct {
	module *Module // its own reference
	why    error   // nil if instances are copies

	mu     sync.RWMutex
	closed bool
	origin *origin
}

// Snapshot makes an instance as New does, calls warm on it if given, and keeps
// what it then is. Each later instance begins there.
//
// What the guest knows at that time all copies know: no data of one user should
// be in it, and what it read of its arguments, environment and mounts stays,
// whatever the Config of the copy. Not every module can be copied; see Shared.
func (m *Module) Snapshot(ctx context.Context, c Config, warm ...func(context.Context, *Instance) error) (*Snapshot, error) {
	i, err := m.New(ctx, c)
	if err != nil {
		return nil, err
	}
	defer func() { _ = i.Close() }()
	held, ok := m.code.engine.Lookup(m.Digest())
	if !ok {
		return nil, errClosed()
	}
	return &Snapshot{module: held, why: cannotCopy("not yet")}, nil
}

// Shared tells whether instances are copies that share memory. If they are
// not, New starts each from the module's beginning, and the error, an *Error
// with ReasonCannotCopy, says why.
func (s *Snapshot) Shared() (bool, error) { return s.why == nil, s.why }

// New makes an instance that begins as the snapshot is. It is Module.New if the
// snapshot is not shared.
func (s *Snapshot) New(ctx context.Context, c Config) (*Instance, error) {
	return s.module.New(ctx, c)
}

// Close frees the snapshot. Instances made from it keep what they need.
func (s *Snapshot) Close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.closed {
		s.closed = true
		s.module.Close()
	}
}
