package store

import (
	"bytes"
	"errors"
	"sync"

	"github.com/cockroachdb/pebble/v2"
	"google.golang.org/protobuf/proto"

	dhowv1 "dhow.dev/dhow/proto/dhow/v1"
	"dhow.dev/dhow/proto/spec"
)

// View is an immutable snapshot. It must be closed. Many may use it at once.
type View struct {
	fault    *fault
	st       *state
	snap     *pebble.Snapshot
	revision uint64
	err      error
	once     sync.Once
}

// View takes a snapshot of the state.
func (s *Store) View() *View {
	s.mu.RLock()
	defer s.mu.RUnlock()
	v := &View{fault: s.fault, revision: s.index}
	if s.state == nil {
		v.err = errClosed()
		return v
	}
	if v.err = s.fault.Err(); v.err != nil {
		return v
	}
	v.st = s.state
	v.st.refs.Add(1)
	v.snap = v.st.db.NewSnapshot()
	return v
}

// Close releases the snapshot.
func (v *View) Close() {
	v.once.Do(func() {
		if v.st == nil || v.fault.Err() != nil {
			return
		}
		_ = v.snap.Close()
		_ = v.st.release()
	})
}

// Revision of the snapshot.
func (v *View) Revision() uint64 { return v.revision }

// Get finds one object; CodeNotFound when it is not there, or when the
// reference has a uid and the object of that name another.
func (v *View) Get(ref *dhowv1.Ref) (*dhowv1.Object, error) {
	if v.err != nil {
		return nil, v.err
	}
	if err := checkName(ref.GetKind(), ref.GetNamespace(), ref.GetName()); err != nil {
		return nil, err
	}
	o, err := v.get(objectKey(ref.GetKind(), ref.GetNamespace(), ref.GetName()))
	if err != nil {
		return nil, err
	}
	if !means(ref, o) {
		return nil, spec.Errorf(spec.CodeNotFound, "there is no %s %s", spec.KindName(ref.GetKind()), display(ref.GetNamespace(), ref.GetName()))
	}
	return o, nil
}

func display(namespace, name string) string {
	if namespace == "" {
		return name
	}
	return namespace + "/" + name
}

func (v *View) get(key []byte) (o *dhowv1.Object, err error) {
	err = v.fault.guard(func() error {
		o, err = getObject(v.snap, key)
		return err
	})
	if err != nil {
		return nil, diskError("read the state", err)
	}
	return o, nil
}

// List lists what the selector takes, ordered by namespace and name, after
// the token of an earlier answer; limit 0 is no limit, and next is empty when
// there is no more. It reads the narrowest index there is.
func (v *View) List(sel *dhowv1.Selector, after string, limit int) (objs []*dhowv1.Object, next string, err error) {
	if v.err != nil {
		return nil, "", v.err
	}
	r, err := rangeOf(sel, after)
	if err != nil {
		return nil, "", err
	}
	err = v.fault.guard(func() error { return v.scan(r, sel, limit, &objs, &next) })
	if err != nil {
		return nil, "", diskError("list", err)
	}
	return objs, next, nil
}

func (v *View) scan(r scanRange, sel *dhowv1.Selector, limit int, objs *[]*dhowv1.Object, next *string) (err error) {
	it, err := v.snap.NewIter(&pebble.IterOptions{LowerBound: r.lower, UpperBound: r.upper})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, it.Close()) }()
	for ok := it.First(); ok; ok = it.Next() {
		var o *dhowv1.Object
		if r.index {
			o, err = getObject(v.snap, r.object(it.Key()))
		} else {
			o = &dhowv1.Object{}
			err = proto.Unmarshal(it.Value(), o)
		}
		if err != nil {
			return err
		}
		if o == nil || !matches(sel, o) {
			continue
		}
		if limit > 0 && len(*objs) == limit {
			*next = token((*objs)[limit-1])
			return nil
		}
		*objs = append(*objs, o)
	}
	return it.Error()
}

// scanRange is a range of keys, of objects or of an index.
type scanRange struct {
	kind         dhowv1.Kind
	lower, upper []byte
	index        bool
	prefix       []byte // of the index keys; what follows is namespace 0 name
	namespace    string // of all index keys, when they have only the name
}

// object is the key of the object that an index key stands for.
func (r scanRange) object(key []byte) []byte {
	rest := key[len(r.prefix):]
	b := objectPrefix(r.kind)
	if r.namespace != "" {
		return appendName(b, r.namespace, string(rest))
	}
	return append(b, rest...)
}

func checkSelector(sel *dhowv1.Selector) error {
	if k := sel.GetKind(); k <= 0 || dhowv1.Kind_name[int32(k)] == "" {
		return &spec.Error{Code: spec.CodeInvalid, Path: "selector.kind", Message: "say which kind to list"}
	}
	if bytes.ContainsRune([]byte(sel.GetNamespace()+sel.GetName()+sel.GetWorkload()+sel.GetNode()), 0) {
		return &spec.Error{Code: spec.CodeInvalid, Path: "selector", Message: "has a zero byte"}
	}
	return nil
}

// byWorkload tells whether objects of the kind are indexed by their workload.
func byWorkload(k dhowv1.Kind) bool {
	return k == dhowv1.Kind_KIND_INSTANCE || k == dhowv1.Kind_KIND_REVISION || k == dhowv1.Kind_KIND_EVENT
}

func rangeOf(sel *dhowv1.Selector, after string) (scanRange, error) {
	if err := checkSelector(sel); err != nil {
		return scanRange{}, err
	}
	k, ns := sel.GetKind(), sel.GetNamespace()
	r := scanRange{kind: k}
	switch {
	case sel.GetName() != "" && (ns != "" || !spec.Namespaced(k)):
		r.prefix = objectKey(k, ns, sel.GetName())
		r.lower, r.upper = r.prefix, append(append([]byte(nil), r.prefix...), 0)
	case sel.GetNode() != "" && k == dhowv1.Kind_KIND_INSTANCE:
		r.index, r.prefix = true, nodePrefix(sel.GetNode())
	case sel.GetWorkload() != "" && ns != "" && byWorkload(k):
		r.index, r.namespace, r.prefix = true, ns, workloadPrefix(k, ns, sel.GetWorkload())
	case ns != "":
		r.prefix = appendName(objectPrefix(k), ns, "")
	default:
		r.prefix = objectPrefix(k)
	}
	if r.lower == nil {
		r.lower, r.upper = r.prefix, end(r.prefix)
	}
	if after == "" {
		return r, nil
	}
	ans, aname, err := parseToken(after)
	if err != nil {
		return r, err
	}
	var from []byte
	switch {
	case r.namespace != "":
		from = append(append(from, r.prefix...), aname...)
	case r.index:
		from = appendName(append(from, r.prefix...), ans, aname)
	default:
		from = objectKey(k, ans, aname)
	}
	if from = append(from, 0); bytes.Compare(from, r.lower) > 0 {
		r.lower = from
	}
	if r.upper != nil && bytes.Compare(r.lower, r.upper) > 0 {
		r.lower = r.upper
	}
	return r, nil
}
