package api

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"

	"google.golang.org/protobuf/types/known/timestamppb"

	"dhow.dev/dhow/control/auth"
	"dhow.dev/dhow/control/store"
	dhowv1 "dhow.dev/dhow/proto/dhow/v1"
	"dhow.dev/dhow/proto/spec"
)

// maxObjects in one call; they become one entry of the log.
const maxObjects = 10_000

// Apply validates, stamps and proposes. The request's objects are this call's
// own, so they are changed in place.
func (o objects) Apply(ctx context.Context, req *dhowv1.ApplyRequest) (*dhowv1.ApplyResponse, error) {
	objs := req.GetObjects()
	if err := checkCount("objects", len(objs)); err != nil {
		return nil, err
	}
	p := &dhowv1.Proposal{Time: timestamppb.New(o.c.Now()), Changes: make([]*dhowv1.Change, len(objs))}
	var errs []error
	for i, ob := range objs {
		change, err := o.stamp(ctx, ob, req.GetCreateOnly())
		if err != nil {
			errs = append(errs, within("objects", i, len(objs), err))
			continue
		}
		p.Changes[i] = change
	}
	if len(errs) > 0 {
		return nil, errors.Join(errs...)
	}
	if err := twice(objs); err != nil {
		return nil, err
	}
	if err := o.references(ctx, objs); err != nil {
		return nil, err
	}
	if req.GetDryRun() {
		return o.dryRun(ctx, p)
	}
	res, err := o.c.Store.Propose(ctx, p)
	if err != nil {
		return nil, err
	}
	return &dhowv1.ApplyResponse{Objects: res.GetObjects(), Outcomes: res.GetOutcomes(), Revision: res.GetRevision()}, nil
}

// stamp checks one object and makes the change that puts it.
func (o objects) stamp(ctx context.Context, ob *dhowv1.Object, createOnly bool) (*dhowv1.Change, error) {
	kind := spec.KindOf(ob)
	switch kind {
	case dhowv1.Kind_KIND_NAMESPACE, dhowv1.Kind_KIND_WORKLOAD, dhowv1.Kind_KIND_NODE:
	case dhowv1.Kind_KIND_UNSPECIFIED:
		return nil, &spec.Error{Code: spec.CodeInvalid, Path: "kind", Message: "is missing or unknown: apply a namespace, a workload or a node"}
	case dhowv1.Kind_KIND_TOKEN:
		return nil, &spec.Error{Code: spec.CodeInvalid, Path: "kind", Message: "tokens cannot be applied: `dhow token create` makes one"}
	case dhowv1.Kind_KIND_ARTIFACT:
		return nil, &spec.Error{Code: spec.CodeInvalid, Path: "kind", Message: "artifacts cannot be applied: `dhow push` uploads one"}
	default:
		return nil, &spec.Error{Code: spec.CodeInvalid, Path: "kind", Message: "a " + spec.KindName(kind) + " cannot be applied: dhow makes them from workloads"}
	}
	if err := allowed(ctx, auth.VerbWrite, kind); err != nil {
		return nil, err
	}
	spec.Default(ob)
	meta := spec.MetaOf(ob)
	expect := (*dhowv1.Expect)(nil)
	if createOnly {
		expect = &dhowv1.Expect{Absent: true}
	}
	if meta.GetVersion() != 0 {
		if createOnly {
			return nil, &spec.Error{Code: spec.CodeInvalid, Path: "metadata.version", Message: "must not be given for an object that is to be created"}
		}
		expect = &dhowv1.Expect{Version: meta.GetVersion()}
	}
	// Of each kind only what users write goes on; the rest has other writers.
	switch k := ob.GetKind().(type) {
	case *dhowv1.Object_Workload:
		if k.Workload != nil {
			k.Workload.Status = nil
		}
	case *dhowv1.Object_Node:
		if k.Node != nil {
			k.Node.Info, k.Node.Liveness, k.Node.Session = nil, nil, nil
			if k.Node.Spec == nil {
				k.Node.Spec = &dhowv1.NodeSpec{}
			}
		}
		if createOnly {
			return nil, &spec.Error{Code: spec.CodeInvalid, Path: "kind", Message: "a node is created when it joins: `dhow agent --join`"}
		}
		if expect == nil {
			expect = &dhowv1.Expect{Present: true}
		}
	}
	if err := spec.Validate(ob); err != nil {
		return nil, err
	}
	meta.Uid, meta.Version, meta.Generation, meta.CreatedAt = o.c.NewUID(), 0, 0, nil
	return &dhowv1.Change{Op: &dhowv1.Change_Put{Put: ob}, Expect: expect}, nil
}

func checkCount(path string, n int) error {
	if n == 0 {
		return &spec.Error{Code: spec.CodeInvalid, Path: path, Message: "is empty: there is nothing to do"}
	}
	if n > maxObjects {
		return &spec.Error{Code: spec.CodeExhausted, Path: path, Message: fmt.Sprintf("has %d entries; at most %d go into one call: send several", n, maxObjects)}
	}
	return nil
}

// within says which of several objects the errors are about.
func within(path string, i, n int, err error) error {
	if n == 1 {
		return err
	}
	at := path + "[" + strconv.Itoa(i) + "]"
	var out []error
	for _, e := range spec.Errors(err) {
		c := *e
		if c.Path = at; e.Path != "" {
			c.Path += "." + e.Path
		}
		out = append(out, &c)
	}
	return errors.Join(out...)
}

// key names an object within a request.
type key struct {
	kind            dhowv1.Kind
	namespace, name string
}

func keyOf(ob *dhowv1.Object) key {
	m := spec.MetaOf(ob)
	return key{spec.KindOf(ob), m.GetNamespace(), m.GetName()}
}

// twice refuses a request that names one object more than once.
func twice(objs []*dhowv1.Object) error {
	if len(objs) == 1 {
		return nil
	}
	seen := make(map[key]int, len(objs))
	for i, ob := range objs {
		k := keyOf(ob)
		if at, ok := seen[k]; ok {
			return &spec.Error{
				Code: spec.CodeInvalid, Path: fmt.Sprintf("objects[%d].metadata.name", i),
				Message: fmt.Sprintf("%s %q is there already, as objects[%d]", spec.KindName(k.kind), k.name, at),
			}
		}
		seen[k] = i
	}
	return nil
}

// references checks that what the objects speak of exists: namespaces and
// artifacts. When something is missing here, another server may just have made
// it, so the state is brought up to date before the answer is no.
func (o objects) references(ctx context.Context, objs []*dhowv1.Object) error {
	if err := o.missing(objs); err == nil {
		return nil
	}
	if err := o.catchUp(ctx); err != nil {
		return err
	}
	return o.missing(objs)
}

func (o objects) missing(objs []*dhowv1.Object) error {
	if !slices.ContainsFunc(objs, func(ob *dhowv1.Object) bool { return ob.GetWorkload() != nil }) {
		return nil
	}
	v := o.c.Store.View()
	defer v.Close()
	r := resolver{v: v, known: map[key]bool{}}
	for _, ob := range objs {
		if spec.KindOf(ob) == dhowv1.Kind_KIND_NAMESPACE {
			r.known[keyOf(ob)] = true
		}
	}
	var errs []error
	for i, ob := range objs {
		w := ob.GetWorkload()
		if w == nil {
			continue
		}
		if err := r.check(w); err != nil {
			errs = append(errs, within("objects", i, len(objs), err))
		}
	}
	return errors.Join(errs...)
}

// resolver finds references, each once.
type resolver struct {
	v     *store.View
	known map[key]bool
}

func (r *resolver) exists(k key) (bool, error) {
	if ok, asked := r.known[k]; asked {
		return ok, nil
	}
	_, err := r.v.Get(&dhowv1.Ref{Kind: k.kind, Namespace: k.namespace, Name: k.name})
	if err != nil && spec.CodeOf(err) != spec.CodeNotFound {
		return false, err
	}
	r.known[k] = err == nil
	return err == nil, nil
}

func (r *resolver) check(w *dhowv1.Workload) error {
	ns := w.GetMeta().GetNamespace()
	ok, err := r.exists(key{kind: dhowv1.Kind_KIND_NAMESPACE, name: ns})
	if err != nil {
		return err
	}
	var errs []error
	if !ok {
		errs = append(errs, &spec.Error{Code: spec.CodeNotFound, Path: "metadata.namespace", Message: fmt.Sprintf("there is no namespace %q: create it first, with a manifest of kind namespace", ns)})
	}
	for i, t := range w.GetSpec().GetTemplate().GetTasks() {
		digest := t.GetWasm().GetArtifact()
		if digest == "" {
			continue
		}
		ok, err := r.exists(key{kind: dhowv1.Kind_KIND_ARTIFACT, name: digest})
		if err != nil {
			return err
		}
		if !ok {
			errs = append(errs, &spec.Error{
				Code: spec.CodeNotFound, Path: fmt.Sprintf("spec.template.tasks[%d].wasm.artifact", i),
				Message: fmt.Sprintf("there is no artifact %s: upload it first, with `dhow push`", digest),
			})
		}
	}
	return errors.Join(errs...)
}
