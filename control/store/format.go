package store

import (
	"encoding/json"
	"errors"
	"io"
	"os"

	"github.com/cockroachdb/pebble/v2/vfs"

	"dhow.dev/dhow/proto/spec"
)

// format is the number of the directory's layout and of what its keys and
// values mean. A higher one is a newer version's.
const format = 1

type formatFile struct {
	Format  int    `json:"format"`
	Cluster string `json:"cluster,omitempty"`
}

// checkFormat reads the FORMAT file, or makes it, and answers the cluster's id.
func checkFormat(fs vfs.FS, dir, cluster string) (string, error) {
	path := fs.PathJoin(dir, "FORMAT")
	raw, err := readFile(fs, path)
	if errors.Is(err, os.ErrNotExist) {
		if l, err := fs.List(fs.PathJoin(dir, "log")); err == nil && len(l) > 0 {
			return "", spec.Errorf(spec.CodeInvalid, "%s is missing, but the directory is not empty: put the file back from a backup, or choose another data directory", path)
		}
		return cluster, writeFormat(fs, dir, cluster)
	}
	if err != nil {
		return "", openError(path, err)
	}
	var f formatFile
	if err := json.Unmarshal(raw, &f); err != nil || f.Format < 1 {
		return "", spec.Errorf(spec.CodeInvalid, "%s is broken: want something like {\"format\":%d,\"cluster\":\"...\"}", path, format)
	}
	if f.Format > format {
		return "", spec.Errorf(spec.CodeInvalid, "%s: the directory was written by a newer version (format %d; this one knows up to %d): run that version, or choose another data directory", dir, f.Format, format)
	}
	switch {
	case f.Cluster == "" && cluster != "":
		return cluster, writeFormat(fs, dir, cluster)
	case cluster != "" && f.Cluster != cluster:
		return "", spec.Errorf(spec.CodeInvalid, "%s: the directory belongs to cluster %s, not to %s: choose another data directory", dir, f.Cluster, cluster)
	}
	return f.Cluster, nil
}

func writeFormat(fs vfs.FS, dir, cluster string) error {
	raw, err := json.Marshal(formatFile{Format: format, Cluster: cluster})
	if err != nil {
		return err
	}
	if err := writeFile(fs, dir, "FORMAT", append(raw, '\n')); err != nil {
		return openError(dir, err)
	}
	return nil
}

func readFile(fs vfs.FS, path string) ([]byte, error) {
	f, err := fs.Open(path)
	if err != nil {
		return nil, err
	}
	raw, err := io.ReadAll(io.LimitReader(f, 1<<20))
	return raw, errors.Join(err, f.Close())
}

// writeFile replaces the file in one step, so that a crash leaves the old or
// the new.
func writeFile(fs vfs.FS, dir, name string, raw []byte) error {
	tmp, path := fs.PathJoin(dir, name+".tmp"), fs.PathJoin(dir, name)
	f, err := fs.Create(tmp, vfs.WriteCategoryUnspecified)
	if err != nil {
		return err
	}
	_, err = f.Write(raw)
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		_ = fs.Remove(tmp)
		return err
	}
	if err := fs.Rename(tmp, path); err != nil {
		return err
	}
	return syncDir(fs, dir)
}

func syncDir(fs vfs.FS, dir string) error {
	d, err := fs.OpenDir(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// makeDir makes the directory and its parents, so that a crash leaves them.
func makeDir(fs vfs.FS, dir string) error {
	if _, err := fs.Stat(dir); err == nil || !errors.Is(err, os.ErrNotExist) {
		return err
	}
	parent := fs.PathDir(dir)
	if parent != dir {
		if err := makeDir(fs, parent); err != nil {
			return err
		}
	}
	if err := fs.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	return syncDir(fs, parent)
}
