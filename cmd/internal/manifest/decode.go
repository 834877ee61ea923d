package manifest

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"
	"google.golang.org/protobuf/reflect/protoreflect"

	dhowv1 "dhow.dev/dhow/proto/dhow/v1"
	"dhow.dev/dhow/proto/spec"
)

// What one input may hold. Aliases are walked each time they are used, and
// each step counts: so an input that multiplies itself is refused.
const (
	maxBytes  = 4 << 20
	maxNodes  = 500_000
	maxErrors = 20
	maxMerge  = 8
)

// APIVersion is what a document's apiVersion, which may be left out, must be.
const APIVersion = "dhow/v1"

// Decode reads all documents of one input. The file's name is for messages,
// and what documents name is relative to its directory. All that is wrong is
// told at once, joined, each an *Error.
func Decode(file string, data []byte) ([]*Document, error) {
	if len(data) > maxBytes {
		return nil, &Error{File: file, Err: spec.Errorf(spec.CodeInvalid, "has %d bytes; a manifest has at most %d", len(data), maxBytes)}
	}
	d := &decoder{file: file, dir: filepath.Dir(file)}
	for dec := yaml.NewDecoder(bytes.NewReader(joinSurrogates(data))); ; {
		var n yaml.Node
		err := dec.Decode(&n)
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			d.errs = append(d.errs, syntaxError(file, err))
			break
		}
		if len(n.Content) == 1 && !isNull(n.Content[0]) {
			d.document(n.Content[0], true)
		}
	}
	if len(d.errs) > 0 {
		return nil, errors.Join(d.errs...)
	}
	return d.docs, nil
}

// syntaxError finds the line in the library's messages.
func syntaxError(file string, err error) error {
	msg := strings.TrimPrefix(err.Error(), "yaml: ")
	line := 0
	if m := regexp.MustCompile(`^line (\d+): `).FindStringSubmatch(msg); m != nil {
		if n, err := strconv.Atoi(m[1]); err == nil {
			line, msg = n, msg[len(m[0]):]
		}
	}
	return &Error{File: file, Line: line, Err: spec.Errorf(spec.CodeInvalid, "this is not YAML: %s", msg)}
}

type decoder struct {
	file, dir string
	docs      []*Document
	doc       *Document
	errs      []error
	nodes     int
	stopped   bool // nothing more is looked at: too large, or too many errors
}

// fail notes an error at a node.
func (d *decoder) fail(n *yaml.Node, path, format string, args ...any) {
	if d.stopped {
		return
	}
	d.errs = append(d.errs, &Error{File: d.file, Line: n.Line, Err: &spec.Error{
		Code: spec.CodeInvalid, Path: path, Message: fmt.Sprintf(format, args...),
	}})
	d.stopped = len(d.errs) >= maxErrors
}

// visit follows an alias, counts, and remembers the line of the path. It tells
// whether to go on.
func (d *decoder) visit(n *yaml.Node, path string) (*yaml.Node, bool) {
	if d.nodes++; d.nodes > maxNodes && !d.stopped {
		d.fail(n, path, "the manifest has more than %d values once its aliases are expanded", maxNodes)
		d.stopped = true
	}
	if d.stopped {
		return n, false
	}
	if d.doc != nil {
		if _, ok := d.doc.lines[path]; !ok {
			d.doc.lines[path] = n.Line
		}
	}
	if n.Kind == yaml.AliasNode {
		return n.Alias, true
	}
	return n, true
}

// document reads one object, or a List of them.
func (d *decoder) document(n *yaml.Node, listAllowed bool) {
	d.doc = nil
	n, ok := d.visit(n, "")
	if !ok {
		return
	}
	if n.Kind != yaml.MappingNode {
		d.fail(n, "", "a document is a mapping that begins with kind:, not %s", describe(n))
		return
	}
	fields := d.pairs(n, "")
	kindNode := lookup(fields, "kind")
	if kindNode == nil {
		d.fail(n, "", "kind is missing: say Workload, Namespace or Node")
		return
	}
	if listAllowed && kindNode.Value == "List" {
		d.list(fields)
		return
	}
	o, md := d.newObject(kindNode)
	if o == nil {
		return
	}
	d.doc = &Document{Object: o, file: d.file, lines: map[string]int{"": n.Line}}
	d.object(fields, md, o)
	d.docs = append(d.docs, d.doc)
}

func (d *decoder) list(fields []pair) {
	for _, f := range fields {
		switch f.key.Value {
		case "kind", "apiVersion":
		case "items":
			items, ok := d.visit(f.value, "items")
			if ok && items.Kind != yaml.SequenceNode {
				d.fail(items, "items", "want a list, not %s", describe(items))
				continue
			}
			for _, item := range items.Content {
				d.document(item, false)
			}
		default:
			d.fail(f.key, f.key.Value, "unknown field%s", didYouMean(f.key.Value, []string{"kind", "apiVersion", "items"}))
		}
	}
}

// newObject makes an empty object of the kind.
func (d *decoder) newObject(n *yaml.Node) (*dhowv1.Object, protoreflect.FieldDescriptor) {
	o := &dhowv1.Object{}
	kinds := o.ProtoReflect().Descriptor().Fields()
	var known []string
	for i := range kinds.Len() {
		fd := kinds.Get(i)
		if applicable(fd) {
			known = append(known, title(string(fd.Name())))
		}
		if n.Kind != yaml.ScalarNode || !strings.EqualFold(n.Value, string(fd.Name())) {
			continue
		}
		if !applicable(fd) {
			d.fail(n, "kind", "%s objects cannot be applied: only the cluster makes them", title(string(fd.Name())))
			return nil, nil
		}
		o.ProtoReflect().Mutable(fd)
		return o, fd
	}
	d.fail(n, "kind", "%s is unknown%s", short(n.Value), didYouMean(n.Value, known))
	return nil, nil
}

// applicable tells which kinds users write.
func applicable(kind protoreflect.FieldDescriptor) bool {
	switch kind.Name() {
	case "namespace", "workload", "node":
		return true
	}
	return false
}

// object fills in the message inside o.
func (d *decoder) object(fields []pair, kind protoreflect.FieldDescriptor, o *dhowv1.Object) {
	m := o.ProtoReflect().Mutable(kind).Message()
	known := []string{"kind", "apiVersion", "metadata"}
	byName := map[string]protoreflect.FieldDescriptor{}
	for i := range m.Descriptor().Fields().Len() {
		fd := m.Descriptor().Fields().Get(i)
		if name := fd.JSONName(); name != "meta" {
			known = append(known, name)
			byName[name] = fd
		}
	}
	meta := m.Descriptor().Fields().ByName("meta")
	for _, f := range fields {
		switch name := f.key.Value; {
		case name == "kind":
		case name == "apiVersion":
			if f.value.Value != APIVersion {
				d.fail(f.value, name, "%s is unknown; this dhow reads %s", short(f.value.Value), APIVersion)
			}
		case name == "metadata" || name == "meta":
			d.message(f.value, "metadata", m.Mutable(meta).Message())
		case byName[name] == nil:
			hint := didYouMean(name, known)
			if meta.Message().Fields().ByJSONName(name) != nil {
				hint = "; did you mean metadata." + name + "?"
			}
			d.fail(f.key, name, "unknown field%s", hint)
		case name == "spec":
			d.field(f.value, name, m, byName[name])
		}
		// What else a kind has (status, info ...) only the cluster writes.
	}
}
