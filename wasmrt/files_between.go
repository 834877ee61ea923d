//go:build linux

package wasmrt

import (
	"os"
	"path"
	"strings"
)

// between does something with a name in one directory and a name in another.
// os.Root looks up the directories that hold the names; what is left of the
// paths are single names without a slash, in which the kernel follows nothing.
func between(from *directory, old string, to *directory, name string, do func(int, string, int, string) error) errno {
	a, old, e := from.parent(old)
	if e != success {
		return e
	}
	defer func() { _ = a.Close() }() // only read
	b, name, e := to.parent(name)
	if e != success {
		return e
	}
	defer func() { _ = b.Close() }() // only read
	return errnoOf(control(a, func(afd int) error {
		return control(b, func(bfd int) error { return do(afd, old, bfd, name) })
	}))
}

// parent opens the directory that holds a path's last name.
func (d *directory) parent(name string) (*os.File, string, errno) {
	dir, last := path.Split(strings.TrimRight(name, "/"))
	if last == "" || last == "." || last == ".." {
		return nil, "", errnoInval
	}
	if dir == "" {
		dir = "."
	}
	f, err := d.root.Open(dir)
	if err != nil {
		return nil, "", errnoOf(err)
	}
	if info, err := f.Stat(); err != nil || !info.IsDir() {
		_ = f.Close() // not used
		return nil, "", errnoNotdir
	}
	return f, last, success
}
