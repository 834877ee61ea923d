package wasmrt

import (
	"errors"
	"fmt"
	"slices"
	"sync"

	"github.com/tetratelabs/wazero/sys"
)

// descriptor is what a number of the guest's stands for. Only the guest's
// goroutine uses it.
type descriptor interface {
	kind() byte     // the file type of preview 1
	rights() uint64 // what can be done with it
	flags() uint16  // fdflags
	setFlags(flags uint16) errno
	stat() (sys.Stat_t, errno)
	read(c wasiCall, p []byte) (int, errno)
	write(c wasiCall, p []byte) (int, errno)
	// ready tells whether a read (or a write) would not wait; if it would, the
	// files' waker is called once it may not wait any more.
	ready(event byte) bool
	close() error
}

// Preview 1's file types, fdflags and rights.
const (
	kindDevice    = 1
	kindDirectory = 3
	kindFile      = 4
	kindSocket    = 6
	kindSymlink   = 7

	flagAppend   = 1 << 0
	flagDsync    = 1 << 1
	flagNonblock = 1 << 2
	flagRsync    = 1 << 3
	flagSync     = 1 << 4
	flagsSync    = flagDsync | flagRsync | flagSync

	rightDatasync      = 1 << 0
	rightRead          = 1 << 1
	rightSeek          = 1 << 2
	rightSetFlags      = 1 << 3
	rightSync          = 1 << 4
	rightTell          = 1 << 5
	rightWrite         = 1 << 6
	rightAdvise        = 1 << 7
	rightAllocate      = 1 << 8
	rightsWriteInDir   = 1<<9 | 1<<10 | 1<<11 | 1<<12 | 1<<16 | 1<<17 | 1<<19 | 1<<20 | 1<<24 | 1<<25 | 1<<26
	rightsReadInDir    = 1<<13 | 1<<14 | 1<<15 | 1<<18
	rightStat          = 1 << 21
	rightSetSize       = 1 << 22
	rightSetTimes      = 1 << 23
	rightPoll          = 1 << 27
	rightShutdown      = 1 << 28
	rightAccept        = 1 << 29
	rightsOfReadFiles  = rightDatasync | rightRead | rightSeek | rightSetFlags | rightSync | rightTell | rightAdvise | rightStat | rightPoll
	rightsOfWriteFiles = rightWrite | rightAllocate | rightSetSize | rightSetTimes
)

// files are the descriptors of one guest.
type files struct {
	table  []descriptor // nil is free
	open   int          // of those that the guest opened
	limit  int
	notify func(reason, message string) // called when the limit refuses one
	waker  waker
	subs   []subscription // of the last poll, to be used again
	ended  sync.WaitGroup // goroutines that wait for descriptors
}

// waker wakes the guest's goroutine, which looks then what is ready. One wake
// is kept while nobody waits.
type waker chan struct{}

func (w waker) wake() {
	select {
	case w <- struct{}{}:
	default:
	}
}

// openFiles gives a guest its streams, listeners and mounts, in this order from
// descriptor 0 on. The result is to be closed even when there is an error.
func openFiles(i *Instance, c Config) (*files, error) {
	limits := c.Limits
	limits.setDefaults()
	f := &files{limit: int(limits.Files), notify: i.notify, waker: make(waker, 1)}
	f.table = append(f.table, newInput(c.Stdin, f.waker), &output{w: c.Stdout}, &output{w: c.Stderr})
	for _, l := range c.Listeners {
		d, err := f.listen(l)
		if err != nil {
			return f, err
		}
		f.table = append(f.table, d)
	}
	for _, m := range c.Mounts {
		d, err := m.open()
		if err != nil {
			return f, &Error{Reason: ReasonBadConfig, Message: fmt.Sprintf("%s cannot be mounted", m.Host), Err: err}
		}
		f.table = append(f.table, d)
	}
	return f, nil
}

// get returns the descriptor of a number.
func (f *files) get(fd uint32) (descriptor, errno) {
	if uint64(fd) >= uint64(len(f.table)) || f.table[fd] == nil {
		return nil, errnoBadf
	}
	return f.table[fd], success
}

// full tells whether the guest may open nothing more.
func (f *files) full() bool {
	if f.open < f.limit {
		return false
	}
	f.notify(NoticeFileLimit, fmt.Sprintf("it has %d files and connections open, which is its limit", f.open))
	return true
}

// add gives a descriptor the lowest free number. The caller has asked full.
func (f *files) add(d descriptor) uint32 {
	f.open++
	n := slices.Index(f.table, nil)
	if n < 0 {
		n = len(f.table)
		f.table = append(f.table, nil)
	}
	f.table[n] = d
	return uint32(n) //nolint:gosec // bounded by the limit
}

// remove closes a descriptor and frees its number.
func (f *files) remove(fd uint32) errno {
	d, e := f.get(fd)
	if e != success {
		return e
	}
	f.table[fd] = nil
	f.open = max(f.open-1, 0)
	return errnoOf(d.close())
}

// renumber moves a descriptor to the number of another, which is closed.
func (f *files) renumber(from, to uint32) errno {
	d, e := f.get(from)
	if e != success {
		return e
	}
	old, e := f.get(to)
	switch {
	case e != success:
		return e
	case from == to:
		return success
	}
	f.table[to], f.table[from] = d, nil
	f.open = max(f.open-1, 0)
	return errnoOf(old.close())
}

// opened names what the guest holds beside what it was given, "" for nothing.
func (f *files) opened() string {
	for fd, d := range f.table {
		switch d := d.(type) {
		case *regular:
			return fmt.Sprintf("an open file (descriptor %d)", fd)
		case *directory:
			if d.mount == "" {
				return fmt.Sprintf("an open directory (descriptor %d)", fd)
			}
		case *conn:
			return fmt.Sprintf("a connection (descriptor %d)", fd)
		}
	}
	return ""
}

// close closes all, and returns when nothing of them goes on.
func (f *files) close() error {
	if f == nil {
		return nil
	}
	var errs []error
	for _, d := range f.table {
		if d != nil {
			errs = append(errs, d.close())
		}
	}
	f.table = nil
	f.ended.Wait()
	return errors.Join(errs...)
}

// wait returns after a wake. It ends the guest when that is stopped.
func (c wasiCall) wait() {
	c.instance.block()
	select {
	case <-c.files.waker:
	case <-c.ctx.Done():
	}
	c.instance.unblock()
	c.goOn()
}
