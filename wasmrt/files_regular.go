package wasmrt

import (
	"errors"
	"io"
	"os"
	"time"

	"github.com/tetratelabs/wazero/sys"
)

// regular is an open file. The disk may be slow, so the CPU goes to others
// while it is used.
type regular struct {
	f                 *os.File
	writable          bool // the mount is
	canRead, canWrite bool // by how it was opened
	status            uint16
}

func (*regular) kind() byte      { return kindFile }
func (r *regular) flags() uint16 { return r.status }
func (*regular) ready(byte) bool { return true }
func (r *regular) close() error  { return r.f.Close() }

func (r *regular) rights() uint64 {
	rights := uint64(rightsOfReadFiles)
	if !r.canRead {
		rights &^= rightRead
	}
	if r.canWrite {
		rights |= rightsOfWriteFiles
	}
	return rights
}

// setFlags can change what appends; a file never blocks anyway.
func (r *regular) setFlags(flags uint16) errno {
	if flags&^(flagAppend|flagNonblock|flagSync|flagDsync|flagRsync) != 0 {
		return errnoInval
	}
	flags &= flagAppend | flagNonblock
	if err := setAppend(r.f, flags&flagAppend != 0); err != nil {
		return errnoOf(err)
	}
	r.status = flags
	return success
}

func (r *regular) stat() (sys.Stat_t, errno) {
	info, err := r.f.Stat()
	if err != nil {
		return sys.Stat_t{}, errnoOf(err)
	}
	return sys.NewStat_t(info), success
}

// transfer reads or writes while others compute.
func (r *regular) transfer(c wasiCall, allowed bool, do func() (int, error)) (int, errno) {
	if !allowed {
		return 0, errnoBadf
	}
	c.instance.block()
	n, err := do()
	c.instance.unblock()
	if n > 0 || errors.Is(err, io.EOF) {
		return n, success
	}
	return 0, errnoOf(err)
}

func (r *regular) read(c wasiCall, p []byte) (int, errno) {
	return r.transfer(c, r.canRead, func() (int, error) { return r.f.Read(p) })
}

func (r *regular) readAt(c wasiCall, p []byte, at int64) (int, errno) {
	return r.transfer(c, r.canRead, func() (int, error) { return r.f.ReadAt(p, at) })
}

func (r *regular) write(c wasiCall, p []byte) (int, errno) {
	return r.transfer(c, r.canWrite, func() (int, error) { return r.f.Write(p) })
}

func (r *regular) writeAt(c wasiCall, p []byte, at int64) (int, errno) {
	return r.transfer(c, r.canWrite, func() (int, error) { return r.f.WriteAt(p, at) })
}

func (r *regular) seek(offset int64, whence int) (int64, errno) {
	at, err := r.f.Seek(offset, whence)
	return at, errnoOf(err)
}

func (r *regular) sync(c wasiCall) errno {
	_, e := r.transfer(c, true, func() (int, error) { return 0, r.f.Sync() })
	return e
}

func (r *regular) truncate(c wasiCall, size int64) errno {
	_, e := r.transfer(c, r.canWrite, func() (int, error) { return 0, r.f.Truncate(size) })
	return e
}

// grow makes the file at least so long.
func (r *regular) grow(c wasiCall, size int64) errno {
	st, e := r.stat()
	if e != success {
		return e
	}
	if st.Size >= size {
		return success
	}
	return r.truncate(c, size)
}

func (r *regular) setTimes(c wasiCall, atime, mtime time.Time) errno {
	if !r.writable {
		return errnoRofs
	}
	_, e := r.transfer(c, true, func() (int, error) { return 0, setTimes(r.f, atime, mtime) })
	return e
}
