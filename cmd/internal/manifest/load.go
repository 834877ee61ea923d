package manifest

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"

	"dhow.dev/dhow/proto/spec"
)

// Stdin is the name under which standard input is read.
const Stdin = "-"

// Load reads files, directories (their *.yaml, *.yml and *.json, sorted, not
// those of directories inside) and standard input.
func Load(paths []string, stdin io.Reader) ([]*Document, error) {
	var docs []*Document
	var errs []error
	for _, p := range paths {
		more, err := load(p, stdin)
		if err != nil {
			errs = append(errs, err)
		}
		docs = append(docs, more...)
	}
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	return docs, distinct(docs)
}

func load(path string, stdin io.Reader) ([]*Document, error) {
	if path == Stdin {
		return decodeFrom("stdin", stdin)
	}
	info, err := os.Stat(path)
	if err != nil {
		return nil, unreadable(err)
	}
	if !info.IsDir() {
		return loadFile(path)
	}
	var names []string
	for _, ext := range []string{"*.yaml", "*.yml", "*.json"} {
		found, err := filepath.Glob(filepath.Join(escape(path), ext))
		if err != nil {
			return nil, fmt.Errorf("%s: %w", path, err)
		}
		names = append(names, found...)
	}
	if len(names) == 0 {
		return nil, spec.Errorf(spec.CodeInvalid, "%s: no *.yaml, *.yml or *.json in this directory", path)
	}
	slices.Sort(names)
	var docs []*Document
	var errs []error
	for _, name := range names {
		more, err := loadFile(name)
		if err != nil {
			errs = append(errs, err)
		}
		docs = append(docs, more...)
	}
	return docs, errors.Join(errs...)
}

// escape keeps a directory's name from being taken for a pattern.
func escape(dir string) string {
	out := make([]byte, 0, len(dir))
	for i := range len(dir) {
		switch dir[i] {
		case '*', '?', '[', '\\':
			out = append(out, '\\')
		}
		out = append(out, dir[i])
	}
	return string(out)
}

func loadFile(path string) ([]*Document, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, unreadable(err)
	}
	defer func() { _ = f.Close() }()
	return decodeFrom(path, f)
}

func decodeFrom(name string, r io.Reader) ([]*Document, error) {
	data, err := io.ReadAll(io.LimitReader(r, maxBytes+1))
	if err != nil {
		return nil, unreadable(err)
	}
	docs, err := Decode(name, data)
	if err == nil && len(docs) == 0 {
		err = &Error{File: name, Err: spec.Errorf(spec.CodeInvalid, "no document in it")}
	}
	return docs, err
}

func unreadable(err error) error {
	return &spec.Error{Code: spec.CodeInvalid, Err: err}
}

// distinct refuses the same object twice.
func distinct(docs []*Document) error {
	first := map[string]*Document{}
	var errs []error
	for _, d := range docs {
		m := spec.MetaOf(d.Object)
		key := fmt.Sprintf("%s %s/%s", spec.KindName(spec.KindOf(d.Object)), m.GetNamespace(), m.GetName())
		if other, twice := first[key]; twice && m.GetName() != "" {
			errs = append(errs, d.Locate(&spec.Error{
				Code: spec.CodeInvalid, Path: "metadata.name",
				Message: fmt.Sprintf("%s %q is in %s already", spec.KindName(spec.KindOf(d.Object)), m.GetName(), other.Where()),
			}))
			continue
		}
		first[key] = d
	}
	return errors.Join(errs...)
}
