package api

import (
	"context"
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"hash/fnv"
	"maps"
	"slices"

	"google.golang.org/protobuf/proto"

	"dhow.dev/dhow/control/auth"
	"dhow.dev/dhow/control/store"
	dhowv1 "dhow.dev/dhow/proto/dhow/v1"
	"dhow.dev/dhow/proto/spec"
)

const (
	// What one step reads from the store: few objects first, since they may be
	// large, then more.
	firstStep = 8
	listStep  = 500
	// A page ends when it has grown to this, whatever limit was asked for.
	pageBytes = 4 << 20
	// What one step may add to it.
	stepBytes = 4 << 20
)

// List answers a page of objects. All pages of one list bear the revision of
// the first: whoever watches from it misses nothing, whatever changed while
// the other pages were read.
func (o objects) List(ctx context.Context, req *dhowv1.ListRequest) (*dhowv1.ListResponse, error) {
	sel := req.GetSelector()
	if err := checkSelector(ctx, "selector", sel); err != nil {
		return nil, err
	}
	var at position
	if c := req.GetContinue(); c != "" {
		var err error
		if at, err = parsePosition(c, sel); err != nil {
			return nil, err
		}
		if err := o.c.Store.WaitRevision(ctx, at.revision); err != nil {
			return nil, err
		}
	}
	v, err := o.view(ctx, req.GetStale() || at.revision > 0)
	if err != nil {
		return nil, err
	}
	defer v.Close()
	if at.revision == 0 {
		at.revision = v.Revision()
	}
	res := &dhowv1.ListResponse{Revision: at.revision}
	next, err := page(Caller(ctx), v, sel, at.after, int(req.GetLimit()), func(objs []*dhowv1.Object) {
		res.Objects = append(res.Objects, objs...)
	})
	if err != nil {
		return nil, err
	}
	if next != "" {
		at.after = next
		res.Continue = at.token(sel)
	}
	return res, nil
}

// page reads objects until the limit (0: none) or pageBytes are reached, and
// tells where to go on.
func page(to auth.Identity, v *store.View, sel *dhowv1.Selector, after string, limit int, take func([]*dhowv1.Object)) (next string, err error) {
	for n, size, step := 0, 0, firstStep; ; {
		ask := step
		if limit > 0 {
			ask = min(ask, limit-n)
		}
		objs, more, err := v.List(sel, after, ask)
		if err != nil {
			return "", err
		}
		got := 0
		for i, ob := range objs {
			got += proto.Size(ob)
			objs[i] = public(to, ob)
		}
		if got > stepBytes && ask > 1 {
			// Large objects: a message of them all would be refused.
			step = max(1, ask/8)
			continue
		}
		if got < stepBytes/4 {
			step = min(2*step, listStep)
		}
		n, size = n+len(objs), size+got
		take(objs)
		if more == "" || limit > 0 && n >= limit || size >= pageBytes {
			return more, nil
		}
		after = more
	}
}

// checkSelector checks a selector and that the caller may read what it takes.
func checkSelector(ctx context.Context, path string, s *dhowv1.Selector) error {
	if _, known := dhowv1.Kind_name[int32(s.GetKind())]; !known || s.GetKind() == 0 {
		return &spec.Error{Code: spec.CodeInvalid, Path: path + ".kind", Message: "is missing or unknown"}
	}
	return allowed(ctx, auth.VerbRead, s.GetKind())
}

// position is where a list goes on. Its token is opaque to clients and bound
// to the selector it was made for.
type position struct {
	revision uint64
	after    string
}

func (p position) token(sel *dhowv1.Selector) string {
	b := binary.AppendUvarint([]byte{1}, p.revision)
	b = binary.BigEndian.AppendUint64(b, selectorHash(sel))
	return base64.RawURLEncoding.EncodeToString(append(b, p.after...))
}

func parsePosition(token string, sel *dhowv1.Selector) (position, error) {
	bad := &spec.Error{Code: spec.CodeInvalid, Path: "continue", Message: "is not from an earlier answer to the same selector: list from the start"}
	b, err := base64.RawURLEncoding.DecodeString(token)
	if err != nil || len(b) < 1 || b[0] != 1 {
		return position{}, bad
	}
	rev, n := binary.Uvarint(b[1:])
	if n <= 0 || rev == 0 || len(b) < 1+n+8 {
		return position{}, bad
	}
	b = b[1+n:]
	if binary.BigEndian.Uint64(b) != selectorHash(sel) {
		return position{}, bad
	}
	return position{revision: rev, after: string(b[8:])}, nil
}

func selectorHash(s *dhowv1.Selector) uint64 {
	h := fnv.New64a()
	_, _ = fmt.Fprintf(h, "%d %q %q %q %q", s.GetKind(), s.GetNamespace(), s.GetName(), s.GetWorkload(), s.GetNode())
	for _, k := range slices.Sorted(maps.Keys(s.GetLabels())) {
		_, _ = fmt.Fprintf(h, " %q=%q", k, s.GetLabels()[k])
	}
	return h.Sum64()
}
