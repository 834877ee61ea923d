package wasmrt

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"sync"
)

// ReseedExport is a function (i64) -> () that a guest may export: each copy is
// called with a random number before it is used, so that it does not draw the
// random numbers that all other copies draw. Go guests need none for math/rand,
// maphash and the seeds of new maps: their generators are found and reseeded.
const ReseedExport = "dhow_reseed"

// Snapshot is an initialised guest that is not run any more: the beginning of
// others, which share the memory that they do not write. It is safe for use by
// many goroutines.
type Snapshot struct {
	module *Module // its own reference
	why    error   // nil if instances are copies
	// generators are the addresses of Go's random states.
	generators []uint32
	hook       bool // ReseedExport is exported

	mu     sync.Mutex
	origin *origin // nil when closed, or not shared
}

// Snapshot makes an instance as New does, calls warm on it if given, and keeps
// what it then is. Each later instance begins there. Of a guest that Go's linker
// made, a second instance is initialised, without streams, to find its random
// states.
//
// What the guest knows at that time all copies know: no data of one user should
// be in it, and what it read of its arguments, environment and mounts stays,
// whatever the Config of the copy; give copies the same mounts. Not every module
// can be copied; see Shared.
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
	s := &Snapshot{module: held}
	if err := s.take(ctx, c, i, warm); err != nil {
		s.Close()
		return nil, err
	}
	return s, nil
}

func (s *Snapshot) take(ctx context.Context, c Config, i *Instance, warm []func(context.Context, *Instance) error) error {
	if s.why = i.copyable(); s.why != nil {
		return nil
	}
	s.hook = i.exports(ReseedExport)
	if i.code.shape.random && len(c.Listeners) == 0 {
		c.Stdin, c.Stdout, c.Stderr, c.Notify = nil, nil, nil, nil
		var err error
		if s.generators, err = s.findGenerators(ctx, c, i); err != nil {
			return err
		}
	}
	for _, w := range warm {
		if err := w(ctx, i); err != nil {
			return err
		}
	}
	if s.why = i.copyable(); s.why != nil {
		return nil
	}
	return i.alone(func() (err error) {
		s.origin, err = i.capture()
		return err
	})
}

func (s *Snapshot) findGenerators(ctx context.Context, c Config, i *Instance) (found []uint32, err error) {
	other, err := s.module.New(ctx, c)
	if err != nil {
		return nil, err
	}
	defer func() { _ = other.Close() }()
	err = i.alone(func() error {
		return other.alone(func() error {
			found = generators(i.memory.bytes(), other.memory.bytes())
			return nil
		})
	})
	return found, err
}

// Shared tells whether instances are copies that share memory. If they are
// not, New starts each from the module's beginning, and the error, an *Error
// with ReasonCannotCopy, says why.
func (s *Snapshot) Shared() (bool, error) { return s.why == nil, s.why }

// New makes an instance that begins as the snapshot is. It is Module.New if the
// snapshot is not shared.
func (s *Snapshot) New(ctx context.Context, c Config) (*Instance, error) {
	if s.why != nil {
		return s.module.New(ctx, c)
	}
	s.mu.Lock()
	o := s.origin
	if o == nil {
		s.mu.Unlock()
		return nil, failf(ReasonClosed, "the snapshot is closed")
	}
	o.image.hold()
	s.mu.Unlock()
	defer o.image.close()

	i, err := s.module.newFrom(ctx, c, o)
	if err != nil {
		return nil, err
	}
	if err := s.reseed(ctx, i); err != nil {
		_ = i.Close()
		return nil, err
	}
	return i, nil
}

// reseed gives a copy random states of its own.
func (s *Snapshot) reseed(ctx context.Context, i *Instance) error {
	if len(s.generators) > 0 {
		err := i.alone(func() error {
			for _, at := range s.generators {
				_, _ = rand.Read(i.memory.bytes()[at:][:generatorSize]) // never fails
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	if !s.hook {
		return nil
	}
	var seed [8]byte
	_, _ = rand.Read(seed[:]) // never fails
	if _, err := i.Call(ctx, ReseedExport, binary.LittleEndian.Uint64(seed[:])); err != nil {
		return err
	}
	// It is not called again, and would keep the stack that it ran on.
	return i.alone(func() error { i.functions = nil; return nil })
}

// Close frees the snapshot. Instances made from it keep what they need.
func (s *Snapshot) Close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.origin != nil {
		s.origin.image.close()
		s.origin = nil
	}
	s.module.Close()
}
