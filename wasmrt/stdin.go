package wasmrt

import (
	"bytes"
	"io"
	"strings"
)

// input is a guest's standard input. A reader that may block is read on a
// goroutine of its own, so that a stopped guest does not hang on it; such a
// read ends when the reader gives something or is closed. Only the guest's
// goroutine uses an input.
type input struct {
	direct  io.Reader // never blocks, or is unblocked by other means
	r       io.Reader
	stopped <-chan struct{} // closed when the run is to end
	block   func()          // called around waiting
	resume  func()

	have []byte
	err  error
	buf  []byte
	next *arrival // the read under way
}

// arrival is the outcome of one read.
type arrival struct {
	done chan struct{}
	n    int
	err  error
}

// unblocker marks readers that their owner unblocks when the run is stopped.
type unblocker interface{ unblocksOnStop() }

func newInput(r io.Reader) *input {
	switch r := r.(type) {
	case nil:
		return &input{direct: strings.NewReader("")}
	case *bytes.Reader, *strings.Reader, *bytes.Buffer, unblocker:
		return &input{direct: r}
	}
	return &input{r: r}
}

// arrival starts a read if there is none. It is closed when there is
// something to take, an end of file included.
func (i *input) arrival() <-chan struct{} {
	if i.next == nil {
		if i.buf == nil {
			i.buf = make([]byte, 32<<10)
		}
		next := &arrival{done: make(chan struct{})}
		i.next = next
		go func() {
			next.n, next.err = i.r.Read(i.buf)
			close(next.done)
		}()
	}
	return i.next.done
}

// take keeps the outcome of an arrived read.
func (i *input) take() {
	i.have, i.err = i.buf[:i.next.n], i.next.err
	i.next = nil
}

// ready tells whether a read would return at once.
func (i *input) ready() bool {
	if i.direct != nil || len(i.have) > 0 || i.err != nil {
		return true
	}
	select {
	case <-i.arrival():
		i.take()
		return true
	default:
		return false
	}
}

// Read implements io.Reader for the guest's fd_read.
func (i *input) Read(p []byte) (int, error) {
	if i.direct != nil {
		return i.direct.Read(p)
	}
	for len(i.have) == 0 {
		if i.err != nil {
			return 0, i.err
		}
		arrival := i.arrival()
		i.block()
		select {
		case <-arrival:
			i.resume()
			i.take()
		case <-i.stopped:
			i.resume()
			interrupt()
		}
	}
	n := copy(p, i.have)
	i.have = i.have[n:]
	return n, nil
}
