package wasmrt

import (
	"fmt"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// openNonblock keeps the opening of a pipe from waiting for its other end.
const openNonblock = unix.O_NONBLOCK

// setAppend lets each write go to the end of the file, whoever else writes.
func setAppend(f *os.File, on bool) error {
	return control(f, func(fd int) error {
		flags, err := unix.FcntlInt(uintptr(fd), unix.F_GETFL, 0) //nolint:gosec // a descriptor
		if err != nil {
			return err
		}
		flags &^= unix.O_APPEND
		if on {
			flags |= unix.O_APPEND
		}
		_, err = unix.FcntlInt(uintptr(fd), unix.F_SETFL, flags) //nolint:gosec // a descriptor
		return err
	})
}

// setTimes leaves a time alone that is zero.
func setTimes(f *os.File, atime, mtime time.Time) error {
	times := timespecs(atime, mtime)
	return control(f, func(fd int) error {
		// The kernel's own link to what is open: no path of the guest's.
		return unix.UtimesNanoAt(unix.AT_FDCWD, fmt.Sprintf("/proc/self/fd/%d", fd), times, 0)
	})
}

func timespecs(times ...time.Time) []unix.Timespec {
	out := make([]unix.Timespec, len(times))
	for n, t := range times {
		out[n] = unix.Timespec{Nsec: unix.UTIME_OMIT}
		if !t.IsZero() {
			out[n] = unix.NsecToTimespec(t.UnixNano())
		}
	}
	return out
}

// setLinkTimes is for a symbolic link itself.
func (d *directory) setLinkTimes(name string, atime, mtime time.Time) errno {
	parent, last, e := d.parent(name)
	if e != success {
		return e
	}
	defer func() { _ = parent.Close() }() // only read
	return errnoOf(control(parent, func(fd int) error {
		return unix.UtimesNanoAt(fd, last, timespecs(atime, mtime), unix.AT_SYMLINK_NOFOLLOW)
	}))
}

// kernels tells whether a file is on a file system in which files are not data,
// but ways to the kernel and to other processes.
func kernels(f *os.File) bool {
	var st unix.Statfs_t
	if err := control(f, func(fd int) error { return unix.Fstatfs(fd, &st) }); err != nil {
		return true
	}
	switch uint32(st.Type) { //nolint:gosec // magic numbers have 32 bits
	case unix.PROC_SUPER_MAGIC, unix.SYSFS_MAGIC, unix.DEBUGFS_MAGIC, unix.TRACEFS_MAGIC, unix.SECURITYFS_MAGIC,
		unix.BPF_FS_MAGIC, unix.CGROUP_SUPER_MAGIC, unix.CGROUP2_SUPER_MAGIC, unix.SELINUX_MAGIC,
		unix.BINFMTFS_MAGIC, unix.EFIVARFS_MAGIC, unix.DEVPTS_SUPER_MAGIC:
		return true
	}
	return false
}

// link and rename work between any two directories.
func (d *directory) link(old string, to *directory, name string) errno {
	return between(d, old, to, name, func(from int, old string, to int, name string) error {
		return unix.Linkat(from, old, to, name, 0)
	})
}

func (d *directory) rename(old string, to *directory, name string) errno {
	return between(d, old, to, name, unix.Renameat)
}

func control(f *os.File, do func(fd int) error) error {
	raw, err := f.SyscallConn()
	if err != nil {
		return err
	}
	if cerr := raw.Control(func(fd uintptr) { err = do(int(fd)) }); cerr != nil { //nolint:gosec // a descriptor
		return cerr
	}
	return err
}
