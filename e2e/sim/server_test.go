package sim

import (
	"cmp"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	"dhow.dev/dhow/control/loop"
	"dhow.dev/dhow/control/plan"
	"dhow.dev/dhow/control/plan/invariant"
	"dhow.dev/dhow/control/plan/liveness"
	"dhow.dev/dhow/control/store"
	dhowv1 "dhow.dev/dhow/proto/dhow/v1"
	"dhow.dev/dhow/proto/spec"
)

func sortedKeys[K cmp.Ordered, V any](m map[K]V) []K { return slices.Sorted(maps.Keys(m)) }

// server is one server: the real store and loop core.
type server struct {
	w    *world
	name string
	up   bool
	life int
	fs   *vfs.MemFS
	st   *store.Store
	all  *store.Watcher
	raft *raft
	// What it has known to be committed when it last was up.
	knew     uint64
	sessions map[string]*session
	since    time.Time
	seen     map[string]time.Time // when gossip last heard of a machine
	lship    *leadership
}

// leadership is what the leader of a term does.
type leadership struct {
	term    uint64
	core    *loop.Core
	watch   *store.Watcher
	checker *invariant.Checker
	flight  uint64 // the revision to wait for; 1: not known yet
	wake    time.Time
	facts   liveness.Facts
	broken  bool // it is unknown what became of a proposal
}

func polled() context.Context {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	return ctx
}

// poll takes what a watch has, without waiting.
func poll(w *store.Watcher) ([]*dhowv1.WatchEvent, uint64, error) {
	ev, rev, err := w.Next(polled())
	if errors.Is(err, context.Canceled) {
		return nil, 0, nil
	}
	return ev, rev, err
}

func (w *world) addServer(name string) {
	s := &server{w: w, name: name, fs: vfs.NewCrashableMem(), seen: map[string]time.Time{}}
	w.servers = append(w.servers, s)
}

func (s *server) others() []*server {
	return slices.DeleteFunc(slices.Clone(s.w.servers), func(o *server) bool { return o == s })
}

func (s *server) start() {
	var err error
	s.st, err = store.Open("data", store.Options{FS: s.fs, ClusterID: "sim", CacheBytes: 1 << 16, MemTableBytes: 1 << 18, MinFreeBytes: 1})
	s.w.must(err)
	s.up = true
	s.life++
	s.since = s.w.now
	s.sessions = map[string]*session{}
	s.raft = &raft{s: s, waiting: map[uint64]waiting{}}
	s.raft.load()
	s.raft.postpone()
	at := s.st.Revision()
	if at > s.knew {
		s.w.fail("%s has applied %d of %d committed entries", s.name, at, s.knew)
	}
	s.all, err = s.st.Watch(at)
	s.w.must(err)
	s.w.logf("%s starts; its log has %d entries", s.name, len(s.raft.log))
	// How much of the state reached the disk is the disk's business: what was
	// known to be committed is applied at once, so that runs are the same.
	s.raft.commit = s.knew
	s.apply()
	s.raft.tick()
	s.gossip()
	s.beatSessions()
}

// crash is a loss of power: what was not synced may be gone.
func (s *server) crash() {
	s.w.logf("%s crashes", s.name)
	s.w.stats.crashes++
	s.knew = s.raft.commit
	fs := s.fs.CrashClone(vfs.CrashCloneCfg{})
	s.up = false
	for _, i := range sortedKeys(s.raft.waiting) {
		s.raft.forget(i)
	}
	for _, p := range s.raft.inbox {
		p.done(nil)
	}
	for _, n := range sortedKeys(s.sessions) {
		s.sessions[n].end()
	}
	s.lead(0)
	s.w.must(s.st.Close())
	s.fs = fs
}

// apply applies what is committed.
func (s *server) apply() {
	for at := s.st.Revision() + 1; at <= s.raft.commit; at++ {
		e := s.raft.log[at-1]
		if was, ok := s.w.committed[at]; ok && was != e.data {
			s.w.fail("%s commits another entry %d than others did", s.name, at)
		}
		s.w.committed[at] = e.data
		results := s.st.Apply(at, e.term, []byte(e.data))
		s.w.must(s.st.Err())
		s.inTerm(at, e, results)
		events, _, err := poll(s.all)
		s.w.must(err)
		s.w.observe(at, events)
		s.hash(at)
		s.deliver(events, at)
		if wt, ok := s.raft.waiting[at]; ok {
			delete(s.raft.waiting, at)
			for k, p := range wt.list {
				if wt.term != e.term {
					p.done(nil)
				} else {
					p.done(results[k])
				}
			}
		}
		if s.raft.role == leader && e.term == s.raft.term && s.lship == nil {
			s.lead(s.raft.term)
		}
	}
	s.plan()
}

// inTerm checks that a leader's plans die with its leadership.
func (s *server) inTerm(at uint64, e entry, results []*dhowv1.ProposalResult) {
	cmd := &dhowv1.Command{}
	s.w.must(proto.Unmarshal([]byte(e.data), cmd))
	for k, p := range cmd.GetProposals() {
		if p.GetTerm() != 0 && p.GetTerm() != e.term && results[k].GetCode() == "" {
			s.w.fail("a plan of term %d was carried out at index %d, in term %d", p.GetTerm(), at, e.term)
		}
	}
}

// hash checks now and then that all servers have the same state.
func (s *server) hash(at uint64) {
	if at%32 != 0 {
		return
	}
	rev, sum, err := s.st.Hash()
	s.w.must(err)
	if rev != at {
		s.w.fail("%s hashed %d, not %d", s.name, rev, at)
	}
	h := hex.EncodeToString(sum)
	if was, ok := s.w.hashes[at]; ok && was != h {
		s.w.fail("invariant 7 broken: at index %d %s has state %s, another had %s", at, s.name, h[:12], was[:12])
	}
	s.w.hashes[at] = h
}

// lead begins to plan for a term, or ends with 0.
func (s *server) lead(term uint64) {
	if s.lship != nil {
		s.lship.watch.Close()
		s.lship = nil
	}
	if term == 0 {
		return
	}
	l := &leadership{term: term, core: loop.NewCore(term), checker: invariant.New()}
	v := s.st.View()
	defer v.Close()
	var sels []*dhowv1.Selector
	for _, k := range plan.Kinds() {
		sel := &dhowv1.Selector{Kind: k}
		sels = append(sels, sel)
		objs, _, err := v.List(sel, "", 0)
		s.w.must(err)
		for _, o := range objs {
			_ = l.checker.Put(o) // how it came about was checked before
		}
		l.core.Load(objs, v.Revision())
	}
	var err error
	l.watch, err = s.st.Watch(v.Revision(), sels...)
	s.w.must(err)
	s.lship = l
	s.w.logf("%s plans for term %d from revision %d", s.name, term, v.Revision())
}

// plan is what the loop does whenever something happened.
func (s *server) plan() {
	l := s.lship
	if l == nil || !s.up {
		return
	}
	events, rev, err := poll(l.watch)
	s.w.must(err)
	if rev > 0 {
		for _, ev := range events {
			if err := l.checker.Observe(ev); err != nil {
				s.w.fail("leader %s: %v", s.name, err)
			}
		}
		l.core.Apply(events, rev)
	}
	if l.broken || l.flight == 1 || l.flight > l.core.Revision() {
		return
	}
	p, wake := l.core.Pass(s.w.now)
	if p == nil {
		if !wake.IsZero() && !wake.Equal(l.wake) {
			l.wake = wake
			s.w.after(max(wake.Sub(s.w.now), time.Millisecond), func() {
				if s.lship == l {
					l.wake = time.Time{}
					s.plan()
				}
			})
		}
		return
	}
	s.w.stats.plans++
	if p.GetTerm() != l.term {
		s.w.fail("leader %s of term %d plans for term %d", s.name, l.term, p.GetTerm())
	}
	s.describe(p)
	if err := l.checker.Propose(p.GetChanges()); err != nil {
		s.w.fail("leader %s plans at revision %d: %v", s.name, l.core.Revision(), err)
	}
	l.flight = 1
	p = proto.CloneOf(p)
	done := func(r *dhowv1.ProposalResult) {
		if r.GetCode() == string(spec.CodeNotLeader) {
			s.w.stats.late++
		}
		if s.lship != l {
			return
		}
		switch {
		case r == nil:
			l.broken = true
			s.barrier(l)
		case r.GetCode() != "":
			s.w.logf("%s: the plan was refused: %s", s.name, r.GetMessage())
			s.lead(l.term)
			s.w.after(0, s.plan)
		default:
			l.flight = 0
			if slices.ContainsFunc(r.GetOutcomes(), func(o dhowv1.Outcome) bool { return o != dhowv1.Outcome_OUTCOME_UNCHANGED }) {
				l.flight = r.GetRevision()
			}
			s.w.after(0, s.plan)
		}
	}
	switch {
	case s.w.calm || !s.w.one(20):
		s.raft.propose(proposal{p, done})
		return
	case s.w.one(2):
		// It is carried out or not, and the planner never hears of it.
		s.raft.propose(proposal{p, func(*dhowv1.ProposalResult) {}})
		s.w.after(s.w.between(0, 50*time.Millisecond), func() { done(nil) })
		return
	}
	// It may take its time, and meet another leader: there it must be refused.
	s.w.after(s.w.between(0, 3*time.Second), func() {
		if s.up {
			s.call(p, done)
		} else {
			done(nil)
		}
	})
}

// barrier starts planning anew, once something that was proposed after what
// became unknown has been applied, as the loop does.
func (s *server) barrier(l *leadership) {
	s.w.after(100*time.Millisecond, func() {
		if s.lship != l {
			return
		}
		s.raft.propose(proposal{&dhowv1.Proposal{Time: timestamppb.New(s.w.now), Term: l.term}, func(r *dhowv1.ProposalResult) {
			if s.lship != l {
				return
			}
			if r == nil || r.GetCode() != "" {
				s.barrier(l)
				return
			}
			s.lead(l.term)
			s.w.after(0, s.plan)
		}})
	})
}

func (s *server) describe(p *dhowv1.Proposal) {
	for _, c := range p.GetChanges() {
		if l := c.GetLiveness(); l != nil {
			s.w.logf("  plan: node %s is %v: %s", l.GetNode(), l.GetLiveness().GetState(), l.GetLiveness().GetMessage())
			if l.GetLiveness().GetState() == dhowv1.NodeState_NODE_STATE_LOST {
				s.w.stats.lost++
				s.gaveUp(l.GetNode())
			}
		}
		if i := c.GetPut().GetInstance(); i != nil {
			sp := i.GetSpec()
			s.w.logf("  plan: %s rev %d attempt %d on %q, %v %s%s", i.GetMeta().GetName(), sp.GetRevision(), sp.GetAttempt(), sp.GetNode(), sp.GetDesired(), sp.GetStopReason(), sp.GetPendingReason())
			if c.GetExpect().GetAbsent() {
				s.w.stats.births++
				s.w.pace(fmt.Sprintf("%s/%d", sp.GetWorkloadUid(), sp.GetIndex()))
				if sp.GetAttempt() > 0 {
					s.w.stats.replaced++
				}
			}
		}
		if d := c.GetDelete(); d != nil && d.GetKind() != dhowv1.Kind_KIND_EVENT {
			s.w.logf("  plan: remove %s %s", spec.KindName(d.GetKind()), d.GetName())
		}
		if r := c.GetPut().GetRevision(); r != nil {
			s.w.logf("  plan: revision %s", r.GetMeta().GetName())
		}
	}
}

// gossip hears of machines, and forgets those that it has not heard of.
func (s *server) gossip() {
	life := s.life
	s.w.after(200*time.Millisecond, func() {
		if s.up && s.life == life {
			s.gossip()
		}
	})
	f := liveness.Facts{Nodes: map[string]liveness.Gossip{}, Servers: map[string]liveness.Gossip{}}
	hear := func(m string, up bool, into map[string]liveness.Gossip) {
		if up && s.w.linked(s.name, m) && (s.w.calm || !s.w.one(200)) {
			s.seen[m] = s.w.now
		}
		switch at, ok := s.seen[m]; {
		case !ok:
		case s.w.now.Sub(at) > time.Second:
			into[m] = liveness.Failed
		default:
			into[m] = liveness.Alive
		}
	}
	for _, n := range s.w.nodes {
		hear(n.name, n.up, f.Nodes)
	}
	for _, o := range s.w.servers {
		hear(o.name, o.up, f.Servers)
	}
	if l := s.lship; l != nil && (!maps.Equal(l.facts.Nodes, f.Nodes) || !maps.Equal(l.facts.Servers, f.Servers)) {
		l.facts = f
		l.core.SetFacts(f)
		s.plan()
	}
}

// call proposes from this server, wherever the leader is. done is called at
// most once, with nil when it is unknown what became of it.
func (s *server) call(p *dhowv1.Proposal, done func(*dhowv1.ProposalResult)) {
	answered := false
	once := func(r *dhowv1.ProposalResult) {
		if !answered {
			answered = true
			done(r)
		}
	}
	p.Time = timestamppb.New(s.w.now)
	life := s.life
	s.w.after(2*time.Second, func() { once(nil) })
	to := s.w.server(s.raft.leader)
	if to == nil {
		once(&dhowv1.ProposalResult{Code: string(spec.CodeUnavailable), Message: "no leader"})
		return
	}
	s.w.send(s.name, to.name, func() {
		if !to.up || to.raft.role != leader {
			return
		}
		to.raft.propose(proposal{p, func(r *dhowv1.ProposalResult) {
			s.w.send(to.name, s.name, func() {
				if s.up && s.life == life {
					once(r)
				}
			})
		}})
	})
}

func (w *world) server(name string) *server {
	for _, s := range w.servers {
		if s.name == name {
			return s
		}
	}
	return nil
}

func (s *server) String() string { return fmt.Sprintf("%s at %d", s.name, s.st.Revision()) }

// gaveUp checks that a node is not given up for gossip's sake or the session's
// alone.
func (s *server) gaveUp(name string) {
	v := s.st.View()
	defer v.Close()
	o, err := v.Get(&dhowv1.Ref{Kind: dhowv1.Kind_KIND_NODE, Name: name})
	if err != nil {
		return
	}
	c, f := o.GetNode().GetSession(), s.lship.facts
	if c.GetConnected() && f.Servers[c.GetServer()] != liveness.Failed {
		s.w.fail("%s takes %s for lost, which has a session with %s", s.name, name, c.GetServer())
	}
	if o.GetNode().GetInfo().GetGossip() && f.Nodes[name] == liveness.Alive {
		s.w.fail("%s takes %s for lost, which gossip says is alive", s.name, name)
	}
}

// pace checks that instances of an index are not made one after the other
// without a pause.
func (w *world) pace(index string) {
	list := append(w.born[index], w.now)
	for len(list) > 0 && w.now.Sub(list[0]) > time.Second {
		list = list[1:]
	}
	w.born[index] = list
	if len(list) > 12 {
		w.fail("%d instances of %s were made within a second", len(list), index)
	}
}
