package spec

import (
	"fmt"
	"strings"

	"google.golang.org/protobuf/proto"

	dhowv1 "dhow.dev/dhow/proto/dhow/v1"
)

// KindOf tells the kind of an object; KIND_UNSPECIFIED for an empty one.
func KindOf(o *dhowv1.Object) dhowv1.Kind {
	switch o.GetKind().(type) {
	case *dhowv1.Object_Namespace:
		return dhowv1.Kind_KIND_NAMESPACE
	case *dhowv1.Object_Workload:
		return dhowv1.Kind_KIND_WORKLOAD
	case *dhowv1.Object_Revision:
		return dhowv1.Kind_KIND_REVISION
	case *dhowv1.Object_Instance:
		return dhowv1.Kind_KIND_INSTANCE
	case *dhowv1.Object_Node:
		return dhowv1.Kind_KIND_NODE
	case *dhowv1.Object_Artifact:
		return dhowv1.Kind_KIND_ARTIFACT
	case *dhowv1.Object_Event:
		return dhowv1.Kind_KIND_EVENT
	case *dhowv1.Object_Token:
		return dhowv1.Kind_KIND_TOKEN
	}
	return dhowv1.Kind_KIND_UNSPECIFIED
}

// MetaOf returns the object's meta, nil when it has none.
func MetaOf(o *dhowv1.Object) *dhowv1.Meta {
	switch k := o.GetKind().(type) {
	case *dhowv1.Object_Namespace:
		return k.Namespace.GetMeta()
	case *dhowv1.Object_Workload:
		return k.Workload.GetMeta()
	case *dhowv1.Object_Revision:
		return k.Revision.GetMeta()
	case *dhowv1.Object_Instance:
		return k.Instance.GetMeta()
	case *dhowv1.Object_Node:
		return k.Node.GetMeta()
	case *dhowv1.Object_Artifact:
		return k.Artifact.GetMeta()
	case *dhowv1.Object_Event:
		return k.Event.GetMeta()
	case *dhowv1.Object_Token:
		return k.Token.GetMeta()
	}
	return nil
}

// Wrap puts a message of one of the kinds into an Object. It panics on any
// other message, which is a programmer's mistake.
func Wrap(m proto.Message) *dhowv1.Object {
	switch m := m.(type) {
	case *dhowv1.Namespace:
		return &dhowv1.Object{Kind: &dhowv1.Object_Namespace{Namespace: m}}
	case *dhowv1.Workload:
		return &dhowv1.Object{Kind: &dhowv1.Object_Workload{Workload: m}}
	case *dhowv1.Revision:
		return &dhowv1.Object{Kind: &dhowv1.Object_Revision{Revision: m}}
	case *dhowv1.Instance:
		return &dhowv1.Object{Kind: &dhowv1.Object_Instance{Instance: m}}
	case *dhowv1.Node:
		return &dhowv1.Object{Kind: &dhowv1.Object_Node{Node: m}}
	case *dhowv1.Artifact:
		return &dhowv1.Object{Kind: &dhowv1.Object_Artifact{Artifact: m}}
	case *dhowv1.Event:
		return &dhowv1.Object{Kind: &dhowv1.Object_Event{Event: m}}
	case *dhowv1.Token:
		return &dhowv1.Object{Kind: &dhowv1.Object_Token{Token: m}}
	}
	panic(fmt.Sprintf("spec: %T is not an object", m))
}

// Namespaced tells whether objects of the kind live in a namespace.
func Namespaced(k dhowv1.Kind) bool {
	switch k {
	case dhowv1.Kind_KIND_WORKLOAD, dhowv1.Kind_KIND_REVISION, dhowv1.Kind_KIND_INSTANCE, dhowv1.Kind_KIND_EVENT:
		return true
	default:
		return false
	}
}

// RefOf names the object, uid included.
func RefOf(o *dhowv1.Object) *dhowv1.Ref {
	m := MetaOf(o)
	return &dhowv1.Ref{Kind: KindOf(o), Namespace: m.GetNamespace(), Name: m.GetName(), Uid: m.GetUid()}
}

// KindName is the singular, lower-case name of a kind: "workload".
func KindName(k dhowv1.Kind) string {
	return strings.ToLower(strings.TrimPrefix(k.String(), "KIND_"))
}

// TypeName is the lower-case name of a workload's type: "service".
func TypeName(t dhowv1.WorkloadType) string {
	return strings.ToLower(strings.TrimPrefix(t.String(), "WORKLOAD_TYPE_"))
}

// RevisionName is the name of a workload's numbered revision.
func RevisionName(workload string, number uint64) string {
	return fmt.Sprintf("%s.%d", workload, number)
}
