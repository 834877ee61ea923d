// Package fsx writes files so that a crash leaves the old content or the new,
// never a mixture, and locks a data directory for one process. Nothing else
// belongs here: no formats, no knowledge of what is written.
package fsx

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"

	"dhow.dev/dhow/proto/spec"
)

// WriteFile replaces the file at path with data: temporary file, fsync,
// rename, fsync of the directory. On an error the old file is untouched and
// nothing is left behind.
func WriteFile(path string, data []byte, perm os.FileMode) error {
	dir := filepath.Dir(path)
	f, err := os.CreateTemp(dir, "."+filepath.Base(path)+".*.tmp")
	if err != nil {
		return Explain(err)
	}
	tmp := f.Name()
	err = writeSynced(f, data, perm)
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err == nil {
		err = os.Rename(tmp, path)
	}
	if err != nil {
		return Explain(errors.Join(err, os.Remove(tmp)))
	}
	return SyncDir(dir)
}

func writeSynced(f *os.File, data []byte, perm os.FileMode) error {
	if err := f.Chmod(perm); err != nil {
		return err
	}
	if _, err := f.Write(data); err != nil {
		return err
	}
	return f.Sync()
}

// Rename moves a file within its directory and makes the move durable.
func Rename(from, to string) error {
	if err := os.Rename(from, to); err != nil {
		return Explain(err)
	}
	return SyncDir(filepath.Dir(to))
}

// Remove deletes a file and makes that durable. A missing file is no error.
func Remove(path string) error {
	err := os.Remove(path)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return Explain(err)
	}
	return SyncDir(filepath.Dir(path))
}

// SyncDir makes the entries of a directory durable.
func SyncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return Explain(err)
	}
	err = d.Sync()
	if cerr := d.Close(); err == nil {
		err = cerr
	}
	// Some file systems cannot sync a directory; they say EINVAL and are no
	// worse off than before.
	if errors.Is(err, syscall.EINVAL) || errors.Is(err, syscall.ENOTSUP) {
		return nil
	}
	return Explain(err)
}

// MkdirAll makes a directory and its parents, and makes them durable.
func MkdirAll(path string, perm os.FileMode) error {
	if st, err := os.Stat(path); err == nil && st.IsDir() {
		return nil
	}
	parent := filepath.Dir(path)
	if parent != path {
		if err := MkdirAll(parent, perm); err != nil {
			return err
		}
	}
	if err := os.Mkdir(path, perm); err != nil && !errors.Is(err, os.ErrExist) {
		return Explain(err)
	}
	if st, err := os.Stat(path); err != nil || !st.IsDir() {
		return spec.Errorf(spec.CodeInvalid, "%s is there, but is no directory", path)
	}
	return SyncDir(parent)
}

// Full tells whether the error says that a disk, quota or file size limit is
// used up.
func Full(err error) bool {
	return errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) || errors.Is(err, syscall.EFBIG)
}

// Explain gives an error of the file system its code and says what to do
// where that helps. A *spec.Error and nil stay what they are.
func Explain(err error) error {
	if err == nil {
		return nil
	}
	if _, ok := errors.AsType[*spec.Error](err); ok {
		return err
	}
	switch {
	case Full(err):
		return spec.Errorf(spec.CodeExhausted, "no space left: free some on that disk, then try again: %w", err)
	case errors.Is(err, syscall.EROFS):
		return spec.Errorf(spec.CodeInvalid, "the file system is read-only: remount it, or choose another data directory: %w", err)
	case errors.Is(err, os.ErrPermission):
		return spec.Errorf(spec.CodeDenied, "no permission: run as the owner of that directory, or choose another one: %w", err)
	case errors.Is(err, os.ErrNotExist):
		return spec.Errorf(spec.CodeNotFound, "%w", err)
	}
	return fmt.Errorf("file system: %w", err)
}
