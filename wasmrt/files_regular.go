package wasmrt

import (
	"errors"
	"io"
	"os"
	"time"

	"github.com/tetratelabs/wazero/sys"
)

// regular is an open file.
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

// setFlags can change what appends, and a file never blocks anyway; how far
// writes go is said when it is opened.
func (r *regular) setFlags(flags uint16) errno {
	if flags&^(flagAppend|flagNonblock|flagsSync) != 0 {
		return errnoInval
	}
	if err := setAppend(r.f, flags&flagAppend != 0); err != nil {
		return errnoOf(err)
	}
	r.status = flags&^flagsSync | r.status&flagsSync
	return success
}

func (r *regular) stat() (sys.Stat_t, errno) {
	info, err := r.f.Stat()
	if err != nil {
		return sys.Stat_t{}, errnoOf(err)
	}
	return sys.NewStat_t(info), success
}

// transfer reads or writes. It mostly takes less time than it would take to
// give the CPU to others; when the disk is slow, they get it after a while.
func transfer(allowed bool, do func([]byte) (int, error), p []byte) (int, errno) {
	if !allowed {
		return 0, errnoBadf
	}
	n, err := do(p)
	if n > 0 || errors.Is(err, io.EOF) {
		return n, success
	}
	return 0, errnoOf(err)
}

func (r *regular) read(_ wasiCall, p []byte) (int, errno) {
	return transfer(r.canRead, r.f.Read, p)
}

func (r *regular) write(_ wasiCall, p []byte) (int, errno) {
	return transfer(r.canWrite, r.f.Write, p)
}

func (r *regular) readAt(p []byte, at int64) (int, errno) {
	return transfer(r.canRead, func(p []byte) (int, error) { return r.f.ReadAt(p, at) }, p)
}

func (r *regular) writeAt(p []byte, at int64) (int, errno) {
	return transfer(r.canWrite, func(p []byte) (int, error) { return r.f.WriteAt(p, at) }, p)
}

func (r *regular) seek(offset int64, whence int) (int64, errno) {
	at, err := r.f.Seek(offset, whence)
	return at, errnoOf(err)
}

// sync takes long on all disks.
func (r *regular) sync(c wasiCall) errno {
	c.instance.block()
	err := r.f.Sync()
	c.instance.unblock()
	return errnoOf(err)
}

func (r *regular) truncate(size int64) errno {
	if !r.canWrite {
		return errnoBadf
	}
	return errnoOf(r.f.Truncate(size))
}

// grow makes the file at least so long.
func (r *regular) grow(size int64) errno {
	st, e := r.stat()
	if e != success {
		return e
	}
	if st.Size >= size {
		return success
	}
	return r.truncate(size)
}

func (r *regular) setTimes(atime, mtime time.Time) errno {
	if !r.writable {
		return errnoRofs
	}
	return errnoOf(setTimes(r.f, atime, mtime))
}
