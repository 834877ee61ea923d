package api

import (
	"context"
	"errors"
	"fmt"
	"strconv"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	"dhow.dev/dhow/control/auth"
	"dhow.dev/dhow/control/store"
	dhowv1 "dhow.dev/dhow/proto/dhow/v1"
	"dhow.dev/dhow/proto/spec"
)

// How often a delete is tried again when what it looked at has changed.
const deleteTries = 5

// Delete removes objects, all or none. To delete an instance is to ask the
// leader to stop and replace it.
func (o objects) Delete(ctx context.Context, req *dhowv1.DeleteRequest) (*dhowv1.DeleteResponse, error) {
	refs := req.GetRefs()
	if err := checkCount("refs", len(refs)); err != nil {
		return nil, err
	}
	seen := make(map[key]bool, len(refs))
	var errs []error
	for i, r := range refs {
		at := "refs[" + strconv.Itoa(i) + "]"
		if err := checkRef(at, r); err != nil {
			errs = append(errs, err)
			continue
		}
		if err := allowed(ctx, auth.VerbDelete, r.GetKind()); err != nil {
			return nil, err
		}
		k := key{r.GetKind(), r.GetNamespace(), r.GetName()}
		if seen[k] {
			errs = append(errs, &spec.Error{Code: spec.CodeInvalid, Path: at, Message: fmt.Sprintf("names %s %q a second time", spec.KindName(k.kind), k.name)})
		}
		seen[k] = true
	}
	if len(errs) > 0 {
		return nil, errors.Join(errs...)
	}
	for tries := deleteTries; ; tries-- {
		res, err := o.delete(ctx, refs, seen, req.GetDryRun())
		if spec.CodeOf(err) != spec.CodeConflict || tries <= 1 {
			return res, err
		}
	}
}

// delete looks at what is there and proposes on the condition that it stays so.
func (o objects) delete(ctx context.Context, refs []*dhowv1.Ref, seen map[key]bool, dry bool) (*dhowv1.DeleteResponse, error) {
	v, err := o.view(ctx, false)
	if err != nil {
		return nil, err
	}
	defer v.Close()
	p := &dhowv1.Proposal{Time: timestamppb.New(o.c.Now())}
	var errs []error
	for _, r := range refs {
		c, err := removal(v, r, seen)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		p.Changes = append(p.Changes, c)
	}
	if len(errs) > 0 {
		return nil, errors.Join(errs...)
	}
	res := &dhowv1.DeleteResponse{Revision: v.Revision()}
	for range refs {
		res.Outcomes = append(res.Outcomes, dhowv1.Outcome_OUTCOME_DELETED)
	}
	if dry {
		return res, nil
	}
	done, err := o.c.Store.Propose(ctx, p)
	if err != nil {
		return nil, err
	}
	res.Revision = done.GetRevision()
	return res, nil
}

// removal makes the change that removes one object, or says why it must stay.
func removal(v *store.View, r *dhowv1.Ref, seen map[key]bool) (*dhowv1.Change, error) {
	ob, err := v.Get(r)
	if err != nil {
		return nil, err
	}
	meta := spec.MetaOf(ob)
	ref := spec.RefOf(ob)
	gone := func(e *dhowv1.Expect) *dhowv1.Change {
		return &dhowv1.Change{Op: &dhowv1.Change_Delete{Delete: ref}, Expect: e}
	}
	unchanged := &dhowv1.Expect{Version: meta.GetVersion()}
	switch k := ob.GetKind().(type) {
	case *dhowv1.Object_Workload, *dhowv1.Object_Token:
		return gone(&dhowv1.Expect{Present: true}), nil
	case *dhowv1.Object_Namespace:
		if err := empty(v, meta.GetName(), seen); err != nil {
			return nil, err
		}
		return gone(unchanged), nil
	case *dhowv1.Object_Node:
		if s := k.Node.GetLiveness().GetState(); s == dhowv1.NodeState_NODE_STATE_READY || s == dhowv1.NodeState_NODE_STATE_SUSPECT || k.Node.GetSession().GetConnected() {
			return nil, spec.Errorf(spec.CodeInvalid, "node %s is still there: drain it and stop its agent first; only a node that is lost can be deleted", meta.GetName())
		}
		return gone(unchanged), nil
	case *dhowv1.Object_Instance:
		i := k.Instance
		if spec.Terminal(i.GetStatus().GetState()) {
			return nil, spec.Errorf(spec.CodeInvalid, "instance %s has ended already; dhow forgets it in time", meta.GetName())
		}
		if i.GetSpec().GetDesired() == dhowv1.Desired_DESIRED_STOP {
			return &dhowv1.Change{Op: &dhowv1.Change_Put{Put: ob}}, nil
		}
		c, _ := proto.Clone(i).(*dhowv1.Instance)
		c.Spec.Desired, c.Spec.StopReason = dhowv1.Desired_DESIRED_STOP, "deleted by a user"
		return &dhowv1.Change{Op: &dhowv1.Change_Put{Put: spec.Wrap(c)}, Expect: unchanged}, nil
	case *dhowv1.Object_Artifact:
		return nil, spec.Errorf(spec.CodeInvalid, "artifacts are collected when no workload uses them; they need not be deleted")
	}
	return nil, spec.Errorf(spec.CodeInvalid, "a %s cannot be deleted: dhow removes it when its workload is gone or its time is up", spec.KindName(r.GetKind()))
}

// empty tells whether nothing but what the same call deletes is in a namespace.
func empty(v *store.View, name string, seen map[key]bool) error {
	if name == spec.DefaultNamespace {
		return spec.Errorf(spec.CodeInvalid, "the namespace %q cannot be deleted", name)
	}
	for _, kind := range []dhowv1.Kind{dhowv1.Kind_KIND_WORKLOAD, dhowv1.Kind_KIND_INSTANCE} {
		sel := &dhowv1.Selector{Kind: kind, Namespace: name}
		for after := ""; ; {
			objs, next, err := v.List(sel, after, listStep)
			if err != nil {
				return err
			}
			for _, ob := range objs {
				if !seen[keyOf(ob)] || kind == dhowv1.Kind_KIND_INSTANCE {
					return spec.Errorf(spec.CodeInvalid, "namespace %q is not empty: it has at least the %s %q: delete its workloads first", name, spec.KindName(kind), spec.MetaOf(ob).GetName())
				}
			}
			if next == "" {
				break
			}
			after = next
		}
	}
	return nil
}
