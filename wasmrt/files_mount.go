package wasmrt

import (
	"fmt"
	"os"
	"path"
	"strings"
)

// Mount gives a guest a directory of the host.
//
// The guest gets to nothing outside of it: not by "..", by symbolic links, whoever
// made them, by renames while a path is looked up, nor through the kernel's
// file systems such as /proc. Devices, pipes and sockets in it cannot be opened.
type Mount struct {
	// Host is the directory's path on the host. It must exist.
	Host string
	// Guest is the absolute path at which the guest sees it.
	Guest string
	// Writable lets the guest change what is in it. Else it can only read.
	Writable bool
}

// open makes the mount's descriptor.
func (m Mount) open() (*directory, error) {
	guest := path.Clean(m.Guest)
	if !path.IsAbs(guest) || strings.ContainsRune(guest, 0) {
		return nil, fmt.Errorf("the guest's path %q is not absolute", m.Guest)
	}
	root, err := os.OpenRoot(m.Host)
	if err != nil {
		return nil, err
	}
	d := &directory{root: root, mount: guest, writable: m.Writable}
	if err := d.check(); err != nil {
		_ = root.Close() // only opened
		return nil, err
	}
	return d, nil
}

// check refuses directories of the kernel's own file systems.
func (d *directory) check() error {
	f, err := d.root.Open(".")
	if err != nil {
		return err
	}
	defer func() { _ = f.Close() }() // only read
	if kernels(f) {
		return fmt.Errorf("it is on a file system of the kernel's, such as /proc")
	}
	return nil
}
