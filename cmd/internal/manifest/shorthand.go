package manifest

import (
	"encoding/base64"
	"io"
	"os"
	"path/filepath"
	"strings"

	"go.yaml.in/yaml/v3"
	"google.golang.org/protobuf/reflect/protoreflect"

	dhowv1 "dhow.dev/dhow/proto/dhow/v1"
	"dhow.dev/dhow/proto/spec"
)

// shorthand reads the short forms of some messages, and what must be noted
// beside their fields. It tells whether it has dealt with the node.
func (d *decoder) shorthand(n *yaml.Node, path string, m protoreflect.Message) bool {
	switch v := m.Interface().(type) {
	case *dhowv1.Task:
		return d.task(n, path, v)
	case *dhowv1.WasmSource:
		if n.Kind == yaml.ScalarNode {
			if s, ok := d.text(n, path); ok && strings.HasPrefix(s, spec.DigestPrefix) {
				v.Artifact = s
			} else if ok {
				v.File = s
			}
			return true
		}
	case *dhowv1.ImageSource:
		if n.Kind == yaml.ScalarNode {
			v.Ref, _ = d.text(n, path)
			return true
		}
	case *dhowv1.Port:
		if n.Kind == yaml.ScalarNode {
			port, _ := d.uint(n, path, 16)
			v.Port = uint32(port)
			return true
		}
	case *dhowv1.RestartPolicy:
		if n.Kind == yaml.ScalarNode {
			if mode, ok := d.enum(n, path, m.Descriptor().Fields().ByName("mode")); ok {
				v.Mode = dhowv1.RestartMode(mode.Enum())
			}
			return true
		}
	case *dhowv1.Mount:
		if n.Kind == yaml.ScalarNode {
			d.mount(n, path, v)
			return true
		}
	case *dhowv1.KeyValue:
		if n.Kind == yaml.ScalarNode {
			v.Store, _ = d.text(n, path)
			return true
		}
	case *dhowv1.Constraint:
		if n.Kind == yaml.ScalarNode {
			d.constraint(n, path, v)
			return true
		}
	}
	return false
}

func (d *decoder) mount(n *yaml.Node, path string, into *dhowv1.Mount) {
	s, ok := d.text(n, path)
	if !ok {
		return
	}
	m, err := ParseMount(s)
	if err != nil {
		d.fail(n, path, "%v", err)
		return
	}
	into.Directory, into.Path, into.Writable = m.Directory, m.Path, m.Writable
}

func (d *decoder) constraint(n *yaml.Node, path string, into *dhowv1.Constraint) {
	s, ok := d.text(n, path)
	if !ok {
		return
	}
	c, err := ParseConstraint(s)
	if err != nil {
		d.fail(n, path, "%v", err)
		return
	}
	into.Label, into.Operator, into.Values = c.Label, c.Operator, c.Values
}

// ParseMount reads DIRECTORY:PATH, or DIRECTORY:PATH:rw for a writable one.
func ParseMount(s string) (*dhowv1.Mount, error) {
	directory, path, ok := strings.Cut(s, ":")
	mount := &dhowv1.Mount{Directory: directory, Path: path}
	if path, mode, given := strings.Cut(path, ":"); given {
		mount.Path, mount.Writable = path, mode == "rw"
		ok = ok && (mode == "rw" || mode == "ro")
	}
	if !ok || directory == "" || mount.Path == "" {
		return nil, spec.Errorf(spec.CodeInvalid, "%s is no mount: write DIRECTORY:PATH, and :rw behind it to write there", short(s))
	}
	return mount, nil
}

// task reads a whole task: its standard input has forms of its own, and its
// module may be a file.
func (d *decoder) task(n *yaml.Node, path string, t *dhowv1.Task) bool {
	if n.Kind != yaml.MappingNode {
		return false
	}
	fields := d.pairs(n, path)
	m := t.ProtoReflect()
	for _, f := range fields {
		p := join(path, f.key.Value)
		fd := m.Descriptor().Fields().ByJSONName(f.key.Value)
		switch {
		case fd == nil:
			d.fail(f.key, p, "unknown field%s", hint(m.Descriptor(), f.key.Value))
		case taken(m, fd) != "":
			d.fail(f.key, p, "%s is given already: there can be one of the two", taken(m, fd))
		case fd.Name() == "stdin":
			t.Stdin = d.stdin(f.value, p)
		default:
			d.field(f.value, p, m, fd)
		}
	}
	if w := t.GetWasm(); w.GetFile() != "" && w.GetArtifact() == "" && d.doc != nil {
		d.doc.Modules = append(d.doc.Modules, Module{Source: w, Path: d.resolve(w.File), Field: path + ".wasm"})
	}
	return true
}

// resolve finds what a manifest names: relative to its own directory.
func (d *decoder) resolve(path string) string {
	if filepath.IsAbs(path) {
		return path
	}
	return filepath.Join(d.dir, path)
}

// stdin is a text, {file: …} or {base64: …}.
func (d *decoder) stdin(n *yaml.Node, path string) []byte {
	n, ok := d.visit(n, path)
	if !ok {
		return nil
	}
	if n.Kind != yaml.MappingNode {
		if n.Kind == yaml.ScalarNode && n.ShortTag() == "!!binary" {
			return d.base64(n, path)
		}
		s, _ := d.text(n, path)
		return []byte(s)
	}
	fields := d.pairs(n, path)
	if len(fields) != 1 {
		d.fail(n, path, "want a text, {file: …} or {base64: …}")
		return nil
	}
	p := join(path, fields[0].key.Value)
	v, ok := d.visit(fields[0].value, p)
	if !ok {
		return nil
	}
	switch fields[0].key.Value {
	case "base64":
		return d.base64(v, p)
	case "file":
		name, ok := d.text(v, p)
		if !ok {
			return nil
		}
		data, err := readInput(d.resolve(name))
		if err != nil {
			d.fail(v, p, "%v", err)
		}
		return data
	}
	d.fail(fields[0].key, p, "unknown field%s", didYouMean(fields[0].key.Value, []string{"file", "base64"}))
	return nil
}

func (d *decoder) base64(n *yaml.Node, path string) []byte {
	out, err := base64.StdEncoding.DecodeString(strings.Join(strings.Fields(n.Value), ""))
	if n.Kind != yaml.ScalarNode || err != nil {
		d.fail(n, path, "is not base64")
		return nil
	}
	return out
}

// readInput reads a file that becomes a task's standard input.
func readInput(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }()
	data, err := io.ReadAll(io.LimitReader(f, spec.MaxStdin+1))
	if err != nil {
		return nil, err
	}
	if len(data) > spec.MaxStdin {
		return nil, spec.Errorf(spec.CodeInvalid, "%s has more than %d bytes, the most a task can be given", path, spec.MaxStdin)
	}
	return data, nil
}

// envMapping reads env: {A: b}.
func (d *decoder) envMapping(n *yaml.Node, path string, list protoreflect.List) {
	for _, f := range d.pairs(n, path) {
		p := join(path, f.key.Value)
		v, ok := d.visit(f.value, p)
		if !ok {
			return
		}
		if s, ok := d.looseText(v, p); ok {
			list.Append(protoreflect.ValueOfMessage((&dhowv1.EnvVar{Name: f.key.Value, Value: s}).ProtoReflect()))
		}
	}
}
