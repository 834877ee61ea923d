package spec

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"

	dhowv1 "dhow.dev/dhow/proto/dhow/v1"
)

// Validate tells all that is wrong with an object, after Default: nil, or
// errors joined with errors.Join, each an *Error with CodeInvalid and the path
// of the field as manifests spell it.
func Validate(o *dhowv1.Object) error {
	c := &checker{}
	kind := KindOf(o)
	if kind == dhowv1.Kind_KIND_UNSPECIFIED {
		c.add("kind", "is missing")
		return c.err()
	}
	c.meta(kind, MetaOf(o))
	switch k := o.GetKind().(type) {
	case *dhowv1.Object_Workload:
		c.workload(k.Workload.GetSpec())
	case *dhowv1.Object_Node:
		c.labels("info.labels", k.Node.GetInfo().GetLabels())
	case *dhowv1.Object_Token:
		if _, known := dhowv1.Role_name[int32(k.Token.GetRole())]; !known || k.Token.GetRole() == 0 {
			c.add("role", "is missing: say viewer, deployer, admin, joinNode or joinServer")
		}
		c.text("description", k.Token.GetDescription())
	}
	return c.err()
}

// Errors lists the *Errors that are joined in err, in order.
func Errors(err error) []*Error {
	if err == nil {
		return nil
	}
	if joined, ok := err.(interface{ Unwrap() []error }); ok {
		var out []*Error
		for _, e := range joined.Unwrap() {
			out = append(out, Errors(e)...)
		}
		return out
	}
	if e, ok := errors.AsType[*Error](err); ok {
		return []*Error{e}
	}
	return []*Error{{Code: CodeInternal, Err: err}}
}

// checker collects what is wrong.
type checker struct{ errs []error }

// add notes a fault of the field at path.
func (c *checker) add(path, format string, args ...any) {
	c.errs = append(c.errs, &Error{Code: CodeInvalid, Path: path, Message: fmt.Sprintf(format, args...)})
}

func (c *checker) err() error { return errors.Join(c.errs...) }

func (c *checker) meta(kind dhowv1.Kind, m *dhowv1.Meta) {
	if m == nil {
		c.add("metadata", "is missing: give at least metadata.name")
		return
	}
	var why string
	switch kind {
	case dhowv1.Kind_KIND_ARTIFACT:
		why = CheckDigest(m.Name)
	case dhowv1.Kind_KIND_REVISION, dhowv1.Kind_KIND_EVENT:
		why = checkDotted(m.Name)
	default:
		why = CheckName(m.Name)
		if why == "" && kind == dhowv1.Kind_KIND_WORKLOAD && len(m.Name) > MaxWorkloadName {
			why = fmt.Sprintf("%q has %d characters; a workload's name has at most %d, so that its instances' names fit", m.Name, len(m.Name), MaxWorkloadName)
		}
	}
	if why != "" {
		c.add("metadata.name", "%s", why)
	}
	switch {
	case !Namespaced(kind) && m.Namespace != "":
		c.add("metadata.namespace", "a %s belongs to the whole cluster: leave the namespace out", KindName(kind))
	case Namespaced(kind):
		if why := CheckName(m.Namespace); why != "" {
			c.add("metadata.namespace", "%s", why)
		}
	}
	c.labels("metadata.labels", m.Labels)
	if len(m.Annotations) > MaxAnnotations {
		c.add("metadata.annotations", "has %d entries; at most %d are allowed", len(m.Annotations), MaxAnnotations)
	}
	for _, k := range slices.Sorted(maps.Keys(m.Annotations)) {
		if why := CheckLabelKey(k); why != "" {
			c.add("metadata.annotations", "%s", why)
		}
		c.text("metadata.annotations["+k+"]", m.Annotations[k])
	}
}

func (c *checker) labels(path string, labels map[string]string) {
	if len(labels) > MaxLabels {
		c.add(path, "has %d labels; at most %d are allowed", len(labels), MaxLabels)
	}
	for _, k := range slices.Sorted(maps.Keys(labels)) {
		if why := CheckLabelKey(k); why != "" {
			c.add(path, "%s", why)
		} else if strings.HasPrefix(k, LabelPrefix) {
			c.add(path+"["+k+"]", "labels that start with %s are dhow's own", LabelPrefix)
		}
		if why := CheckLabelValue(labels[k]); why != "" {
			c.add(path+"["+k+"]", "%s", why)
		}
	}
}

func (c *checker) text(path, s string) {
	if len(s) > MaxText {
		c.add(path, "has %d bytes; at most %d are allowed", len(s), MaxText)
	}
	if strings.ContainsRune(s, 0) {
		c.add(path, "contains a NUL byte")
	}
}

// duration checks one that may be absent.
func (c *checker) duration(path string, d *durationpb.Duration, least time.Duration) {
	if d == nil {
		return
	}
	switch v := d.AsDuration(); {
	case d.CheckValid() != nil:
		c.add(path, "is no valid duration")
	case v < 0:
		c.add(path, "is negative (%s)", v)
	case v < least:
		c.add(path, "is %s; at least %s is needed", v, least)
	case v > MaxDuration:
		c.add(path, "is %s; at most %s is allowed", v, MaxDuration)
	}
}
