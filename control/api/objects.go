package api

import (
	"context"
	"slices"

	"google.golang.org/protobuf/proto"

	"dhow.dev/dhow/control/auth"
	"dhow.dev/dhow/control/store"
	dhowv1 "dhow.dev/dhow/proto/dhow/v1"
	"dhow.dev/dhow/proto/spec"
)

// objects is the ObjectService.
type objects struct{ *API }

// Get answers one object.
func (o objects) Get(ctx context.Context, req *dhowv1.GetRequest) (*dhowv1.GetResponse, error) {
	ref := req.GetRef()
	if err := checkRef("ref", ref); err != nil {
		return nil, err
	}
	if err := allowed(ctx, auth.VerbRead, ref.GetKind()); err != nil {
		return nil, err
	}
	v, err := o.view(ctx, req.GetStale())
	if err != nil {
		return nil, err
	}
	defer v.Close()
	ob, err := v.Get(ref)
	if err != nil {
		return nil, err
	}
	return &dhowv1.GetResponse{Object: public(Caller(ctx), ob), Revision: v.Revision()}, nil
}

// view is a snapshot that has every write acknowledged before the call, or,
// when stale, what is here.
func (a *API) view(ctx context.Context, stale bool) (*store.View, error) {
	if !stale {
		if err := a.catchUp(ctx); err != nil {
			return nil, err
		}
	}
	return a.c.Store.View(), nil
}

// catchUp waits until the state here has every write acknowledged before.
func (a *API) catchUp(ctx context.Context) error {
	index, err := a.c.Reads.ReadIndex(ctx)
	if err != nil {
		return err
	}
	return a.c.Store.WaitRevision(ctx, index)
}

// checkRef checks what names an object, and fills in the default namespace.
func checkRef(path string, r *dhowv1.Ref) error {
	if r == nil {
		return &spec.Error{Code: spec.CodeInvalid, Path: path, Message: "is missing: name a kind and a name"}
	}
	if _, known := dhowv1.Kind_name[int32(r.Kind)]; !known || r.Kind == 0 {
		return &spec.Error{Code: spec.CodeInvalid, Path: path + ".kind", Message: "is missing or unknown"}
	}
	if r.Name == "" {
		return &spec.Error{Code: spec.CodeInvalid, Path: path + ".name", Message: "is missing"}
	}
	if !spec.Namespaced(r.Kind) {
		if r.Namespace != "" {
			return &spec.Error{Code: spec.CodeInvalid, Path: path + ".namespace", Message: "a " + spec.KindName(r.Kind) + " belongs to the whole cluster: leave the namespace out"}
		}
	} else if r.Namespace == "" {
		r.Namespace = spec.DefaultNamespace
	}
	return nil
}

// public is the object as it may leave the servers for the caller: without a
// token's hash, and for viewers without the values of secrets. Objects of the
// store are shared, so one that changes is copied.
func public(to auth.Identity, o *dhowv1.Object) *dhowv1.Object {
	if t := o.GetToken(); t != nil {
		return &dhowv1.Object{Kind: &dhowv1.Object_Token{Token: publicToken(t)}}
	}
	if to.Caller() == auth.Viewer && hasSecrets(templateOf(o)) {
		o = proto.CloneOf(o)
		for _, t := range templateOf(o).GetTasks() {
			for name := range t.GetWasm().GetHost().GetSecrets() {
				t.GetWasm().GetHost().GetSecrets()[name] = hidden
			}
		}
	}
	return o
}

// hidden stands for a value that the caller may not see.
const hidden = "(hidden)"

func templateOf(o *dhowv1.Object) *dhowv1.Template {
	if r := o.GetRevision(); r != nil {
		return r.GetTemplate()
	}
	return o.GetWorkload().GetSpec().GetTemplate()
}

func hasSecrets(t *dhowv1.Template) bool {
	return slices.ContainsFunc(t.GetTasks(), func(t *dhowv1.Task) bool { return len(t.GetWasm().GetHost().GetSecrets()) > 0 })
}

func publicToken(t *dhowv1.Token) *dhowv1.Token {
	return &dhowv1.Token{Meta: t.GetMeta(), Role: t.GetRole(), ExpiresAt: t.GetExpiresAt(), Description: t.GetDescription()}
}

func publicEvents(to auth.Identity, events []*dhowv1.WatchEvent) []*dhowv1.WatchEvent {
	shared := true // with other watchers
	for i, e := range events {
		if o := public(to, e.GetObject()); o != e.GetObject() {
			if shared {
				events, shared = slices.Clone(events), false
			}
			events[i] = &dhowv1.WatchEvent{Type: e.GetType(), Object: o}
		}
	}
	return events
}
