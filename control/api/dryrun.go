package api

import (
	"context"
	"maps"

	"google.golang.org/protobuf/proto"

	"dhow.dev/dhow/control/store"
	dhowv1 "dhow.dev/dhow/proto/dhow/v1"
	"dhow.dev/dhow/proto/spec"
)

// dryRun answers what the proposal would do to the state as it is now.
func (o objects) dryRun(ctx context.Context, p *dhowv1.Proposal) (*dhowv1.ApplyResponse, error) {
	v, err := o.view(ctx, false)
	if err != nil {
		return nil, err
	}
	defer v.Close()
	res := &dhowv1.ApplyResponse{Revision: v.Revision()}
	for _, c := range p.GetChanges() {
		ob := c.GetPut()
		outcome, err := wouldPut(v, ob, c.GetExpect())
		if err != nil {
			return nil, err
		}
		res.Objects, res.Outcomes = append(res.Objects, ob), append(res.Outcomes, outcome)
	}
	return res, nil
}

// wouldPut tells what a put would do, and makes ob what would be stored as far
// as that is known before it is.
func wouldPut(v *store.View, ob *dhowv1.Object, e *dhowv1.Expect) (dhowv1.Outcome, error) {
	meta, kind := spec.MetaOf(ob), spec.KindOf(ob)
	old, err := v.Get(&dhowv1.Ref{Kind: kind, Namespace: meta.GetNamespace(), Name: meta.GetName()})
	if err != nil && spec.CodeOf(err) != spec.CodeNotFound {
		return 0, err
	}
	name := spec.KindName(kind) + " " + meta.GetName()
	if old == nil {
		if e.GetPresent() || e.GetVersion() != 0 {
			return 0, spec.Errorf(spec.CodeNotFound, "there is no %s", name)
		}
		meta.Uid, meta.Generation = "", 1
		return dhowv1.Outcome_OUTCOME_CREATED, nil
	}
	was := spec.MetaOf(old)
	if e.GetAbsent() {
		return 0, spec.Errorf(spec.CodeExists, "%s exists already", name)
	}
	if e.GetVersion() != 0 && e.GetVersion() != was.GetVersion() {
		return 0, spec.Errorf(spec.CodeConflict, "%s was changed meanwhile: it is at version %d, not %d: read it again", name, was.GetVersion(), e.GetVersion())
	}
	meta.Uid, meta.CreatedAt = was.GetUid(), was.GetCreatedAt()
	meta.Version, meta.Generation = was.GetVersion(), was.GetGeneration()
	sameMeta := maps.Equal(meta.GetLabels(), was.GetLabels()) && maps.Equal(meta.GetAnnotations(), was.GetAnnotations())
	sameSpec := true
	switch k := ob.GetKind().(type) {
	case *dhowv1.Object_Workload:
		k.Workload.Status = old.GetWorkload().GetStatus()
		sameSpec = proto.Equal(k.Workload.GetSpec(), old.GetWorkload().GetSpec())
	case *dhowv1.Object_Node:
		n := old.GetNode()
		k.Node.Info, k.Node.Liveness, k.Node.Session = n.GetInfo(), n.GetLiveness(), n.GetSession()
		sameSpec = proto.Equal(k.Node.GetSpec(), n.GetSpec())
	}
	if sameMeta && sameSpec {
		return dhowv1.Outcome_OUTCOME_UNCHANGED, nil
	}
	if !sameSpec {
		meta.Generation++
	}
	return dhowv1.Outcome_OUTCOME_CHANGED, nil
}
