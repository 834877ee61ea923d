package extism

import (
	"errors"
	"fmt"
	"sync/atomic"

	"dhow.dev/dhow/wasmrt"
)

// session is what the host keeps of one instance. A call at a time uses it.
type session struct {
	kernel *wasmrt.Kernel
	busy   atomic.Bool
	arena  arena

	at, length, eights wasmrt.Global // what the kernel knows of the input

	input  uint64 // where it is
	output uint64
	outLen uint64
	// taken is the output, when it was taken at once: a command is gone when
	// its call has returned.
	taken   []byte
	command bool
	err     uint64 // the handle
	message *string

	status  int32 // of the last HTTP response
	headers []byte
}

// sessionOf is the instance's, or nil when it imports nothing of Extism's.
func sessionOf(i *wasmrt.Instance) *session {
	k := i.Kernel(Name)
	if k == nil {
		return nil
	}
	return k.Attached(func() any {
		s := &session{kernel: k, at: k.Global("input"), length: k.Global("length of input"), eights: k.Global("eights of input")}
		s.arena.reset(pageSize, pageSize) // until a call says more
		return s
	}).(*session)
}

// begin gives the plugin its input.
func (s *session) begin(h *Host, input []byte, command bool) error {
	if !s.busy.CompareAndSwap(false, true) {
		return &wasmrt.Error{Reason: wasmrt.ReasonInUse, Message: "the plugin is in another call"}
	}
	err := s.kernel.Use(func(m wasmrt.Memory) error {
		s.clear(m, h.c.MaxMemory)
		s.command = command
		at, err := s.put(m, input)
		if err != nil {
			return fmt.Errorf("the input: %w", err)
		}
		s.setInput(at, uint64(len(input)))
		return nil
	})
	if err != nil {
		s.busy.Store(false)
	}
	return err
}

var (
	errNoRoom   = errors.New("the Extism memory has no room")
	errNoPlugin = errors.New("the guest is no plugin that an extism.Host runs")
	errResponse = errors.New("the response is larger than allowed")
)

// finish takes what the call left, and empties the memory. The message is nil
// when none was set. The error says that the output is lost, as the plugin was
// closed meanwhile.
func (s *session) finish() (output []byte, message *string, err error) {
	defer s.busy.Store(false)
	output, message = s.taken, s.message
	lost := s.outLen > 0 && !s.command
	err = s.kernel.Use(func(m wasmrt.Memory) error {
		if lost {
			b, _ := m.Read(uint32(s.output), uint32(s.outLen)) //nolint:gosec // checked when it was set
			output = append([]byte(nil), b...)
		}
		s.clear(m, pageSize)
		return nil
	})
	if !lost {
		err = nil
	}
	return output, message, err
}

// clear empties the memory for another call.
func (s *session) clear(m wasmrt.Memory, most uint64) {
	if used, ok := m.Read(0, uint32(min(s.arena.end, m.Size(), 1<<32-1))); ok { //nolint:gosec // bounded
		clear(used)
	}
	s.arena.reset(m.Size(), most)
	s.output, s.outLen, s.taken, s.command = 0, 0, nil, false
	s.err, s.message = 0, nil
	s.status, s.headers = 0, nil
}

// setInput tells the kernel where the input is.
func (s *session) setInput(at, length uint64) {
	s.input = at
	s.at.Set(at)
	s.length.Set(length)
	s.eights.Set(max(length, 7) - 7)
}

// put copies bytes into a new block; no bytes are at 0.
func (s *session) put(m wasmrt.Memory, b []byte) (uint64, error) {
	if len(b) == 0 {
		return 0, nil
	}
	at := s.arena.alloc(uint64(len(b)), s.kernel.Grow)
	if at == 0 || !m.Write(uint32(at), b) { //nolint:gosec // inside the memory
		return 0, fmt.Errorf("%w for %d bytes", errNoRoom, len(b))
	}
	return at, nil
}

// copyOf is a copy of at most most bytes of a block.
func (s *session) copyOf(m wasmrt.Memory, handle uint64, most int) ([]byte, error) {
	b := s.arena.find(handle)
	if b == nil {
		return nil, fmt.Errorf("there is no block at %d", handle)
	}
	view, _ := m.Read(uint32(handle), uint32(min(b.used, uint64(most)))) //nolint:gosec // inside the memory
	return append([]byte(nil), view...), nil
}
