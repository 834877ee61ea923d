package session

import (
	"cmp"
	"slices"

	"google.golang.org/protobuf/proto"

	"dhow.dev/dhow/control/store"
	dhowv1 "dhow.dev/dhow/proto/dhow/v1"
	"dhow.dev/dhow/proto/spec"
)

// One message of assignments has at most so many instances, and about so many
// bytes: a revision may be as large as 1.5 MiB.
const (
	maxInstances = 500
	maxBytes     = 4 << 20
)

type revisionKey struct {
	namespace, workload, uid string
	number                   uint64
}

// assigner makes a session's messages. It belongs to the sender alone.
type assigner struct {
	hub        *Hub
	s          *session
	send       func(*dhowv1.SessionResponse) error
	generation uint64
	// Revisions that the node was sent in this session.
	revisions map[revisionKey]bool
	// Servers that the node was told of last.
	servers []string
}

// flush sends all there is. It tells whether the node has given a sign of life.
func (a *assigner) flush() (beat bool, err error) {
	s := a.s
	s.mu.Lock()
	beat, s.beat = s.beat, false
	pongs, asks, full, rev := s.pongs, s.asks, s.full, s.revision
	s.pongs, s.asks = 0, nil
	var changes []*pending
	if full {
		// The snapshot that is taken next has them all.
		s.full = false
		clear(s.pending)
		clear(s.sent)
	}
	for uid, p := range s.pending {
		changes = append(changes, p)
		if p.removed {
			delete(s.sent, uid)
		} else {
			s.sent[uid] = p.instance.GetMeta().GetGeneration()
		}
	}
	clear(s.pending)
	s.mu.Unlock()
	if full {
		err = a.all()
	} else if len(changes) > 0 {
		err = a.delta(changes, rev)
	}
	for _, ask := range asks {
		if err == nil {
			err = a.send(&dhowv1.SessionResponse{Message: &dhowv1.SessionResponse_Ask{Ask: ask}})
		}
	}
	for ; pongs > 0 && err == nil; pongs-- {
		err = a.send(&dhowv1.SessionResponse{Message: &dhowv1.SessionResponse_Pong{Pong: a.pong()}})
	}
	return beat, err
}

// pong tells of the servers when they changed, so that a node knows where to
// turn before it has to.
func (a *assigner) pong() *dhowv1.Pong {
	now := a.hub.c.Servers()
	if len(now) == 0 || slices.Equal(now, a.servers) {
		return &dhowv1.Pong{}
	}
	a.servers = now
	return &dhowv1.Pong{Servers: now}
}

// all sends the full set, from a snapshot.
func (a *assigner) all() error {
	v := a.hub.c.Store.View()
	defer v.Close()
	sel := &dhowv1.Selector{Kind: dhowv1.Kind_KIND_INSTANCE, Node: a.s.node}
	var instances []*dhowv1.Instance
	for after := ""; ; {
		objs, next, err := v.List(sel, after, maxInstances)
		if err != nil {
			return err
		}
		a.s.mu.Lock()
		for _, o := range objs {
			i := o.GetInstance()
			instances = append(instances, i)
			a.s.sent[i.GetMeta().GetUid()] = i.GetMeta().GetGeneration()
		}
		a.s.mu.Unlock()
		if next == "" {
			break
		}
		after = next
	}
	a.generation = max(a.generation, v.Revision())
	return a.parts(v, instances, nil, true)
}

// delta sends changes.
func (a *assigner) delta(changes []*pending, rev uint64) error {
	slices.SortFunc(changes, func(x, y *pending) int {
		mx, my := x.instance.GetMeta(), y.instance.GetMeta()
		return cmp.Or(cmp.Compare(mx.GetNamespace(), my.GetNamespace()), cmp.Compare(mx.GetName(), my.GetName()), cmp.Compare(mx.GetUid(), my.GetUid()))
	})
	var instances []*dhowv1.Instance
	var removed []*dhowv1.Ref
	for _, c := range changes {
		if m := c.instance.GetMeta(); c.removed {
			removed = append(removed, &dhowv1.Ref{Kind: dhowv1.Kind_KIND_INSTANCE, Namespace: m.GetNamespace(), Name: m.GetName(), Uid: m.GetUid()})
		} else {
			instances = append(instances, c.instance)
		}
	}
	// A snapshot newer than rev may have been sent as a full set meanwhile.
	a.generation = max(a.generation, rev)
	v := a.hub.c.Store.View()
	defer v.Close()
	return a.parts(v, instances, removed, false)
}

// parts sends assignments in messages of a bounded size. Each part of a delta
// is a delta; the parts of a full set say that more follows.
func (a *assigner) parts(v *store.View, instances []*dhowv1.Instance, removed []*dhowv1.Ref, full bool) error {
	for {
		m := &dhowv1.Assignments{Generation: a.generation, Full: full, Removed: removed}
		removed = nil
		for size := 0; len(instances) > 0 && len(m.Instances) < maxInstances && size < maxBytes; instances = instances[1:] {
			i := instances[0]
			m.Instances = append(m.Instances, i)
			size += proto.Size(i)
			r, err := a.revision(v, i)
			if err != nil {
				return err
			}
			if r != nil {
				m.Revisions = append(m.Revisions, r)
				size += proto.Size(r)
			}
		}
		m.More = full && len(instances) > 0
		if err := a.send(&dhowv1.SessionResponse{Message: &dhowv1.SessionResponse_Assignments{Assignments: m}}); err != nil {
			return err
		}
		if len(instances) == 0 {
			return nil
		}
	}
}

// revision is what the instance needs and the node was not sent, if anything.
func (a *assigner) revision(v *store.View, i *dhowv1.Instance) (*dhowv1.Revision, error) {
	s := i.GetSpec()
	if s.GetDesired() == dhowv1.Desired_DESIRED_STOP || s.GetLostAt() != nil || spec.Terminal(i.GetStatus().GetState()) {
		return nil, nil
	}
	k := revisionKey{i.GetMeta().GetNamespace(), s.GetWorkload(), s.GetWorkloadUid(), s.GetRevision()}
	if a.revisions[k] {
		return nil, nil
	}
	o, err := v.Get(&dhowv1.Ref{Kind: dhowv1.Kind_KIND_REVISION, Namespace: k.namespace, Name: spec.RevisionName(k.workload, k.number)})
	if spec.CodeOf(err) == spec.CodeNotFound {
		return nil, nil // The instance is about to be told to stop.
	}
	if err != nil {
		return nil, err
	}
	if o.GetRevision().GetWorkloadUid() != k.uid {
		return nil, nil // The same: the workload was deleted and made anew.
	}
	a.revisions[k] = true
	return o.GetRevision(), nil
}
