package wasmrt

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"time"

	"github.com/tetratelabs/wazero/sys"
)

// directory is an open directory. All its paths are looked up by os.Root, which
// follows nothing out of it. What is opened through it is checked to be a file or
// a directory.
type directory struct {
	root     *os.Root
	mount    string // the guest's path of a mount, "" of other directories
	writable bool
	entries  listing
}

func (*directory) kind() byte    { return kindDirectory }
func (*directory) flags() uint16 { return 0 }

func (d *directory) rights() uint64 {
	const always = rightsReadInDir | rightStat | rightDatasync | rightSync | rightSetFlags
	if d.writable {
		return always | rightsWriteInDir | rightSetTimes
	}
	return always
}

// inheriting are the rights to ask for when something in it is opened. Those
// to write are always among them: C programs do not ask for others, and would learn
// that they cannot write only when they do.
func (d *directory) inheriting() uint64 {
	return d.rights() | rightsOfReadFiles | rightsOfWriteFiles
}

func (*directory) setFlags(uint16) errno               { return errnoIsdir }
func (*directory) read(wasiCall, []byte) (int, errno)  { return 0, errnoIsdir }
func (*directory) write(wasiCall, []byte) (int, errno) { return 0, errnoBadf }
func (*directory) ready(byte) bool                     { return true }
func (d *directory) stat() (sys.Stat_t, errno)         { return d.statAt(".", true) }

func (d *directory) close() error { return errors.Join(d.entries.close(), d.root.Close()) }

func (d *directory) statAt(name string, follow bool) (sys.Stat_t, errno) {
	look := d.root.Lstat
	if follow {
		look = d.root.Stat
	}
	info, err := look(name)
	if err != nil {
		return sys.Stat_t{}, errnoOf(err)
	}
	return sys.NewStat_t(info), success
}

func (d *directory) setTimes(name string, atime, mtime time.Time) errno {
	if !d.writable {
		return errnoRofs
	}
	return errnoOf(d.root.Chtimes(name, atime, mtime))
}

// opening is how something is opened.
type opening struct {
	follow, read, write bool
	flags               uint32 // of path_open
	status              uint16 // fdflags
}

func (o opening) is(flag uint32) bool { return o.flags&flag != 0 }

// changes tells whether it asks to change a file that is there.
func (o opening) changes() bool {
	return o.is(openTruncate) || o.status&flagAppend != 0 || o.write
}

// open opens a file or a directory.
func (d *directory) open(name string, o opening) (descriptor, errno) {
	if o.is(openCreate) && o.is(openDirectory) {
		return nil, errnoInval
	}
	if !d.writable && o.changes() {
		return nil, errnoRofs
	}
	if !o.follow || o.is(openExclusive) {
		st, e := d.statAt(name, false)
		switch {
		case e == success && o.is(openCreate) && o.is(openExclusive):
			return nil, errnoExist
		case e == success && kindOf(st.Mode) == kindSymlink && !o.follow:
			return nil, errnoLoop
		}
	}
	st, e := d.statAt(name, true)
	switch {
	case e == errnoNoent && o.is(openCreate):
		if !d.writable {
			return nil, errnoRofs
		}
	case e != success:
		return nil, e
	case st.Mode.IsDir():
		return d.openDirectory(name, o)
	case o.is(openDirectory):
		return nil, errnoNotdir
	case !st.Mode.IsRegular():
		return nil, errnoAcces
	}
	return d.openFile(name, o)
}

func (d *directory) openDirectory(name string, o opening) (descriptor, errno) {
	if o.write || o.is(openTruncate) {
		return nil, errnoIsdir
	}
	root, err := d.root.OpenRoot(name)
	if err != nil {
		return nil, errnoOf(err)
	}
	sub := &directory{root: root, writable: d.writable}
	if err := sub.check(); err != nil {
		_ = root.Close() // only opened
		return nil, errnoAcces
	}
	return sub, success
}

func (d *directory) openFile(name string, o opening) (descriptor, errno) {
	write := d.writable && (o.write || o.writesAnyway())
	f, err := d.root.OpenFile(name, o.system(write), 0o644)
	if err != nil {
		return nil, errnoOf(err)
	}
	// What was looked at may have been replaced since.
	info, err := f.Stat()
	if err != nil || !info.Mode().IsRegular() || kernels(f) {
		_ = f.Close() // not used
		return nil, errnoAcces
	}
	r := &regular{f: f, writable: d.writable, canRead: o.read || !o.write, canWrite: write, status: o.status & flagsSync}
	if o.status&flagAppend != 0 {
		if e := r.setFlags(o.status); e != success {
			_ = f.Close() // not used
			return nil, e
		}
	}
	return r, success
}

// writesAnyway tells whether flags ask to write where rights say neither read
// nor write.
func (o opening) writesAnyway() bool {
	return !o.read && (o.is(openCreate) || o.is(openTruncate) || o.status&flagAppend != 0)
}

// system are the flags of os.OpenFile.
func (o opening) system(write bool) int {
	flags := os.O_RDONLY | openNonblock
	switch {
	case write && o.write && !o.read:
		flags |= os.O_WRONLY
	case write:
		flags |= os.O_RDWR
	}
	if o.is(openCreate) {
		flags |= os.O_CREATE
		if o.is(openExclusive) {
			flags |= os.O_EXCL
		}
	}
	if o.is(openTruncate) {
		flags |= os.O_TRUNC
	}
	if o.status&(flagSync|flagDsync|flagRsync) != 0 {
		flags |= os.O_SYNC
	}
	return flags
}

// remove removes a directory or a file, as asked.
func (d *directory) remove(name string, wantDirectory bool) errno {
	st, e := d.statAt(name, false)
	switch {
	case e != success:
		return e
	case wantDirectory && !st.Mode.IsDir():
		return errnoNotdir
	case !wantDirectory && st.Mode.IsDir():
		return errnoIsdir
	}
	return errnoOf(d.root.Remove(name))
}

// list writes entries into b from a cookie on, and returns how much it wrote:
// less than there is room for only at the end. The last entry may be cut off.
func (d *directory) list(c wasiCall, b []byte, cookie uint64) (uint32, errno) {
	if len(b) < direntSize {
		return 0, errnoInval
	}
	total := len(b)
	for len(b) > 0 {
		c.goOn()
		entry, err := d.entries.at(d.root, cookie)
		if errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			return 0, errnoOf(err)
		}
		cookie++
		var head [direntSize]byte
		le.PutUint64(head[:], cookie)
		if info, err := d.root.Lstat(entry.Name()); err == nil {
			le.PutUint64(head[8:], sys.NewStat_t(info).Ino)
		}
		le.PutUint32(head[16:], uint32(len(entry.Name()))) //nolint:gosec // a name
		head[20] = kindOf(entry.Type())
		b = b[copy(b, head[:]):]
		b = b[copy(b, entry.Name()):]
	}
	return uint32(total - len(b)), success //nolint:gosec // at most 4 GiB
}

// listing reads a directory's entries in order. A cookie is an entry's index;
// "." and ".." come first.
type listing struct {
	f     *os.File
	have  []fs.DirEntry
	first uint64 // index of have[0]
}

// batch is how many entries are read at a time.
const batch = 256

// at returns the entry of an index, and io.EOF after the last. At index 0 it
// looks at the directory anew.
func (l *listing) at(root *os.Root, index uint64) (fs.DirEntry, error) {
	if l.f == nil || index < l.first || index == 0 {
		if err := l.rewind(root); err != nil {
			return nil, err
		}
	}
	for index >= l.first+uint64(len(l.have)) {
		next, err := l.f.ReadDir(batch)
		if err != nil {
			return nil, err
		}
		l.first += uint64(len(l.have))
		l.have = next
	}
	return l.have[index-l.first], nil
}

func (l *listing) rewind(root *os.Root) error {
	if err := l.close(); err != nil {
		return err
	}
	f, err := root.Open(".")
	if err != nil {
		return err
	}
	*l = listing{f: f, have: []fs.DirEntry{dot("."), dot("..")}}
	return nil
}

func (l *listing) close() error {
	if l.f == nil {
		return nil
	}
	f := l.f
	*l = listing{}
	return f.Close()
}

// dot is the entry of "." or "..".
type dot string

func (d dot) Name() string             { return string(d) }
func (dot) IsDir() bool                { return true }
func (dot) Type() fs.FileMode          { return fs.ModeDir }
func (dot) Info() (fs.FileInfo, error) { return nil, fs.ErrInvalid }
