package sim

import (
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	dhowv1 "dhow.dev/dhow/proto/dhow/v1"
	"dhow.dev/dhow/proto/spec"
)

// session is a node's stream to a server: in order, whole until it breaks.
type session struct {
	s     *server
	n     *node
	id    string
	life  int // the node's
	sent  map[string]uint64
	revs  map[string]bool
	heard [2]time.Time // by the server, by the node
	last  [2]time.Time // when the newest message arrives
	ended bool
	// The state has had it as the node's.
	recorded bool
	left     bool // the node has given it up, and the server does not know
	// The node took its first assignments.
	synced bool
	stops  map[string]bool // what the node was told to stop
}

const (
	sessionBeat    = 500 * time.Millisecond
	sessionTimeout = 2 * time.Second
)

// open is the server's side of a hello.
func (s *server) open(n *node, life int, generation uint64) {
	if s.st.Revision() < generation && s.w.one(2) {
		return // as a good server does; but the node must not rely on it
	}
	if old := s.sessions[n.name]; old != nil {
		old.close()
	}
	s.w.seq++
	c := &session{
		s: s, n: n, life: life, id: s.name + "-" + time.Duration(s.w.seq).String(),
		sent: map[string]uint64{}, revs: map[string]bool{}, stops: map[string]bool{},
	}
	c.heard = [2]time.Time{s.w.now, s.w.now}
	s.sessions[n.name] = c
	s.record(c, true)
	if !c.down(func() { n.connected(c) }) {
		return
	}
	v := s.st.View()
	defer v.Close()
	objs, _, err := v.List(&dhowv1.Selector{Kind: dhowv1.Kind_KIND_INSTANCE, Node: n.name}, "", 0)
	s.w.must(err)
	a := &dhowv1.Assignments{Generation: v.Revision(), Full: true}
	for _, o := range objs {
		c.add(a, o.GetInstance())
	}
	if k := len(a.Instances); k > 2 && s.w.one(3) {
		first := &dhowv1.Assignments{Generation: a.Generation, Full: true, More: true, Instances: a.Instances[:k/2], Revisions: a.Revisions}
		c.down(func() { n.assign(c, first) })
		a.Instances, a.Revisions = a.Instances[k/2:], nil
	}
	c.down(func() { n.assign(c, a) })
}

func (c *session) add(a *dhowv1.Assignments, i *dhowv1.Instance) {
	a.Instances = append(a.Instances, proto.CloneOf(i))
	c.sent[i.GetMeta().GetUid()] = i.GetMeta().GetGeneration()
	sp := i.GetSpec()
	name := spec.RevisionName(sp.GetWorkload(), sp.GetRevision())
	if sp.GetDesired() == dhowv1.Desired_DESIRED_STOP || spec.Terminal(i.GetStatus().GetState()) || c.revs[name+sp.GetWorkloadUid()] {
		return
	}
	v := c.s.st.View()
	defer v.Close()
	o, err := v.Get(&dhowv1.Ref{Kind: dhowv1.Kind_KIND_REVISION, Namespace: i.GetMeta().GetNamespace(), Name: name})
	if err == nil && o.GetRevision().GetWorkloadUid() == sp.GetWorkloadUid() {
		c.revs[name+sp.GetWorkloadUid()] = true
		a.Revisions = append(a.Revisions, proto.CloneOf(o.GetRevision()))
	}
}

// deliver sends what an entry changed to the sessions.
func (s *server) deliver(events []*dhowv1.WatchEvent, rev uint64) {
	deltas := map[string]*dhowv1.Assignments{}
	for _, ev := range events {
		i := ev.GetObject().GetInstance()
		c := s.sessions[i.GetSpec().GetNode()]
		if i == nil || c == nil {
			continue
		}
		uid := i.GetMeta().GetUid()
		gen, known := c.sent[uid]
		gone := ev.GetType() == dhowv1.WatchEventType_WATCH_EVENT_TYPE_DELETE
		if gone && !known || !gone && known && gen == i.GetMeta().GetGeneration() {
			continue
		}
		a := deltas[c.n.name]
		if a == nil {
			a = &dhowv1.Assignments{Generation: rev}
			deltas[c.n.name] = a
		}
		if gone {
			delete(c.sent, uid)
			a.Removed = append(a.Removed, &dhowv1.Ref{
				Kind: dhowv1.Kind_KIND_INSTANCE, Namespace: i.GetMeta().GetNamespace(), Name: i.GetMeta().GetName(), Uid: uid,
			})
		} else {
			c.add(a, i)
		}
	}
	for _, name := range sortedKeys(deltas) {
		c, a := s.sessions[name], deltas[name]
		c.down(func() { c.n.assign(c, a) })
	}
}

// record has the state know of the session; it is tried until it is done or
// the session is another.
func (s *server) record(c *session, connected bool) {
	life := s.life
	p := &dhowv1.Proposal{Changes: []*dhowv1.Change{{Op: &dhowv1.Change_Session{Session: &dhowv1.NodeSessionReport{
		Node: c.n.name, Session: &dhowv1.NodeSession{Server: s.name, Id: c.id, Connected: connected, Since: timestamppb.New(s.w.now)},
	}}}}}
	s.call(p, func(r *dhowv1.ProposalResult) {
		if !s.up || s.life != life || connected && c.ended {
			return
		}
		if r != nil && r.GetCode() == string(spec.CodeNotFound) {
			c.close()
		} else if r == nil || r.GetCode() != "" {
			s.w.after(100*time.Millisecond, func() {
				if s.up && s.life == life {
					s.record(c, connected)
				}
			})
		}
	})
}

// down sends to the node, up to the server.
func (c *session) down(deliver func()) bool { return c.send(0, deliver) }
func (c *session) up(deliver func()) bool   { return c.send(1, deliver) }

func (c *session) send(side int, deliver func()) bool {
	w := c.s.w
	if c.ended {
		return false
	}
	if !w.calm && w.one(500) {
		c.end()
		return false
	}
	at := w.now.Add(w.between(200*time.Microsecond, 5*time.Millisecond))
	if at.Before(c.last[side]) {
		at = c.last[side]
	}
	c.last[side] = at
	w.after(at.Sub(w.now), func() {
		if c.ended || !w.linked(c.s.name, c.n.name) {
			return // lost with all that follows: the stream is silent until it ends
		}
		if (side == 1 || c.n.up && c.n.life == c.life && !c.left) && c.s.up {
			deliver()
		}
	})
	if !w.linked(c.s.name, c.n.name) {
		c.last[side] = w.now.Add(time.Hour) // nothing overtakes what was lost
	}
	return true
}

// end breaks the stream: both sides see it, unless they are gone.
func (c *session) end() {
	if c.ended {
		return
	}
	c.ended = true
	if c.n.up && c.n.life == c.life && !c.left {
		c.n.disconnected(c)
	}
	if c.s.up {
		c.close()
	}
}

// close is the server's end.
func (c *session) close() {
	s := c.s
	if s.sessions[c.n.name] != c {
		c.end()
		return
	}
	delete(s.sessions, c.n.name)
	s.record(c, false)
	c.end()
}

// beatSessions ends sessions that are silent.
func (s *server) beatSessions() {
	life := s.life
	s.w.after(sessionBeat, func() {
		if s.up && s.life == life {
			s.beatSessions()
		}
	})
	for _, name := range sortedKeys(s.sessions) {
		c := s.sessions[name]
		if s.w.now.Sub(c.heard[0]) > sessionTimeout {
			s.w.logf("%s gives up its session with %s", s.name, name)
			delete(s.sessions, name)
			s.record(c, false)
			c.end()
		}
	}
	s.compare()
}

// compare makes the state's idea of this server's sessions true, as the hub
// does.
func (s *server) compare() {
	v := s.st.View()
	defer v.Close()
	objs, _, err := v.List(&dhowv1.Selector{Kind: dhowv1.Kind_KIND_NODE}, "", 0)
	s.w.must(err)
	for _, o := range objs {
		n := o.GetNode()
		stored, c := n.GetSession(), s.sessions[n.GetMeta().GetName()]
		switch {
		case c == nil && stored.GetConnected() && stored.GetServer() == s.name && s.w.now.Sub(s.since) > sessionTimeout:
			for _, m := range s.w.nodes {
				if m.name == n.GetMeta().GetName() {
					s.record(&session{s: s, n: m, id: stored.GetId(), ended: true}, false)
				}
			}
		case c == nil:
		case stored.GetId() == c.id:
			if !stored.GetConnected() {
				s.record(c, true)
			}
			c.recorded = true
		case stored.GetConnected() && c.recorded:
			c.end()
		}
	}
}

// report is the server's side of ReportStatus.
func (s *server) report(n *node, req *dhowv1.ReportStatusRequest, done func(*dhowv1.ReportStatusResponse)) {
	res := &dhowv1.ReportStatusResponse{}
	p := &dhowv1.Proposal{}
	var refs []*dhowv1.Ref
	v := s.st.View()
	for _, r := range req.GetReports() {
		o, err := v.Get(r.GetRef())
		if err != nil || o.GetInstance().GetSpec().GetNode() != n.name {
			res.Refused = append(res.Refused, r.GetRef())
			continue
		}
		refs = append(refs, r.GetRef())
		p.Changes = append(p.Changes, &dhowv1.Change{Op: &dhowv1.Change_Instance{Instance: &dhowv1.InstanceReport{
			Ref: r.GetRef(), Node: n.name, Status: r.GetStatus(),
		}}})
	}
	v.Close()
	if len(p.Changes) == 0 {
		done(res)
		return
	}
	s.w.stats.reports++
	s.call(p, func(r *dhowv1.ProposalResult) {
		if r == nil || r.GetCode() != "" {
			done(nil)
			return
		}
		for k, o := range r.GetObjects() {
			if spec.KindOf(o) == dhowv1.Kind_KIND_UNSPECIFIED {
				res.Refused = append(res.Refused, refs[k])
			}
		}
		done(res)
	})
}
