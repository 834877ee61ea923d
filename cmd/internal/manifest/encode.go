package manifest

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"go.yaml.in/yaml/v3"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	dhowv1 "dhow.dev/dhow/proto/dhow/v1"
	"dhow.dev/dhow/proto/spec"
)

// WriteYAML writes messages as YAML documents. Objects among them are written
// as documents that Decode reads.
func WriteYAML(w io.Writer, ms ...proto.Message) error {
	enc := yaml.NewEncoder(w)
	enc.SetIndent(2)
	for _, m := range ms {
		if err := enc.Encode(encode(m)); err != nil {
			return fmt.Errorf("write YAML: %w", err)
		}
	}
	return enc.Close()
}

// WriteJSON writes one message as a JSON object, or several as a List.
func WriteJSON(w io.Writer, list bool, ms ...proto.Message) error {
	root := &yaml.Node{Kind: yaml.MappingNode}
	if list {
		items := &yaml.Node{Kind: yaml.SequenceNode}
		for _, m := range ms {
			items.Content = append(items.Content, encode(m))
		}
		put(root, "kind", text("List"))
		put(root, "items", items)
	} else {
		root = encode(ms[0])
	}
	var raw, pretty bytes.Buffer
	writeJSON(&raw, root)
	if err := json.Indent(&pretty, raw.Bytes(), "", "  "); err != nil {
		return fmt.Errorf("write JSON: %w", err)
	}
	pretty.WriteByte('\n')
	_, err := w.Write(pretty.Bytes())
	return err
}

// encode makes the tree that both forms are written from.
func encode(m proto.Message) *yaml.Node {
	o, ok := m.(*dhowv1.Object)
	if !ok {
		return encodeMessage(m.ProtoReflect())
	}
	n := &yaml.Node{Kind: yaml.MappingNode}
	put(n, "kind", text(title(spec.KindName(spec.KindOf(o)))))
	o.ProtoReflect().Range(func(_ protoreflect.FieldDescriptor, v protoreflect.Value) bool {
		n.Content = append(n.Content, encodeMessage(v.Message()).Content...)
		return true
	})
	return n
}

func encodeMessage(m protoreflect.Message) *yaml.Node {
	n := &yaml.Node{Kind: yaml.MappingNode}
	fields := m.Descriptor().Fields()
	order := make([]protoreflect.FieldDescriptor, 0, fields.Len())
	for i := range fields.Len() {
		order = append(order, fields.Get(i))
	}
	slices.SortStableFunc(order, func(a, b protoreflect.FieldDescriptor) int { return int(a.Number()) - int(b.Number()) })
	for _, fd := range order {
		if !m.Has(fd) || fd.FullName() == "dhow.v1.Token.secret_hash" {
			continue
		}
		key := fd.JSONName()
		if fd.Message() != nil && fd.Message().FullName() == "dhow.v1.Meta" {
			key = "metadata"
		}
		put(n, key, encodeField(fd, m.Get(fd)))
	}
	return n
}

func encodeField(fd protoreflect.FieldDescriptor, v protoreflect.Value) *yaml.Node {
	switch {
	case fd.IsMap():
		n := &yaml.Node{Kind: yaml.MappingNode}
		var keys []string
		v.Map().Range(func(k protoreflect.MapKey, _ protoreflect.Value) bool {
			keys = append(keys, k.String())
			return true
		})
		slices.Sort(keys)
		for _, k := range keys {
			put(n, k, encodeValue(fd.MapValue(), v.Map().Get(protoreflect.ValueOfString(k).MapKey())))
		}
		return n
	case fd.IsList():
		n := &yaml.Node{Kind: yaml.SequenceNode}
		for i := range v.List().Len() {
			n.Content = append(n.Content, encodeValue(fd, v.List().Get(i)))
		}
		return n
	}
	return encodeValue(fd, v)
}

func encodeValue(fd protoreflect.FieldDescriptor, v protoreflect.Value) *yaml.Node {
	switch fd.Kind() {
	case protoreflect.MessageKind:
		switch m := v.Message().Interface().(type) {
		case *durationpb.Duration:
			return text(FormatDuration(m.AsDuration()))
		case *timestamppb.Timestamp:
			return text(m.AsTime().UTC().Format(time.RFC3339Nano))
		}
		return encodeMessage(v.Message())
	case protoreflect.EnumKind:
		if w := word(fd.Enum(), v.Enum()); w != "" {
			return text(w)
		}
		return number(strconv.Itoa(int(v.Enum())))
	case protoreflect.BytesKind:
		return encodeBytes(fd, v.Bytes())
	case protoreflect.StringKind:
		return text(v.String())
	case protoreflect.BoolKind:
		return &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!bool", Value: strconv.FormatBool(v.Bool())}
	default:
	}
	switch fd.FullName() {
	case "dhow.v1.ResourceList.cpu":
		return text(spec.FormatCPU(v.Uint()))
	case "dhow.v1.ResourceList.memory", "dhow.v1.WasmLimits.stack", "dhow.v1.KeyValue.max_bytes":
		return text(spec.FormatMemory(v.Uint()))
	}
	return number(fmt.Sprint(v.Interface()))
}

// encodeBytes keeps readable standard input readable.
func encodeBytes(fd protoreflect.FieldDescriptor, b []byte) *yaml.Node {
	if fd.FullName() != "dhow.v1.Task.stdin" {
		return text(base64.StdEncoding.EncodeToString(b))
	}
	if readable(b) {
		return text(string(b))
	}
	n := &yaml.Node{Kind: yaml.MappingNode}
	put(n, "base64", text(base64.StdEncoding.EncodeToString(b)))
	return n
}

func readable(b []byte) bool {
	if !utf8.Valid(b) {
		return false
	}
	for _, r := range string(b) {
		if r != '\n' && r != '\t' && !unicode.IsPrint(r) {
			return false
		}
	}
	return true
}

// FormatDuration drops the zeros at the end of Go's form: 1m, not 1m0s.
func FormatDuration(d time.Duration) string {
	s := d.String()
	if strings.HasSuffix(s, "m0s") {
		s = s[:len(s)-2]
	}
	if strings.HasSuffix(s, "h0m") {
		s = s[:len(s)-2]
	}
	return s
}

func text(s string) *yaml.Node {
	n := &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!str", Value: s}
	if strings.Contains(s, "\n") && !blockable(s) {
		n.Style = yaml.DoubleQuotedStyle
	}
	return n
}

// blockable tells whether a text of several lines survives being written as a
// block (|): where white space is more than indentation, the library's block
// does not read back.
func blockable(s string) bool {
	if !readable([]byte(s)) || s[0] == ' ' || s[0] == '\n' {
		return false
	}
	for line := range strings.Lines(s) {
		bare := strings.TrimSuffix(line, "\n")
		if strings.HasPrefix(bare, "\t") || strings.TrimRight(bare, " \t") != bare {
			return false
		}
	}
	return true
}

func number(s string) *yaml.Node {
	return &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!int", Value: s}
}

func put(n *yaml.Node, key string, v *yaml.Node) { n.Content = append(n.Content, text(key), v) }

// writeJSON writes the tree that encode made, on one line.
func writeJSON(b *bytes.Buffer, n *yaml.Node) {
	switch n.Kind {
	case yaml.MappingNode:
		b.WriteByte('{')
		for i := 0; i < len(n.Content); i += 2 {
			if i > 0 {
				b.WriteByte(',')
			}
			writeJSON(b, n.Content[i])
			b.WriteByte(':')
			writeJSON(b, n.Content[i+1])
		}
		b.WriteByte('}')
	case yaml.SequenceNode:
		b.WriteByte('[')
		for i, c := range n.Content {
			if i > 0 {
				b.WriteByte(',')
			}
			writeJSON(b, c)
		}
		b.WriteByte(']')
	default:
		if n.Tag != "!!str" {
			b.WriteString(n.Value)
			return
		}
		quoteJSON(b, n.Value)
	}
}

// quoteJSON writes a text so that YAML's readers take it, too: they know no
// surrogate pairs and refuse some characters when they are not escaped.
func quoteJSON(b *bytes.Buffer, s string) {
	b.WriteByte('"')
	for _, r := range s {
		switch {
		case r == '"' || r == '\\':
			b.WriteByte('\\')
			b.WriteRune(r)
		case r < ' ', r >= 0x7f && r <= 0xa0, r >= 0x2000 && r <= 0x206f, r >= 0xfe00 && r <= 0xffff:
			fmt.Fprintf(b, `\u%04x`, r)
		default:
			b.WriteRune(r)
		}
	}
	b.WriteByte('"')
}
