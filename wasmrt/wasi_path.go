package wasmrt

import (
	"path"
	"path/filepath"
	"strings"
)

// Flags of path_open and of look-ups.
const (
	openCreate    = 1 << 0
	openDirectory = 1 << 1
	openExclusive = 1 << 2
	openTruncate  = 1 << 3

	lookupFollow = 1 << 0
)

// dir is the directory of a descriptor that a parameter names.
func (c wasiCall) dir(n int) (*directory, errno) {
	d, e := c.files.get(c.u32(n))
	if e != success {
		return nil, e
	}
	dir, ok := d.(*directory)
	if !ok {
		return nil, errnoNotdir
	}
	return dir, success
}

// at is a directory and a path below it, from three parameters.
func (c wasiCall) at(fd, name int) (*directory, string, errno) {
	d, e := c.dir(fd)
	if e != success {
		return nil, "", e
	}
	p, e := c.path(name)
	return d, p, e
}

// change is at where something will be changed.
func (c wasiCall) change(fd, name int) (*directory, string, errno) {
	d, p, e := c.at(fd, name)
	if e == success && !d.writable {
		return nil, "", errnoRofs
	}
	return d, p, e
}

func pathCreateDirectory(c wasiCall) errno {
	d, name, e := c.change(0, 1)
	if e != success {
		return e
	}
	return errnoOf(d.root.Mkdir(name, 0o755))
}

func pathFilestatGet(c wasiCall) errno {
	d, name, e := c.at(0, 2)
	if e != success {
		return e
	}
	st, e := d.statAt(name, c.u32(1)&lookupFollow != 0)
	if e != success {
		return e
	}
	return c.putFilestat(4, st, kindOf(st.Mode))
}

func pathFilestatSetTimes(c wasiCall) errno {
	d, name, e := c.change(0, 2)
	if e != success {
		return e
	}
	atime, mtime, e := c.times(4)
	if e != success {
		return e
	}
	if c.u32(1)&lookupFollow == 0 {
		st, e := d.statAt(name, false)
		if e != success {
			return e
		}
		if kindOf(st.Mode) == kindSymlink {
			return d.setLinkTimes(name, atime, mtime)
		}
	}
	return d.setTimes(name, atime, mtime)
}

// pathLink needs both ends writable: through a second name, what may only be
// read could be written.
func pathLink(c wasiCall) errno {
	from, old, e := c.change(0, 2)
	if e != success {
		return e
	}
	to, name, e := c.change(4, 5)
	if e != success {
		return e
	}
	switch {
	case c.u32(1)&lookupFollow != 0:
		return errnoInval // as others do
	case endsInSlash(old) || endsInSlash(name):
		return errnoNoent // that would be a directory, which has one name only
	}
	return from.link(old, to, name)
}

func pathOpen(c wasiCall) errno {
	d, name, e := c.at(0, 2)
	if e != success {
		return e
	}
	o := opening{
		follow: c.u32(1)&lookupFollow != 0,
		flags:  c.u32(4),
		read:   c.u64(5)&rightRead != 0,
		write:  c.u64(5)&rightWrite != 0,
		status: uint16(c.u32(7)), //nolint:gosec // the upper half has no meaning
	}
	if _, ok := c.memory.Read(c.u32(8), 4); !ok {
		return errnoFault
	}
	if c.files.full() {
		return errnoMfile
	}
	opened, e := d.open(name, o)
	if e != success {
		return e
	}
	return c.put32(8, c.files.add(opened))
}

func pathReadlink(c wasiCall) errno {
	d, name, e := c.at(0, 1)
	if e != success {
		return e
	}
	b, e := c.view(3)
	if e != success {
		return e
	}
	to, err := d.root.Readlink(name)
	if err != nil {
		return errnoOf(err)
	}
	return c.put32(5, uint32(copy(b, to))) //nolint:gosec // at most the buffer's length
}

func pathRemoveDirectory(c wasiCall) errno {
	d, name, e := c.change(0, 1)
	if e != success {
		return e
	}
	return d.remove(name, true)
}

func pathUnlinkFile(c wasiCall) errno {
	d, name, e := c.change(0, 1)
	if e != success {
		return e
	}
	return d.remove(name, false)
}

func pathRename(c wasiCall) errno {
	from, old, e := c.change(0, 1)
	if e != success {
		return e
	}
	to, name, e := c.change(3, 4)
	if e != success {
		return e
	}
	if endsInSlash(old) || endsInSlash(name) {
		st, e := from.statAt(strings.TrimRight(old, "/"), false)
		if e != success {
			return e
		}
		if !st.Mode.IsDir() {
			return errnoNotdir
		}
	}
	return from.rename(old, to, name)
}

func endsInSlash(name string) bool { return strings.HasSuffix(name, "/") }

// pathSymlink makes no link that points out of the directory it is made in.
// The guest could not follow it, but others who read the directory might.
func pathSymlink(c wasiCall) errno {
	target, e := c.path(0)
	if e != success {
		return e
	}
	d, name, e := c.change(2, 3)
	if e != success {
		return e
	}
	if path.IsAbs(target) || !filepath.IsLocal(path.Join(path.Dir(name), target)) {
		return errnoPerm
	}
	return errnoOf(d.root.Symlink(target, name))
}
