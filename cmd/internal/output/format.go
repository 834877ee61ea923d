package output

import (
	"fmt"
	"io"
	"strings"

	"google.golang.org/protobuf/proto"

	"dhow.dev/dhow/cmd/internal/manifest"
	dhowv1 "dhow.dev/dhow/proto/dhow/v1"
	"dhow.dev/dhow/proto/spec"
)

// Format is what -o asks for.
type Format string

// The formats.
const (
	FormatTable Format = "table"
	FormatWide  Format = "wide"
	FormatJSON  Format = "json"
	FormatYAML  Format = "yaml"
	FormatName  Format = "name"
)

// Formats lists them for help and completion.
func Formats() []string { return []string{"table", "wide", "json", "yaml", "name"} }

// ParseFormat reads -o; empty is a table.
func ParseFormat(s string) (Format, error) {
	switch f := Format(strings.ToLower(s)); f {
	case "":
		return FormatTable, nil
	case FormatTable, FormatWide, FormatJSON, FormatYAML, FormatName:
		return f, nil
	}
	return "", spec.Errorf(spec.CodeInvalid, "output format %q is unknown: say %s", s, strings.Join(Formats(), ", "))
}

// Table tells whether the format is one for people.
func (f Format) Table() bool { return f == FormatTable || f == FormatWide }

// Objects writes objects in a format for programs. One that was asked for by
// name stands alone; others are a list.
func Objects(w io.Writer, f Format, single bool, objs []*dhowv1.Object) error {
	ms := make([]proto.Message, len(objs))
	for i, o := range objs {
		ms[i] = o
	}
	switch f {
	case FormatJSON:
		return manifest.WriteJSON(w, !single || len(ms) != 1, ms...)
	case FormatYAML:
		return manifest.WriteYAML(w, ms...)
	default:
	}
	for _, o := range objs {
		if _, err := fmt.Fprintln(w, Name(o)); err != nil {
			return err
		}
	}
	return nil
}

// Name is kind/name, as -o name prints it and as other verbs take it.
func Name(o *dhowv1.Object) string {
	return spec.KindName(spec.KindOf(o)) + "/" + spec.MetaOf(o).GetName()
}

// Message writes one message that is no object in a format for programs.
func Message(w io.Writer, f Format, m proto.Message) error {
	switch f {
	case FormatJSON:
		return manifest.WriteJSON(w, false, m)
	case FormatYAML:
		return manifest.WriteYAML(w, m)
	default:
	}
	return spec.Errorf(spec.CodeInvalid, "-o %s: this has no name: say json or yaml", f)
}
