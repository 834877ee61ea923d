package manifest

import (
	"strconv"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/known/durationpb"

	"dhow.dev/dhow/proto/spec"
)

// scalar reads a value that is one word or number.
func (d *decoder) scalar(n *yaml.Node, path string, fd protoreflect.FieldDescriptor) (protoreflect.Value, bool) {
	none := protoreflect.Value{}
	if n.Kind != yaml.ScalarNode {
		d.fail(n, path, "want %s, not %s", wanted(fd), describe(n))
		return none, false
	}
	switch fd.Kind() {
	case protoreflect.StringKind:
		return d.stringField(n, path, fd)
	case protoreflect.BoolKind:
		if n.ShortTag() != "!!bool" {
			d.fail(n, path, "want true or false, not %s", describe(n))
			return none, false
		}
		return protoreflect.ValueOfBool(strings.EqualFold(n.Value, "true")), true
	case protoreflect.EnumKind:
		return d.enum(n, path, fd)
	case protoreflect.Uint32Kind:
		v, ok := d.uint(n, path, 32)
		return protoreflect.ValueOfUint32(uint32(v)), ok
	case protoreflect.Uint64Kind:
		if parse := quantity(fd); parse != nil {
			v, err := parse(n.Value)
			if err != nil {
				d.fail(n, path, "%v", err)
			}
			return protoreflect.ValueOfUint64(v), err == nil
		}
		v, ok := d.uint(n, path, 64)
		return protoreflect.ValueOfUint64(v), ok
	case protoreflect.MessageKind:
		if fd.Message().FullName() == "google.protobuf.Duration" {
			return d.duration(n, path)
		}
	default:
	}
	d.fail(n, path, "cannot be set in a manifest")
	return none, false
}

// wanted says what a field takes, for messages.
func wanted(fd protoreflect.FieldDescriptor) string {
	switch fd.Kind() {
	case protoreflect.StringKind, protoreflect.BytesKind:
		return "text"
	case protoreflect.BoolKind:
		return "true or false"
	case protoreflect.EnumKind:
		return "one of " + strings.Join(Words(fd.Enum()), ", ")
	case protoreflect.MessageKind:
		return "a duration such as 30s"
	default:
	}
	if quantity(fd) != nil {
		return "an amount such as 500m or 64Mi"
	}
	return "a whole number"
}

// quantity finds the parser of amounts; nil for other fields.
func quantity(fd protoreflect.FieldDescriptor) func(string) (uint64, error) {
	switch fd.FullName() {
	case "dhow.v1.ResourceList.cpu":
		return spec.ParseCPU
	case "dhow.v1.ResourceList.memory", "dhow.v1.WasmLimits.stack", "dhow.v1.KeyValue.max_bytes":
		return spec.ParseMemory
	}
	return nil
}

// stringField is strict where a text is a name, so that `name: on` and the
// like are noticed, and takes what was written where it is a free value.
func (d *decoder) stringField(n *yaml.Node, path string, fd protoreflect.FieldDescriptor) (protoreflect.Value, bool) {
	var s string
	var ok bool
	switch fd.FullName() {
	case "dhow.v1.EnvVar.value", "dhow.v1.Task.args", "dhow.v1.Constraint.values":
		s, ok = d.looseText(n, path)
	default:
		s, ok = d.text(n, path)
	}
	return protoreflect.ValueOfString(s), ok
}

func (d *decoder) text(n *yaml.Node, path string) (string, bool) {
	if n.Kind == yaml.ScalarNode && n.ShortTag() == "!!str" {
		return n.Value, true
	}
	help := ""
	if n.Kind == yaml.ScalarNode && !isNull(n) {
		help = ": put it in quotes"
	}
	d.fail(n, path, "want text, not %s%s", describe(n), help)
	return "", false
}

// looseText takes a number or truth value as it was written.
func (d *decoder) looseText(n *yaml.Node, path string) (string, bool) {
	if n.Kind == yaml.ScalarNode {
		switch n.ShortTag() {
		case "!!int", "!!float", "!!bool", "!!timestamp":
			return n.Value, true
		}
	}
	return d.text(n, path)
}

func (d *decoder) uint(n *yaml.Node, path string, size int) (uint64, bool) {
	s := n.Value
	switch {
	case n.ShortTag() == "!!str":
		help := ""
		if n.Style&(yaml.SingleQuotedStyle|yaml.DoubleQuotedStyle) != 0 && strings.Trim(s, "0123456789") == "" && s != "" {
			help = ": leave the quotes out"
		}
		d.fail(n, path, "want a whole number, not %s%s", describe(n), help)
		return 0, false
	case n.ShortTag() == "!!int" && strings.HasPrefix(s, "-"):
		d.fail(n, path, "is negative (%s): want 0 or more", short(s))
		return 0, false
	}
	v, err := strconv.ParseUint(s, 10, size)
	if err != nil || (len(s) > 1 && s[0] == '0') {
		d.fail(n, path, "want a whole number from 0 to %d, not %s", uint64(1)<<(size-1)-1+uint64(1)<<(size-1), describe(n))
		return 0, false
	}
	return v, true
}

func (d *decoder) enum(n *yaml.Node, path string, fd protoreflect.FieldDescriptor) (protoreflect.Value, bool) {
	num, ok := ParseWord(fd.Enum(), n.Value)
	if !ok {
		words := Words(fd.Enum())
		help := ""
		if near := nearest(n.Value, words); near != "" {
			help = "; did you mean " + near + "?"
		}
		d.fail(n, path, "%s is unknown: want one of %s%s", short(n.Value), strings.Join(words, ", "), help)
	}
	return protoreflect.ValueOfEnum(num), ok
}

func (d *decoder) duration(n *yaml.Node, path string) (protoreflect.Value, bool) {
	v, err := time.ParseDuration(n.Value)
	if err != nil {
		help := ""
		if n.ShortTag() == "!!int" {
			help = ": add the unit, such as " + n.Value + "s"
		}
		d.fail(n, path, "%s is no duration such as 500ms, 30s or 1h30m%s", short(n.Value), help)
		return protoreflect.Value{}, false
	}
	if v < 0 {
		d.fail(n, path, "is negative (%s)", v)
		return protoreflect.Value{}, false
	}
	return protoreflect.ValueOfMessage(durationpb.New(v).ProtoReflect()), true
}
