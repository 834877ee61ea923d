package wasmrt

import (
	"io"
	"io/fs"
	"time"

	"github.com/tetratelabs/wazero/sys"
)

// Sizes of what preview 1 stores for a descriptor, and flags of times.
const (
	fdstatSize   = 24
	filestatSize = 64
	direntSize   = 24

	setAtime    = 1 << 0
	setAtimeNow = 1 << 1
	setMtime    = 1 << 2
	setMtimeNow = 1 << 3
)

// fd is the descriptor that the first parameter names.
func (c wasiCall) fd() (descriptor, errno) { return c.files.get(c.u32(0)) }

// file is fd where only a regular file will do.
func (c wasiCall) file() (*regular, errno) {
	d, e := c.fd()
	if e != success {
		return nil, e
	}
	switch d := d.(type) {
	case *regular:
		return d, success
	case *directory:
		return nil, errnoIsdir
	}
	return nil, errnoSpipe
}

func fdAdvise(c wasiCall) errno {
	const most = 5 // noreuse
	if _, e := c.fd(); e != success {
		return e
	}
	if c.u32(3) > most {
		return errnoInval
	}
	return success // only advice
}

func fdAllocate(c wasiCall) errno {
	f, e := c.file()
	if e != success {
		return e
	}
	at, e := c.offset(1)
	if e != success {
		return e
	}
	n, e := c.offset(2)
	if e != success || at+n < at {
		return errnoInval
	}
	return f.grow(at + n)
}

func fdClose(c wasiCall) errno { return c.files.remove(c.u32(0)) }

func fdSync(c wasiCall) errno {
	d, e := c.fd()
	if e != success {
		return e
	}
	switch d := d.(type) {
	case *regular:
		return d.sync(c)
	case *directory:
		return success
	}
	return errnoInval
}

func fdFdstatGet(c wasiCall) errno {
	d, e := c.fd()
	if e != success {
		return e
	}
	b, e := c.viewAt(c.u32(1), fdstatSize)
	if e != success {
		return e
	}
	clear(b)
	b[0] = d.kind()
	le.PutUint16(b[2:], d.flags())
	le.PutUint64(b[8:], d.rights())
	le.PutUint64(b[16:], d.rights())
	if dir, ok := d.(*directory); ok {
		le.PutUint64(b[16:], dir.inheriting())
	}
	return success
}

func fdFdstatSetFlags(c wasiCall) errno {
	d, e := c.fd()
	if e != success {
		return e
	}
	return d.setFlags(uint16(c.u32(1))) //nolint:gosec // the upper half has no meaning
}

// fdFdstatSetRights refuses more rights than there are. Fewer are accepted and
// not kept: other runtimes have given rights up, and no compiler uses them.
func fdFdstatSetRights(c wasiCall) errno {
	d, e := c.fd()
	if e != success {
		return e
	}
	if c.u64(1)&^d.rights() != 0 {
		return errnoPerm
	}
	return success
}

func fdFilestatGet(c wasiCall) errno {
	d, e := c.fd()
	if e != success {
		return e
	}
	st, e := d.stat()
	if e != success {
		return e
	}
	return c.putFilestat(1, st, d.kind())
}

// putFilestat stores a filestat where a parameter says.
func (c wasiCall) putFilestat(n int, st sys.Stat_t, kind byte) errno {
	b, e := c.viewAt(c.u32(n), filestatSize)
	if e != success {
		return e
	}
	clear(b)
	le.PutUint64(b, st.Dev)
	le.PutUint64(b[8:], st.Ino)
	b[16] = kind
	le.PutUint64(b[24:], max(st.Nlink, 1))
	le.PutUint64(b[32:], uint64(st.Size)) //nolint:gosec // not negative
	le.PutUint64(b[40:], uint64(st.Atim)) //nolint:gosec // bits
	le.PutUint64(b[48:], uint64(st.Mtim)) //nolint:gosec // bits
	le.PutUint64(b[56:], uint64(st.Ctim)) //nolint:gosec // bits
	return success
}

func kindOf(m fs.FileMode) byte {
	const unknown = 0
	switch {
	case m.IsRegular():
		return kindFile
	case m.IsDir():
		return kindDirectory
	case m&fs.ModeSymlink != 0:
		return kindSymlink
	}
	return unknown
}

func fdFilestatSetSize(c wasiCall) errno {
	f, e := c.file()
	if e != success {
		return e
	}
	size, e := c.offset(1)
	if e != success {
		return e
	}
	return f.truncate(size)
}

func fdFilestatSetTimes(c wasiCall) errno {
	d, e := c.fd()
	if e != success {
		return e
	}
	atime, mtime, e := c.times(1)
	if e != success {
		return e
	}
	switch d := d.(type) {
	case *regular:
		return d.setTimes(atime, mtime)
	case *directory:
		return d.setTimes(".", atime, mtime)
	}
	return errnoInval
}

// times are the access and modification time that three parameters say; the
// zero time leaves one as it is.
func (c wasiCall) times(n int) (atime, mtime time.Time, e errno) {
	flags := c.u32(n + 2)
	const both, bothM = setAtime | setAtimeNow, setMtime | setMtimeNow
	if flags&both == both || flags&bothM == bothM || flags > 15 {
		return atime, mtime, errnoInval
	}
	of := func(v uint64, set, now uint32) time.Time {
		switch {
		case flags&set != 0:
			return time.Unix(0, int64(v)) //nolint:gosec // bits
		case flags&now != 0:
			return c.instance.wall()
		}
		return time.Time{}
	}
	return of(c.u64(n), setAtime, setAtimeNow), of(c.u64(n+1), setMtime, setMtimeNow), success
}

func fdRead(c wasiCall) errno {
	d, e := c.fd()
	if e != success {
		return e
	}
	n, e := c.readInto(1, d)
	if e != success {
		return e
	}
	return c.put32(3, n)
}

// readInto fills a list of buffers, and waits for the first only.
func (c wasiCall) readInto(n int, d descriptor) (uint32, errno) {
	first := true
	return c.vectors(n, func(p []byte) (int, errno) {
		if !first && !d.ready(eventFdRead) {
			return 0, success
		}
		first = false
		return d.read(c, p)
	})
}

func fdPread(c wasiCall) errno {
	f, e := c.file()
	if e != success {
		return e
	}
	at, e := c.offset(3)
	if e != success {
		return e
	}
	n, e := c.vectors(1, func(p []byte) (int, errno) {
		n, e := f.readAt(p, at)
		at += int64(n)
		return n, e
	})
	if e != success {
		return e
	}
	return c.put32(4, n)
}

func fdWrite(c wasiCall) errno {
	d, e := c.fd()
	if e != success {
		return e
	}
	n, e := c.vectors(1, func(p []byte) (int, errno) { return d.write(c, p) })
	if e != success {
		return e
	}
	return c.put32(3, n)
}

func fdPwrite(c wasiCall) errno {
	f, e := c.file()
	if e != success {
		return e
	}
	at, e := c.offset(3)
	if e != success {
		return e
	}
	n, e := c.vectors(1, func(p []byte) (int, errno) {
		n, e := f.writeAt(p, at)
		at += int64(n)
		return n, e
	})
	if e != success {
		return e
	}
	return c.put32(4, n)
}

// prestat is the mount of a descriptor. Listeners come before the mounts, so a
// guest that looks for mounts must not stop at them: they are preopened, but no
// directories.
func (c wasiCall) prestat() (name string, directories bool, e errno) {
	d, e := c.fd()
	if e != success {
		return "", false, e
	}
	switch d := d.(type) {
	case *directory:
		if d.mount != "" {
			return d.mount, true, success
		}
	case *listener:
		return "", false, success
	}
	return "", false, errnoBadf
}

func fdPrestatGet(c wasiCall) errno {
	name, isDir, e := c.prestat()
	if e != success {
		return e
	}
	const notDirectory = 1
	v := uint64(len(name)) << 32
	if !isDir {
		v = notDirectory
	}
	return c.put64(1, v)
}

func fdPrestatDirName(c wasiCall) errno {
	name, isDir, e := c.prestat()
	switch {
	case e != success:
		return e
	case !isDir:
		return errnoNotdir
	case uint64(c.u32(2)) < uint64(len(name)):
		return errnoNametoolong
	case !c.memory.WriteString(c.u32(1), name):
		return errnoFault
	}
	return success
}

func fdReaddir(c wasiCall) errno {
	d, e := c.fd()
	if e != success {
		return e
	}
	dir, ok := d.(*directory)
	if !ok {
		return errnoNotdir
	}
	b, e := c.view(1)
	if e != success {
		return e
	}
	n, e := dir.list(c, b, c.u64(3))
	if e != success {
		return e
	}
	return c.put32(4, n)
}

func fdRenumber(c wasiCall) errno { return c.files.renumber(c.u32(0), c.u32(1)) }

func fdSeek(c wasiCall) errno {
	f, e := c.file()
	if e != success {
		return e
	}
	if c.u32(2) > io.SeekEnd {
		return errnoInval
	}
	at, e := f.seek(int64(c.u64(1)), int(c.u32(2))) //nolint:gosec // a signed offset
	if e != success {
		return e
	}
	return c.put64(3, uint64(at)) //nolint:gosec // not negative
}

func fdTell(c wasiCall) errno {
	f, e := c.file()
	if e != success {
		return e
	}
	at, e := f.seek(0, io.SeekCurrent)
	if e != success {
		return e
	}
	return c.put64(1, uint64(at)) //nolint:gosec // not negative
}
