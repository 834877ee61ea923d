package wasmrt

import (
	"bytes"
	"errors"
	"io"
	"net/http"
	"strings"

	"github.com/tetratelabs/wazero/sys"
)

// stream is what the standard streams have in common.
type stream struct{}

func (stream) kind() byte                          { return kindDevice }
func (stream) flags() uint16                       { return 0 }
func (stream) setFlags(uint16) errno               { return success } // to the guest, blocking and not are the same
func (stream) stat() (sys.Stat_t, errno)           { return sys.Stat_t{}, success }
func (stream) close() error                        { return nil }
func (stream) read(wasiCall, []byte) (int, errno)  { return 0, errnoBadf }
func (stream) write(wasiCall, []byte) (int, errno) { return 0, errnoBadf }
func (stream) ready(byte) bool                     { return true }

// output is a guest's standard output or error.
type output struct {
	stream
	w io.Writer // nil discards
}

func (*output) rights() uint64 { return rightWrite | rightSetFlags | rightStat | rightPoll }

// write gives the CPU to others meanwhile, as a writer may wait.
func (o *output) write(c wasiCall, p []byte) (int, errno) {
	switch w := o.w.(type) {
	case nil:
		return len(p), success
	case *bytes.Buffer:
		n, _ := w.Write(p) // never fails
		return n, success
	}
	c.instance.block()
	n, err := o.w.Write(p)
	c.instance.unblock()
	if err != nil {
		return 0, errnoIo
	}
	return n, success
}

// input is a guest's standard input. A reader that may block is read on a
// goroutine of its own, so that a stopped guest does not hang on it; such a
// read ends when the reader gives something or is closed.
type input struct {
	stream
	direct io.Reader // never blocks, or is unblocked by other means
	r      io.Reader
	waker  waker

	have []byte
	err  error
	buf  []byte
	next chan arrival // the read under way
}

// arrival is the outcome of one read.
type arrival struct {
	n   int
	err error
}

// unblocker marks readers that their owner unblocks when the run is stopped.
type unblocker interface{ unblocksOnStop() }

// noInput is at its end, and so has no state: all guests share it.
var noInput = &input{direct: http.NoBody} //nolint:gochecknoglobals // never written

func newInput(r io.Reader, w waker) *input {
	switch r := r.(type) {
	case nil:
		return noInput
	case *bytes.Reader, *strings.Reader, *bytes.Buffer, unblocker:
		return &input{direct: r}
	}
	return &input{r: r, waker: w}
}

func (*input) rights() uint64 { return rightRead | rightSetFlags | rightStat | rightPoll }

// ready starts a read if there is none.
func (i *input) ready(event byte) bool {
	if event == eventFdWrite || i.direct != nil || len(i.have) > 0 || i.err != nil {
		return true
	}
	if i.next == nil {
		i.fetch()
	}
	select {
	case got := <-i.next:
		i.have, i.err, i.next = i.buf[:got.n], got.err, nil
		return true
	default:
		return false
	}
}

func (i *input) fetch() {
	if i.buf == nil {
		i.buf = make([]byte, 32<<10)
	}
	next := make(chan arrival, 1)
	i.next = next
	go func() {
		n, err := i.r.Read(i.buf)
		next <- arrival{n, err}
		i.waker.wake()
	}()
}

func (i *input) read(c wasiCall, p []byte) (int, errno) {
	if i.direct != nil {
		c.instance.block()
		n, err := i.direct.Read(p)
		c.instance.unblock()
		return n, errnoOfRead(err)
	}
	for len(i.have) == 0 {
		if i.err != nil {
			return 0, errnoOfRead(i.err)
		}
		if !i.ready(eventFdRead) {
			c.wait()
		}
	}
	n := copy(p, i.have)
	i.have = i.have[n:]
	return n, success
}

// errnoOfRead takes the end for no error.
func errnoOfRead(err error) errno {
	if err == nil || errors.Is(err, io.EOF) {
		return success
	}
	return errnoOf(err)
}
