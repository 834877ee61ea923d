package wasmrt

import (
	"errors"
	"net"
	"os"
	"sync/atomic"
	"time"

	"github.com/tetratelabs/wazero/sys"
)

// socket is what listeners and connections have in common.
type socket struct{ nonblock bool }

func (socket) kind() byte { return kindSocket }

func (s socket) flags() uint16 {
	if s.nonblock {
		return flagNonblock
	}
	return 0
}

func (s *socket) setFlags(flags uint16) errno {
	if flags&^flagNonblock != 0 {
		return errnoInval
	}
	s.nonblock = flags&flagNonblock != 0
	return success
}

func (socket) stat() (sys.Stat_t, errno) { return sys.Stat_t{}, success }

// listener accepts connections for a guest, one ahead while the guest asks for
// one. It belongs to the caller of the engine, and goes on after the guest.
type listener struct {
	socket
	files   *files
	l       net.Listener
	next    chan accepted // what is being accepted; nil when nothing is
	pending *accepted     // what came
	closing atomic.Bool
}

type accepted struct {
	c   net.Conn
	err error
}

// deadliner can be told to stop accepting without being closed.
type deadliner interface{ SetDeadline(t time.Time) error }

// listen makes the descriptor of a listener.
func (f *files) listen(l net.Listener) (*listener, error) {
	if _, ok := l.(deadliner); !ok {
		return nil, failf(ReasonBadConfig, "a guest cannot use a %T as listener: it has no SetDeadline, so it could not be taken back", l)
	}
	return &listener{files: f, l: l}, nil
}

func (*listener) rights() uint64 {
	return rightRead | rightSetFlags | rightStat | rightPoll | rightAccept
}

func (*listener) read(wasiCall, []byte) (int, errno)  { return 0, errnoNotconn }
func (*listener) write(wasiCall, []byte) (int, errno) { return 0, errnoNotconn }

// ready starts to accept if nothing is being accepted.
func (l *listener) ready(event byte) bool {
	if l.pending != nil || event == eventFdWrite {
		return true
	}
	if l.next == nil {
		next := make(chan accepted, 1)
		l.next = next
		l.files.ended.Go(func() {
			c, err := l.l.Accept()
			for errors.Is(err, os.ErrDeadlineExceeded) && !l.closing.Load() {
				c, err = l.l.Accept() // another guest left the listener
			}
			next <- accepted{c, err}
			l.files.waker.wake()
		})
	}
	select {
	case got := <-l.next:
		l.pending, l.next = &got, nil
		return true
	default:
		return false
	}
}

// accept returns the next connection.
func (l *listener) accept(c wasiCall) (*conn, errno) {
	for !l.ready(eventFdRead) {
		if l.nonblock {
			return nil, errnoAgain
		}
		c.wait()
	}
	got := l.pending
	l.pending = nil
	if got.err != nil {
		return nil, errnoOf(got.err)
	}
	accepted, err := l.files.connect(got.c)
	if err != nil {
		return nil, errnoNotsup
	}
	return accepted, success
}

// close takes the listener back from the goroutine that accepts, so that the
// next guest gets the next connection.
func (l *listener) close() error {
	if l.next != nil {
		got := l.interrupt()
		l.pending, l.next = &got, nil
	}
	if l.pending != nil && l.pending.c != nil {
		return l.pending.c.Close()
	}
	return nil
}

// interrupt returns what was being accepted, or that nothing was. Another guest
// on the same listener may undo the deadline: then it is set again.
func (l *listener) interrupt() accepted {
	l.closing.Store(true)
	d := l.l.(deadliner) //nolint:forcetypeassert // see listen
	again := time.NewTicker(time.Millisecond)
	defer again.Stop()
	for {
		if err := d.SetDeadline(time.Unix(1, 0)); err != nil {
			_ = l.l.Close() // it is of no use to anyone
		}
		select {
		case got := <-l.next:
			_ = d.SetDeadline(time.Time{}) // if it is closed, it is
			return got
		case <-again.C:
		}
	}
}

// errnoOfSocket tells the guest of a closed connection as the kernel would.
func errnoOfSocket(err error) errno {
	if errors.Is(err, net.ErrClosed) || errors.Is(err, os.ErrClosed) {
		return errnoConnreset
	}
	return errnoOf(err)
}
