package store

import (
	"maps"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	dhowv1 "dhow.dev/dhow/proto/dhow/v1"
	"dhow.dev/dhow/proto/spec"
)

// create completes a new object. The parts that others than its creator
// write begin empty; a node's info is part of its joining.
func create(in *dhowv1.Object, index uint64, now *timestamppb.Timestamp) {
	m := spec.MetaOf(in)
	m.Version, m.Generation = index, 1
	if m.CreatedAt == nil {
		m.CreatedAt = now
	}
	switch k := in.GetKind().(type) {
	case *dhowv1.Object_Workload:
		k.Workload.Status = nil
	case *dhowv1.Object_Instance:
		k.Instance.Status = &dhowv1.InstanceStatus{State: dhowv1.InstanceState_INSTANCE_STATE_PENDING}
	case *dhowv1.Object_Node:
		k.Node.Liveness = &dhowv1.NodeLiveness{State: dhowv1.NodeState_NODE_STATE_JOINED, Since: now}
		k.Node.Session = nil
	}
}

// update completes in to be what follows old: labels, annotations and spec
// are in's, the rest is old's. It tells whether nothing has changed.
func update(old, in *dhowv1.Object, index uint64) (same bool, err error) {
	om, m := spec.MetaOf(old), spec.MetaOf(in)
	m.Uid, m.CreatedAt, m.Version, m.Generation = om.GetUid(), om.GetCreatedAt(), om.GetVersion(), om.GetGeneration()
	sameMeta := maps.Equal(om.GetLabels(), m.GetLabels()) && maps.Equal(om.GetAnnotations(), m.GetAnnotations())
	sameSpec, err := mergeSpec(old, in)
	if err != nil {
		return false, err
	}
	if sameMeta && sameSpec {
		return true, nil
	}
	m.Version = index
	if !sameSpec {
		m.Generation++
	}
	return false, nil
}

// mergeSpec gives in the parts of old that a put does not write, and tells
// whether the rest, without meta, is the same.
func mergeSpec(old, in *dhowv1.Object) (same bool, err error) {
	switch k := in.GetKind().(type) {
	case *dhowv1.Object_Workload:
		o := old.GetWorkload()
		k.Workload.Status = o.GetStatus()
		return proto.Equal(o.GetSpec(), k.Workload.GetSpec()), nil
	case *dhowv1.Object_Instance:
		o := old.GetInstance()
		k.Instance.Status = o.GetStatus()
		same := proto.Equal(o.GetSpec(), k.Instance.GetSpec())
		if !same {
			return false, checkInstance(o, k.Instance)
		}
		return same, nil
	case *dhowv1.Object_Node:
		o := old.GetNode()
		k.Node.Info, k.Node.Liveness, k.Node.Session = o.GetInfo(), o.GetLiveness(), o.GetSession()
		return proto.Equal(o.GetSpec(), k.Node.GetSpec()), nil
	case *dhowv1.Object_Namespace:
		return true, nil
	case *dhowv1.Object_Revision:
		o, m := old.GetRevision(), k.Revision.GetMeta()
		k.Revision.Meta = o.GetMeta()
		same := proto.Equal(o, k.Revision)
		k.Revision.Meta = m
		if !same {
			return false, spec.Errorf(spec.CodeInvalid, "revision %s cannot be changed: make a new one", m.GetName())
		}
		return true, nil
	case *dhowv1.Object_Artifact:
		m := k.Artifact.GetMeta()
		k.Artifact.Meta = old.GetArtifact().GetMeta()
		same := proto.Equal(old.GetArtifact(), k.Artifact)
		k.Artifact.Meta = m
		return same, nil
	case *dhowv1.Object_Event:
		m := k.Event.GetMeta()
		k.Event.Meta = old.GetEvent().GetMeta()
		same := proto.Equal(old.GetEvent(), k.Event)
		k.Event.Meta = m
		return same, nil
	case *dhowv1.Object_Token:
		m := k.Token.GetMeta()
		k.Token.Meta = old.GetToken().GetMeta()
		same := proto.Equal(old.GetToken(), k.Token)
		k.Token.Meta = m
		return same, nil
	}
	return false, spec.Errorf(spec.CodeInvalid, "no known kind of object")
}

// checkInstance keeps what an instance is: its place among the replicas, its
// revision and, once it has one, its node.
func checkInstance(old, in *dhowv1.Instance) error {
	o, i := old.GetSpec(), in.GetSpec()
	name := in.GetMeta().GetName()
	switch {
	case o.GetNode() != "" && o.GetNode() != i.GetNode():
		return spec.Errorf(spec.CodeInvalid, "instance %s is on node %s and cannot move to %q", name, o.GetNode(), i.GetNode())
	case o.GetWorkload() != i.GetWorkload(), o.GetWorkloadUid() != i.GetWorkloadUid(),
		o.GetIndex() != i.GetIndex(), o.GetAttempt() != i.GetAttempt(), o.GetRevision() != i.GetRevision():
		return spec.Errorf(spec.CodeInvalid, "instance %s cannot change its workload, index, attempt or revision", name)
	}
	return nil
}
