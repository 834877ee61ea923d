package store

import (
	"strings"

	"google.golang.org/protobuf/proto"

	dhowv1 "dhow.dev/dhow/proto/dhow/v1"
	"dhow.dev/dhow/proto/spec"
)

const unchanged = dhowv1.Outcome_OUTCOME_UNCHANGED

// change makes one change. A *spec.Error refuses the proposal; any other
// error is the disk's fault.
func (t *tx) change(p *dhowv1.Proposal, c *dhowv1.Change) (*dhowv1.Object, dhowv1.Outcome, error) {
	switch op := c.GetOp().(type) {
	case *dhowv1.Change_Put:
		return t.put(p, op.Put, c.GetExpect())
	case *dhowv1.Change_Delete:
		return t.delete(op.Delete, c.GetExpect())
	case *dhowv1.Change_Instance:
		return t.instance(op.Instance)
	case *dhowv1.Change_Workload:
		return t.workload(op.Workload)
	case *dhowv1.Change_Node:
		return t.node(op.Node.GetNode(), true, func(n *dhowv1.Node) bool {
			same := proto.Equal(n.Info, op.Node.GetInfo())
			n.Info = op.Node.GetInfo()
			return same
		})
	case *dhowv1.Change_Liveness:
		return t.node(op.Liveness.GetNode(), false, func(n *dhowv1.Node) bool {
			same := proto.Equal(n.Liveness, op.Liveness.GetLiveness())
			n.Liveness = op.Liveness.GetLiveness()
			return same
		})
	case *dhowv1.Change_Session:
		return t.node(op.Session.GetNode(), true, func(n *dhowv1.Node) bool {
			s := op.Session.GetSession()
			if !s.GetConnected() && s.GetId() != n.Session.GetId() {
				return true // The end of a session that a newer one has replaced.
			}
			same := proto.Equal(n.Session, s)
			n.Session = s
			return same
		})
	}
	return nil, 0, spec.Errorf(spec.CodeInvalid, "a change of no known type: the servers may be of different versions")
}

func (t *tx) put(p *dhowv1.Proposal, in *dhowv1.Object, e *dhowv1.Expect) (*dhowv1.Object, dhowv1.Outcome, error) {
	k, m := spec.KindOf(in), spec.MetaOf(in)
	if err := checkName(k, m.GetNamespace(), m.GetName()); err != nil {
		return nil, 0, err
	}
	old, err := t.get(k, m.GetNamespace(), m.GetName())
	if err != nil {
		return nil, 0, err
	}
	if err := expect(e, old, k, m.GetName()); err != nil {
		return nil, 0, err
	}
	if old == nil {
		if m.GetUid() == "" {
			return nil, 0, spec.Errorf(spec.CodeInvalid, "%s %s has no uid", spec.KindName(k), m.GetName())
		}
		create(in, t.index, p.GetTime())
		t.set(k, m.GetNamespace(), m.GetName(), nil, in)
		return in, dhowv1.Outcome_OUTCOME_CREATED, nil
	}
	same, err := update(old, in, t.index)
	if err != nil {
		return nil, 0, err
	}
	if same {
		return old, unchanged, nil
	}
	t.set(k, m.GetNamespace(), m.GetName(), old, in)
	return in, dhowv1.Outcome_OUTCOME_CHANGED, nil
}

func (t *tx) delete(r *dhowv1.Ref, e *dhowv1.Expect) (*dhowv1.Object, dhowv1.Outcome, error) {
	if err := checkName(r.GetKind(), r.GetNamespace(), r.GetName()); err != nil {
		return nil, 0, err
	}
	old, err := t.get(r.GetKind(), r.GetNamespace(), r.GetName())
	if err != nil {
		return nil, 0, err
	}
	if !means(r, old) {
		old = nil
	}
	if err := expect(e, old, r.GetKind(), r.GetName()); err != nil {
		return nil, 0, err
	}
	if old == nil {
		return nil, unchanged, nil
	}
	t.set(r.GetKind(), r.GetNamespace(), r.GetName(), old, nil)
	return nil, dhowv1.Outcome_OUTCOME_DELETED, nil
}

// instance takes a node's report. One about an instance that is gone, or
// that is older than what is known, is skipped.
func (t *tx) instance(rep *dhowv1.InstanceReport) (*dhowv1.Object, dhowv1.Outcome, error) {
	old, err := t.target(rep.GetRef(), dhowv1.Kind_KIND_INSTANCE)
	if err != nil || old == nil {
		return nil, unchanged, err
	}
	i := old.GetInstance()
	if i.GetSpec().GetNode() != rep.GetNode() || rep.GetNode() == "" {
		return nil, 0, spec.Errorf(spec.CodeDenied, "instance %s is not node %q's", rep.GetRef().GetName(), rep.GetNode())
	}
	st := rep.GetStatus()
	if st.GetSequence() <= i.GetStatus().GetSequence() || !spec.Forward(i.GetStatus().GetState(), st.GetState()) {
		return old, unchanged, nil
	}
	n := &dhowv1.Instance{Meta: t.bump(i.GetMeta()), Spec: i.GetSpec(), Status: st}
	return t.replace(old, n, i)
}

// workload takes the leader's report. One about a workload that is gone is
// skipped.
func (t *tx) workload(rep *dhowv1.WorkloadReport) (*dhowv1.Object, dhowv1.Outcome, error) {
	old, err := t.target(rep.GetRef(), dhowv1.Kind_KIND_WORKLOAD)
	if err != nil || old == nil {
		return nil, unchanged, err
	}
	w := old.GetWorkload()
	if proto.Equal(w.GetStatus(), rep.GetStatus()) {
		return old, unchanged, nil
	}
	n := &dhowv1.Workload{Meta: t.bump(w.GetMeta()), Spec: w.GetSpec(), Status: rep.GetStatus()}
	return t.replace(old, n, w)
}

// node changes a part of a node; write says whether it left it as it was.
// What must be known, or is skipped, is the caller's choice.
func (t *tx) node(name string, must bool, write func(*dhowv1.Node) (same bool)) (*dhowv1.Object, dhowv1.Outcome, error) {
	old, err := t.target(&dhowv1.Ref{Kind: dhowv1.Kind_KIND_NODE, Name: name}, dhowv1.Kind_KIND_NODE)
	if err != nil {
		return nil, 0, err
	}
	if old == nil {
		if must {
			return nil, 0, spec.Errorf(spec.CodeNotFound, "there is no node %s: it must join again", name)
		}
		return nil, unchanged, nil
	}
	o := old.GetNode()
	n := &dhowv1.Node{Meta: t.bump(o.GetMeta()), Spec: o.GetSpec(), Info: o.GetInfo(), Liveness: o.GetLiveness(), Session: o.GetSession()}
	if write(n) {
		return old, unchanged, nil
	}
	return t.replace(old, n, o)
}

// target finds what a report is about; nil when there is none.
func (t *tx) target(r *dhowv1.Ref, k dhowv1.Kind) (*dhowv1.Object, error) {
	if err := checkName(k, r.GetNamespace(), r.GetName()); err != nil {
		return nil, err
	}
	o, err := t.get(k, r.GetNamespace(), r.GetName())
	if err != nil || !means(r, o) {
		return nil, err
	}
	return o, nil
}

// replace stages now, made of old's parts; was is the message old holds, for
// the fields that only a newer version knows.
func (t *tx) replace(old *dhowv1.Object, now, was proto.Message) (*dhowv1.Object, dhowv1.Outcome, error) {
	now.ProtoReflect().SetUnknown(was.ProtoReflect().GetUnknown())
	o := spec.Wrap(now)
	m := spec.MetaOf(o)
	t.set(spec.KindOf(o), m.GetNamespace(), m.GetName(), old, o)
	return o, dhowv1.Outcome_OUTCOME_CHANGED, nil
}

// bump copies the meta with the version of this entry.
func (t *tx) bump(m *dhowv1.Meta) *dhowv1.Meta {
	n := &dhowv1.Meta{
		Name: m.GetName(), Namespace: m.GetNamespace(), Uid: m.GetUid(),
		Version: t.index, Generation: m.GetGeneration(),
		Labels: m.GetLabels(), Annotations: m.GetAnnotations(), CreatedAt: m.GetCreatedAt(),
	}
	n.ProtoReflect().SetUnknown(m.ProtoReflect().GetUnknown())
	return n
}

// means tells whether the reference is to this very object.
func means(r *dhowv1.Ref, o *dhowv1.Object) bool {
	return o != nil && (r.GetUid() == "" || r.GetUid() == spec.MetaOf(o).GetUid())
}

func expect(e *dhowv1.Expect, o *dhowv1.Object, k dhowv1.Kind, name string) error {
	kind := spec.KindName(k)
	switch v := spec.MetaOf(o).GetVersion(); {
	case e.GetAbsent() && o != nil:
		return spec.Errorf(spec.CodeExists, "%s %s exists already", kind, name)
	case (e.GetPresent() || e.GetVersion() != 0) && o == nil:
		return spec.Errorf(spec.CodeNotFound, "there is no %s %s", kind, name)
	case e.GetVersion() != 0 && e.GetVersion() != v:
		return spec.Errorf(spec.CodeConflict, "%s %s was changed meanwhile: it is at version %d, not %d: read it again", kind, name, v, e.GetVersion())
	}
	return nil
}

// checkName wants what the keys need; api checks what users may call things.
func checkName(k dhowv1.Kind, namespace, name string) error {
	if k <= dhowv1.Kind_KIND_UNSPECIFIED || k > 0x7f || dhowv1.Kind_name[int32(k)] == "" {
		return spec.Errorf(spec.CodeInvalid, "no known kind of object")
	}
	kind := spec.KindName(k)
	switch {
	case name == "":
		return spec.Errorf(spec.CodeInvalid, "a %s without a name", kind)
	case len(name) > maxName || len(namespace) > maxName:
		return spec.Errorf(spec.CodeInvalid, "a %s's name is longer than %d bytes", kind, maxName)
	case strings.ContainsRune(name, 0) || strings.ContainsRune(namespace, 0):
		return spec.Errorf(spec.CodeInvalid, "the name of %s %q has a zero byte", kind, name)
	case spec.Namespaced(k) && namespace == "" && k != dhowv1.Kind_KIND_EVENT:
		return spec.Errorf(spec.CodeInvalid, "%s %s has no namespace", kind, name)
	case !spec.Namespaced(k) && namespace != "":
		return spec.Errorf(spec.CodeInvalid, "%s %s has a namespace, and must have none", kind, name)
	}
	return nil
}
