package client

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"go.yaml.in/yaml/v3"

	"dhow.dev/dhow/internal/fsx"
	"dhow.dev/dhow/proto/spec"
)

// maxFile bounds the context file; a larger one is not ours.
const maxFile = 4 << 20

// File is the user's context file, as a kubeconfig is.
type File struct {
	Current  string    `yaml:"current"`
	Contexts []Context `yaml:"contexts"`
}

// Context is how to reach one cluster.
type Context struct {
	Name string `yaml:"name"`
	// Servers are host:port of the servers' APIs; any will do.
	Servers []string `yaml:"servers"`
	// CA is the cluster's CA certificate, PEM.
	CA string `yaml:"ca"`
	// Token is an access token.
	Token string `yaml:"token"`
	// Namespace is what commands use when none is given.
	Namespace string `yaml:"namespace,omitempty"`
	// Pinned is set when the user named the servers: no others are learned.
	Pinned bool `yaml:"-"`
}

// Path is where the context file is: $XDG_CONFIG_HOME/dhow/config.yaml.
func Path(getenv func(string) string) (string, error) {
	dir := getenv("XDG_CONFIG_HOME")
	if dir == "" {
		home := getenv("HOME")
		if home == "" {
			return "", spec.Errorf(spec.CodeInvalid, "neither XDG_CONFIG_HOME nor HOME is set: set one, so that the context file can be found")
		}
		dir = filepath.Join(home, ".config")
	}
	return filepath.Join(dir, "dhow", "config.yaml"), nil
}

// Load reads the context file; a missing one is an empty File.
func Load(path string) (*File, error) {
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return &File{}, nil
	}
	if err != nil {
		return nil, spec.Errorf(spec.CodeInvalid, "read the context file: %w", err)
	}
	data, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err != nil {
		return nil, spec.Errorf(spec.CodeInvalid, "read the context file: %w", err)
	}
	out, err := parse(data)
	if err != nil {
		return nil, spec.Errorf(spec.CodeInvalid, "%s: %w", path, err)
	}
	return out, nil
}

// parse reads a context file's content and checks it.
func parse(data []byte) (*File, error) {
	if len(data) > maxFile {
		return nil, fmt.Errorf("larger than %d bytes: this is not a context file", maxFile)
	}
	out := &File{}
	dec := yaml.NewDecoder(bytes.NewReader(data))
	dec.KnownFields(true)
	if err := dec.Decode(out); err != nil && !errors.Is(err, io.EOF) {
		return nil, err
	}
	seen := map[string]bool{}
	for i, c := range out.Contexts {
		if c.Name == "" {
			return nil, fmt.Errorf("contexts[%d].name: is empty", i)
		}
		if seen[c.Name] {
			return nil, fmt.Errorf("contexts[%d].name: %q is there twice", i, c.Name)
		}
		seen[c.Name] = true
	}
	return out, nil
}

// Find returns a context by name, the current one for an empty name.
func (f *File) Find(name string) (Context, error) {
	asked := name
	if name == "" {
		name = f.Current
	}
	if name == "" {
		return Context{}, spec.Errorf(spec.CodeInvalid, "no context is chosen: run `dhow up`, or set DHOW_CONTEXT or --context")
	}
	for _, c := range f.Contexts {
		if c.Name == name {
			return c, nil
		}
	}
	var names []string
	for _, c := range f.Contexts {
		names = append(names, c.Name)
	}
	if asked == "" {
		return Context{}, spec.Errorf(spec.CodeInvalid, "the current context %q is not in the context file, which has %q", name, names)
	}
	return Context{}, spec.Errorf(spec.CodeInvalid, "no context %q in the context file, which has %q", name, names)
}

// Save adds the context to the file at path, or replaces the one of its name,
// and makes it the current one when makeCurrent is set or there is none. Other
// contexts stay. The file appears whole, with mode 0600.
func Save(path string, c Context, makeCurrent bool) error {
	if c.Name == "" {
		return spec.Errorf(spec.CodeInvalid, "a context needs a name")
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return spec.Errorf(spec.CodeInternal, "make the context file's directory: %w", err)
	}
	// Two commands may save at the same time.
	unlock, err := lock(path + ".lock")
	if err != nil {
		return err
	}
	defer unlock()
	f, err := Load(path)
	if err != nil {
		return err
	}
	at := slices.IndexFunc(f.Contexts, func(have Context) bool { return have.Name == c.Name })
	if at >= 0 {
		if c.Namespace == "" {
			c.Namespace = f.Contexts[at].Namespace
		}
		f.Contexts[at] = c
	} else {
		f.Contexts = append(f.Contexts, c)
	}
	if makeCurrent || f.Current == "" {
		f.Current = c.Name
	}
	out, err := yaml.Marshal(f)
	if err != nil {
		return spec.Errorf(spec.CodeInternal, "encode the context file: %w", err)
	}
	return fsx.WriteFile(target(path), out, 0o600)
}
