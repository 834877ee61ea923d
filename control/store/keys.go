package store

import (
	"encoding/base64"
	"strings"

	dhowv1 "dhow.dev/dhow/proto/dhow/v1"
	"dhow.dev/dhow/proto/spec"
)

// The keys of the state. Names hold no zero byte, so that keys sort by
// namespace and then by name.
//
//	a                                   applied index and term
//	o kind namespace 0 name             the object
//	w kind namespace 0 workload 0 name  index: instances, revisions, events
//	n node 0 namespace 0 name           index: instances
const (
	tableObjects  = 'o'
	tableWorkload = 'w'
	tableNode     = 'n'
)

var keyApplied = []byte{'a'} //nolint:gochecknoglobals // A constant; Go has none of this type.

// maxName is generous: names are checked where they come in.
const maxName = 512

func objectPrefix(k dhowv1.Kind) []byte { return []byte{tableObjects, byte(k)} }

func objectKey(k dhowv1.Kind, namespace, name string) []byte {
	b := make([]byte, 0, 3+len(namespace)+len(name))
	b = append(b, tableObjects, byte(k))
	return appendName(b, namespace, name)
}

func appendName(b []byte, namespace, name string) []byte {
	b = append(b, namespace...)
	b = append(b, 0)
	return append(b, name...)
}

func workloadPrefix(k dhowv1.Kind, namespace, workload string) []byte {
	b := make([]byte, 0, 80)
	b = append(b, tableWorkload, byte(k))
	b = appendName(b, namespace, workload)
	return append(b, 0)
}

func nodePrefix(node string) []byte {
	b := make([]byte, 0, 80)
	b = append(b, tableNode)
	b = append(b, node...)
	return append(b, 0)
}

// end is the first key after all that begin with the prefix.
func end(prefix []byte) []byte {
	e := append([]byte(nil), prefix...)
	for i := len(e) - 1; i >= 0; i-- {
		if e[i]++; e[i] != 0 {
			return e[:i+1]
		}
	}
	return nil
}

// workloadOf is the workload an instance, revision or event belongs to. An
// event's is read from the name of what it regards: instances are called
// WORKLOAD-INDEX-HASH, revisions WORKLOAD.NUMBER.
func workloadOf(o *dhowv1.Object) string {
	switch k := o.GetKind().(type) {
	case *dhowv1.Object_Instance:
		return k.Instance.GetSpec().GetWorkload()
	case *dhowv1.Object_Revision:
		return k.Revision.GetWorkload()
	case *dhowv1.Object_Event:
		r := k.Event.GetRegarding()
		name := r.GetName()
		switch r.GetKind() {
		case dhowv1.Kind_KIND_WORKLOAD:
			return name
		case dhowv1.Kind_KIND_REVISION:
			return cutLast(name, '.')
		case dhowv1.Kind_KIND_INSTANCE:
			return cutLast(cutLast(name, '-'), '-')
		default:
		}
	}
	return ""
}

func cutLast(s string, sep byte) string {
	if i := strings.LastIndexByte(s, sep); i >= 0 {
		return s[:i]
	}
	return s
}

func nodeOf(o *dhowv1.Object) string { return o.GetInstance().GetSpec().GetNode() }

// indexKeys are the secondary keys of an object.
func indexKeys(o *dhowv1.Object) (byWorkload, byNode []byte) {
	if o == nil {
		return nil, nil
	}
	m, k := spec.MetaOf(o), spec.KindOf(o)
	if w := workloadOf(o); w != "" {
		byWorkload = append(workloadPrefix(k, m.GetNamespace(), w), m.GetName()...)
	}
	if n := nodeOf(o); n != "" {
		byNode = appendName(nodePrefix(n), m.GetNamespace(), m.GetName())
	}
	return byWorkload, byNode
}

// A continue token is the namespace and name of the last object of a page.
func token(o *dhowv1.Object) string {
	m := spec.MetaOf(o)
	return base64.RawURLEncoding.EncodeToString(appendName(nil, m.GetNamespace(), m.GetName()))
}

func parseToken(t string) (namespace, name string, err error) {
	raw, err := base64.RawURLEncoding.DecodeString(t)
	namespace, name, ok := strings.Cut(string(raw), "\x00")
	if err != nil || !ok || name == "" || strings.ContainsRune(name, 0) {
		return "", "", &spec.Error{Code: spec.CodeInvalid, Path: "continue", Message: "is not what an earlier answer gave"}
	}
	return namespace, name, nil
}
