package sim

import (
	"encoding/binary"
	"slices"
	"time"

	"google.golang.org/protobuf/proto"

	dhowv1 "dhow.dev/dhow/proto/dhow/v1"
)

// raft is the replicated log, made simple: elections, log matching, commit by
// a majority in the leader's own term. Term, vote and entries are on the real
// store's log, synced.
type raft struct {
	s        *server
	term     uint64
	vote     string
	log      []entry // log[0] is index 1
	commit   uint64
	role     role
	leader   string
	votes    map[string]bool
	next     map[string]uint64
	match    map[string]uint64
	deadline time.Time
	waiting  map[uint64]waiting // by index, on the leader
	inbox    []proposal
	flushing bool
}

type role int

const (
	follower role = iota
	candidate
	leader
)

type entry struct {
	term uint64
	data string
}

// proposal is a Proposal with what is to be done with its result. A nil result
// means that it is unknown what became of it.
type proposal struct {
	p    *dhowv1.Proposal
	done func(*dhowv1.ProposalResult)
}

type waiting struct {
	term uint64
	list []proposal
}

const (
	beat        = 60 * time.Millisecond
	electionMin = 250 * time.Millisecond
	electionMax = 500 * time.Millisecond
)

func (r *raft) last() (index, term uint64) {
	index = uint64(len(r.log))
	if index > 0 {
		term = r.log[index-1].term
	}
	return index, term
}

// load reads what the disk has.
func (r *raft) load() {
	l, w := r.s.st.Log(), r.s.w
	raw, err := l.StableGet([]byte("vote"))
	w.must(err)
	if len(raw) >= 8 {
		r.term, r.vote = binary.BigEndian.Uint64(raw), string(raw[8:])
	}
	last, err := l.Last()
	w.must(err)
	for i := uint64(1); i <= last; i++ {
		raw, err := l.Get(i)
		w.must(err)
		if len(raw) < 8 {
			w.fail("%s: entry %d is gone from the log", r.s.name, i)
		}
		r.log = append(r.log, entry{binary.BigEndian.Uint64(raw), string(raw[8:])})
	}
}

func (r *raft) save() {
	r.s.w.must(r.s.st.Log().StableSet([]byte("vote"), append(binary.BigEndian.AppendUint64(nil, r.term), r.vote...)))
}

// write puts entries at an index, and drops what was there and after.
func (r *raft) write(at uint64, entries []entry) {
	l, w := r.s.st.Log(), r.s.w
	if last := uint64(len(r.log)); at <= last {
		if at <= r.commit {
			w.fail("%s drops entry %d, which is committed", r.s.name, at)
		}
		w.must(l.DeleteRange(at, last))
		for i := at; i <= last; i++ {
			r.forget(i)
		}
		r.log = r.log[:at-1]
	}
	var raw [][]byte
	for _, e := range entries {
		raw = append(raw, append(binary.BigEndian.AppendUint64(nil, e.term), e.data...))
	}
	w.must(l.Append(at, raw))
	r.log = append(r.log, entries...)
}

// forget tells those who wait for an entry that it is unknown what became of it.
func (r *raft) forget(index uint64) {
	wt, ok := r.waiting[index]
	delete(r.waiting, index)
	if ok {
		for _, p := range wt.list {
			p.done(nil)
		}
	}
}

// follow takes a term that is newer.
func (r *raft) follow(term uint64) {
	if term > r.term {
		r.term, r.vote = term, ""
		r.save()
	}
	if r.role != follower {
		if r.role == leader {
			r.s.w.logf("%s steps down in term %d", r.s.name, r.term)
			for _, i := range sortedKeys(r.waiting) {
				r.forget(i)
			}
			r.s.lead(0)
		}
		r.role = follower
	}
	r.leader = ""
}

func (r *raft) postpone() {
	r.deadline = r.s.w.now.Add(r.s.w.between(electionMin, electionMax))
}

// tick runs while the server is up.
func (r *raft) tick() {
	s := r.s
	life := s.life
	s.w.after(beat, func() {
		if s.up && s.life == life {
			r.tick()
		}
	})
	if r.role == leader {
		r.replicate()
		// A leader that reaches no majority steps down.
		if s.w.now.After(r.deadline) && len(s.w.servers) > 1 {
			r.follow(r.term)
			r.postpone()
		}
		return
	}
	if s.w.now.After(r.deadline) {
		r.campaign()
	}
}

func (r *raft) campaign() {
	s := r.s
	r.role, r.leader = candidate, ""
	r.term++
	r.vote = s.name
	r.save()
	r.votes = map[string]bool{s.name: true}
	r.postpone()
	term := r.term
	index, lastTerm := r.last()
	s.w.logf("%s stands for term %d", s.name, term)
	for _, o := range s.others() {
		s.w.send(s.name, o.name, func() {
			if !o.up {
				return
			}
			yes := o.raft.asked(s.name, term, index, lastTerm)
			back := o.raft.term
			s.w.send(o.name, s.name, func() { r.voted(o.name, term, back, yes) })
		})
	}
	r.count()
}

func (r *raft) asked(from string, term, index, lastTerm uint64) bool {
	if term > r.term {
		r.follow(term)
	}
	myIndex, myTerm := r.last()
	if term < r.term || r.vote != "" && r.vote != from || lastTerm < myTerm || lastTerm == myTerm && index < myIndex {
		return false
	}
	r.vote = from
	r.save()
	r.postpone()
	return true
}

func (r *raft) voted(from string, term, back uint64, yes bool) {
	if !r.s.up || r.s.raft != r {
		return
	}
	if back > r.term {
		r.follow(back)
		return
	}
	if r.role == candidate && r.term == term && yes {
		r.votes[from] = true
		r.count()
	}
}

func (r *raft) count() {
	s := r.s
	if r.role != candidate || 2*len(r.votes) <= len(s.w.servers) {
		return
	}
	r.role, r.leader = leader, s.name
	r.postpone()
	s.w.stats.leaders++
	s.w.logf("%s leads term %d with %d entries", s.name, r.term, len(r.log))
	// Invariant 1: whatever was acknowledged is in its log.
	for _, i := range sortedKeys(s.w.committed) {
		if i > uint64(len(r.log)) || r.log[i-1].data != s.w.committed[i] {
			s.w.fail("invariant 1 broken: leader %s has not entry %d, which was committed", s.name, i)
		}
	}
	r.next, r.match = map[string]uint64{}, map[string]uint64{}
	for _, o := range s.others() {
		r.next[o.name] = uint64(len(r.log)) + 1
	}
	r.append(nil)
}

// propose takes a proposal on the leader; several go into one entry.
func (r *raft) propose(p proposal) {
	r.inbox = append(r.inbox, p)
	if r.flushing {
		return
	}
	r.flushing = true
	s := r.s
	s.w.after(s.w.between(0, time.Millisecond), func() {
		r.flushing = false
		in := r.inbox
		r.inbox = nil
		if !s.up || s.raft != r || r.role != leader {
			for _, p := range in {
				p.done(&dhowv1.ProposalResult{Code: "not_leader"})
			}
			return
		}
		r.append(in)
	})
}

func (r *raft) append(in []proposal) {
	cmd := &dhowv1.Command{}
	for _, p := range in {
		cmd.Proposals = append(cmd.Proposals, p.p)
	}
	data, err := proto.MarshalOptions{Deterministic: true}.Marshal(cmd)
	r.s.w.must(err)
	at := uint64(len(r.log)) + 1
	r.write(at, []entry{{r.term, string(data)}})
	r.waiting[at] = waiting{r.term, in}
	r.replicate()
	r.advance()
}

func (r *raft) replicate() {
	s := r.s
	for _, o := range s.others() {
		next := r.next[o.name]
		prev := next - 1
		prevTerm := uint64(0)
		if prev > 0 {
			prevTerm = r.log[prev-1].term
		}
		entries := slices.Clone(r.log[prev:min(uint64(len(r.log)), prev+64)])
		term, commit := r.term, r.commit
		s.w.send(s.name, o.name, func() {
			if !o.up {
				return
			}
			ok, match := o.raft.appended(s.name, term, prev, prevTerm, entries, commit)
			back := o.raft.term
			s.w.send(o.name, s.name, func() { r.acked(o.name, term, back, ok, match) })
		})
	}
}

func (r *raft) appended(from string, term, prev, prevTerm uint64, entries []entry, commit uint64) (ok bool, match uint64) {
	if term < r.term {
		return false, 0
	}
	if term > r.term || r.role != follower {
		r.follow(term)
	}
	r.leader = from
	r.postpone()
	if prev > uint64(len(r.log)) || prev > 0 && r.log[prev-1].term != prevTerm {
		return false, min(prev-1, uint64(len(r.log)))
	}
	at := prev + 1
	for len(entries) > 0 && at <= uint64(len(r.log)) && r.log[at-1].term == entries[0].term {
		at++
		entries = entries[1:]
	}
	if len(entries) > 0 {
		r.write(at, entries)
	}
	match = at - 1 + uint64(len(entries))
	if c := min(commit, match); c > r.commit {
		r.commit = c
		r.s.apply()
	}
	return true, match
}

func (r *raft) acked(from string, term, back uint64, ok bool, match uint64) {
	if !r.s.up || r.s.raft != r {
		return
	}
	if back > r.term {
		r.follow(back)
		return
	}
	if r.role != leader || r.term != term {
		return
	}
	r.alive(from)
	if !ok {
		r.next[from] = max(1, min(r.next[from]-1, match+1))
		return
	}
	r.match[from] = max(r.match[from], match)
	r.next[from] = max(r.next[from], match+1)
	r.advance()
}

// alive notes that a follower answered; a majority keeps the leader in office.
func (r *raft) alive(from string) {
	r.votes[from] = true
	if 2*len(r.votes) > len(r.s.w.servers) {
		r.postpone()
		r.votes = map[string]bool{r.s.name: true}
	}
}

func (r *raft) advance() {
	all := []uint64{uint64(len(r.log))}
	for _, o := range r.s.others() {
		all = append(all, r.match[o.name])
	}
	slices.Sort(all)
	c := all[(len(all)-1)/2]
	if c > r.commit && r.log[c-1].term == r.term {
		r.commit = c
		r.s.apply()
	}
}
