//go:build unix

package wasmrt

import (
	"errors"
	"net"
	"sync/atomic"
	"syscall"

	"golang.org/x/sys/unix"
)

// conn is a connection of a guest's. Reads and writes are the kernel's, and
// never wait there; to wait, a goroutine waits with Go's poller, so that a guest
// that waits costs no thread.
type conn struct {
	socket
	files       *files
	c           net.Conn
	raw         syscall.RawConn
	reads, writ watch
}

// watch is the goroutine that waits for one kind of event. While it is on, the
// connection is not ready.
type watch struct{ on atomic.Bool }

// connect makes the descriptor of a connection, or closes it.
func (f *files) connect(c net.Conn) (*conn, error) {
	s, ok := c.(syscall.Conn)
	if !ok {
		_ = c.Close() // not used
		return nil, net.UnknownNetworkError(c.LocalAddr().Network())
	}
	raw, err := s.SyscallConn()
	if err != nil {
		_ = c.Close() // not used
		return nil, err
	}
	return &conn{files: f, c: c, raw: raw}, nil
}

func (*conn) rights() uint64 {
	return rightRead | rightWrite | rightSetFlags | rightStat | rightPoll | rightShutdown
}

func (s *conn) close() error { return s.c.Close() }

func (s *conn) read(c wasiCall, p []byte) (int, errno) {
	return s.transfer(c, eventFdRead, func(fd int) (int, error) { return unix.Read(fd, p) })
}

func (s *conn) write(c wasiCall, p []byte) (int, errno) {
	return s.transfer(c, eventFdWrite, func(fd int) (int, error) { return unix.Write(fd, p) })
}

func (s *conn) peek(c wasiCall, p []byte) (int, errno) {
	return s.transfer(c, eventFdRead, func(fd int) (int, error) {
		n, _, err := unix.Recvfrom(fd, p, unix.MSG_PEEK)
		return n, err
	})
}

// transfer does a system call until it does not have to wait any more.
func (s *conn) transfer(c wasiCall, event byte, do func(fd int) (int, error)) (int, errno) {
	for {
		var n int
		var err error
		if cerr := s.raw.Control(func(fd uintptr) { n, err = do(int(fd)) }); cerr != nil { //nolint:gosec // a descriptor
			return 0, errnoOfSocket(cerr)
		}
		switch {
		case err == nil:
			return n, success
		case errors.Is(err, unix.EINTR):
			continue
		case !errors.Is(err, unix.EAGAIN):
			return 0, errnoOfSocket(err)
		case s.nonblock:
			return 0, errnoAgain
		}
		for !s.ready(event) {
			c.wait()
		}
	}
}

// shutdown ends one direction or both: 1 is reading, 2 is writing.
func (s *conn) shutdown(how uint32) errno {
	hows := map[uint32]int{1: unix.SHUT_RD, 2: unix.SHUT_WR, 3: unix.SHUT_RDWR}
	sysHow, ok := hows[how]
	if !ok {
		return errnoInval
	}
	var err error
	if cerr := s.raw.Control(func(fd uintptr) { err = unix.Shutdown(int(fd), sysHow) }); cerr != nil { //nolint:gosec // a descriptor
		return errnoOfSocket(cerr)
	}
	return errnoOfSocket(err)
}

// ready asks the kernel, unless a goroutine is waiting for it to change its
// answer, and sends one when it has to wait.
func (s *conn) ready(event byte) bool {
	w, wait, mask := &s.reads, s.raw.Read, int16(unix.POLLIN)
	if event == eventFdWrite {
		w, wait, mask = &s.writ, s.raw.Write, unix.POLLOUT
	}
	if w.on.Load() {
		return false
	}
	now := false
	if err := s.raw.Control(func(fd uintptr) { now = pollNow(fd, mask) }); err != nil || now {
		return true // what is closed answers at once
	}
	w.on.Store(true)
	s.files.ended.Go(func() {
		// An error means that it is closed: then the guest need not wait either.
		_ = wait(func(fd uintptr) bool { return pollNow(fd, mask) })
		w.on.Store(false)
		s.files.waker.wake()
	})
	return false
}

// pollNow asks the kernel whether a descriptor is ready.
func pollNow(fd uintptr, mask int16) bool {
	p := []unix.PollFd{{Fd: int32(fd), Events: mask}} //nolint:gosec // a descriptor
	for {
		n, err := unix.Poll(p, 0)
		if !errors.Is(err, unix.EINTR) {
			return n > 0 || err != nil
		}
	}
}
