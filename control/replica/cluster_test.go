package replica_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"dhow.dev/dhow/control/replica"
	"dhow.dev/dhow/proto/spec"
)

func small(c *replica.Config) { c.SnapshotEntries = 100 }

func TestWritesReachAllServers(t *testing.T) {
	for _, n := range []int{1, 3, 5} {
		t.Run(fmt.Sprint(n), func(t *testing.T) {
			c := newCluster(t, n, nil)
			var wg sync.WaitGroup
			for w := range 16 {
				wg.Go(func() {
					for i := range 20 {
						c.write(put(fmt.Sprintf("w%d-%d", w, i), ""))
					}
				})
			}
			wg.Wait()
			c.same(0)
			for _, s := range c.servers {
				if !s.has("w15-19") {
					t.Errorf("%s lacks a write", s.name)
				}
			}
		})
	}
}

// An acknowledged write is in the state of every later leader.
func TestLeaderDies(t *testing.T) {
	c := newCluster(t, 3, nil)
	var acked []string
	for i := range 3 {
		old := c.leader()
		for j := range 20 {
			name := fmt.Sprintf("a%d-%d", i, j)
			if _, err := old.store.Propose(c.ctx(), put(name, "")); err != nil {
				t.Fatal(err)
			}
			acked = append(acked, name)
		}
		c.crash(old)
		start := time.Now()
		c.write(put(fmt.Sprintf("after-%d", i), ""))
		t.Logf("from the leader's end to the next acknowledged write: %s", time.Since(start).Round(time.Millisecond))
		now := c.leader()
		if now == old {
			t.Fatal("a dead server leads")
		}
		for _, name := range acked {
			if !now.has(name) {
				t.Errorf("%s was acknowledged and is lost", name)
			}
		}
		c.restart(old)
	}
	c.same(0)
}

func TestPartition(t *testing.T) {
	c := newCluster(t, 3, nil)
	old := c.leader()
	leading, _, err := old.Lead(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	c.net.isolate(old.name, true)
	// Cut off, it may not serve: neither a write nor a read.
	ctx, cancel := context.WithTimeout(c.ctx(), 10*time.Second)
	defer cancel()
	if _, err := old.store.Propose(ctx, put("lost", "")); err == nil {
		t.Error("a leader without a majority acknowledged a write")
	}
	if _, err := old.ReadIndex(ctx); err == nil {
		t.Error("a leader without a majority confirmed a read")
	}
	<-leading.Done()
	c.write(put("kept", ""), old)
	c.net.isolate(old.name, false)
	c.same(0)
	if !old.has("kept") {
		t.Error("the old leader did not catch up")
	}
}

func TestFollowerRefusesByName(t *testing.T) {
	c := newCluster(t, 3, nil)
	lead := c.leader()
	for _, s := range c.servers {
		if s == lead {
			continue
		}
		if err := s.store.WaitRevision(c.ctx(), lead.store.Revision()); err != nil {
			t.Fatal(err)
		}
		_, err := s.Propose(c.ctx(), put("x", ""))
		if spec.CodeOf(err) != spec.CodeNotLeader || !strings.Contains(err.Error(), lead.name) {
			t.Errorf("propose on %s: %v", s.name, err)
		}
		if _, err := s.ReadIndex(c.ctx()); spec.CodeOf(err) != spec.CodeNotLeader {
			t.Errorf("read on %s: %v", s.name, err)
		}
		if name, addr := s.Leader(); name != lead.name || addr != lead.addr {
			t.Errorf("%s takes %s at %s for the leader", s.name, name, addr)
		}
	}
}

// A read index covers all that was acknowledged before, and every server
// reaches it, whatever else Raft has put into the log.
func TestReadIndex(t *testing.T) {
	c := newCluster(t, 3, nil)
	lead := c.leader()
	for i := range 20 {
		r := c.write(put(fmt.Sprint(i), ""))
		var wg sync.WaitGroup
		for range 8 {
			wg.Go(func() {
				at, err := lead.ReadIndex(c.ctx())
				if err != nil || at < r.GetRevision() {
					t.Errorf("read index %d after a write at %d, %v", at, r.GetRevision(), err)
				}
				for _, s := range c.servers {
					if err := s.store.WaitRevision(c.ctx(), at); err != nil {
						t.Error(err)
					}
				}
			})
		}
		wg.Wait()
	}
}

func TestPlansDieWithTheirTerm(t *testing.T) {
	c := newCluster(t, 1, nil)
	lead := c.leader()
	_, term, err := lead.Lead(t.Context())
	if err != nil || term != lead.Term() {
		t.Fatal(term, err)
	}
	p := put("x", "")
	p.Term = term
	if _, err := lead.store.Propose(c.ctx(), p); err != nil {
		t.Errorf("in its term: %v", err)
	}
	p.Term = term - 1
	if _, err := lead.store.Propose(c.ctx(), p); spec.CodeOf(err) != spec.CodeNotLeader {
		t.Errorf("in a later term: %v", err)
	}
}

// A follower that was away for longer than the log is kept gets a snapshot.
func TestSnapshotCatchUp(t *testing.T) {
	c := newCluster(t, 3, small)
	lead := c.leader()
	var away *server
	for _, s := range c.servers {
		if s != lead {
			away = s
		}
	}
	c.write(put("early", ""))
	c.crash(away)
	for i := 0; len(snapshots(t, lead)) == 0 || first(t, lead) < 100; i++ {
		c.write(put(fmt.Sprintf("x-%d", i%50), fmt.Sprint(i)))
	}
	back := c.restart(away)
	c.same(0)
	if len(snapshots(t, back)) == 0 {
		t.Error("it caught up without a snapshot")
	}
	// And a new server needs one, too.
	c.join("s9", c.leader())
	c.same(0)
	// All of it is there again after a restart of everything.
	for _, s := range c.servers {
		c.stop(s)
	}
	for _, s := range c.servers {
		c.start(s.name, s.dir, false)
	}
	c.same(0)
}

func snapshots(t *testing.T, s *server) []string {
	t.Helper()
	l, err := filepath.Glob(filepath.Join(s.dir, "snapshots", "*", "meta.json"))
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func first(t *testing.T, s *server) uint64 {
	t.Helper()
	f, err := s.store.Log().First()
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// A server whose state is lost or behind takes its own snapshot.
func TestStateBehindSnapshot(t *testing.T) {
	c := newCluster(t, 1, small)
	s := c.leader()
	for i := 0; len(snapshots(t, s)) < 2; i++ {
		c.write(put(fmt.Sprintf("x-%d", i%50), fmt.Sprint(i)))
	}
	_, hash, err := s.store.Hash()
	if err != nil {
		t.Fatal(err)
	}
	c.stop(s)
	states, _ := filepath.Glob(filepath.Join(s.dir, "state-*"))
	for _, d := range append(states, filepath.Join(s.dir, "STATE")) {
		if err := os.RemoveAll(d); err != nil {
			t.Fatal(err)
		}
	}
	s = c.start(s.name, s.dir, false)
	c.leader()
	if err := s.Barrier(c.ctx()); err != nil {
		t.Fatal(err)
	}
	if _, now, _ := s.store.Hash(); string(now) != string(hash) {
		t.Error("the state is another")
	}
}

// A state that has what the log has not would silently skip new entries.
func TestLostLogIsRefused(t *testing.T) {
	c := newCluster(t, 1, nil)
	s := c.leader()
	for i := range 10 {
		c.write(put(fmt.Sprint(i), ""))
	}
	c.stop(s)
	if err := os.RemoveAll(filepath.Join(s.dir, "log")); err != nil {
		t.Fatal(err)
	}
	st := reopen(t, s)
	_, err := replica.Open(replica.Config{Name: s.name, Address: s.addr, Bootstrap: true, Dir: filepath.Join(s.dir, "snapshots"), Log: st.Log(), FSM: st})
	if spec.CodeOf(err) != spec.CodeInternal || !strings.Contains(err.Error(), "entries were lost") {
		t.Errorf("got %v", err)
	}
	// A hole in the log is found, too.
	if err := st.Log().Append(1000, [][]byte{{0}}); err != nil {
		t.Fatal(err)
	}
	_, err = replica.Open(replica.Config{Name: s.name, Address: s.addr, Dir: filepath.Join(s.dir, "snapshots"), Log: st.Log(), FSM: st})
	if spec.CodeOf(err) != spec.CodeInternal || !strings.Contains(err.Error(), "damaged") {
		t.Errorf("got %v", err)
	}
}

func TestMembership(t *testing.T) {
	c := newCluster(t, 1, nil)
	lead := c.leader()
	if err := lead.RemoveServer(c.ctx(), lead.name); spec.CodeOf(err) != spec.CodeInvalid {
		t.Errorf("the only server was removed: %v", err)
	}
	c.join("s2", lead)
	s3 := c.join("s3", lead)
	if err := lead.AddServer(c.ctx(), "s3", s3.addr); err != nil {
		t.Errorf("added again: %v", err)
	}
	if err := lead.AddServer(c.ctx(), "s4", s3.addr); spec.CodeOf(err) != spec.CodeConflict {
		t.Errorf("another at the same address: %v", err)
	}
	voters := 0
	for _, s := range lead.Servers() {
		if s.Voter && !s.LastContact.IsZero() && s.Leader == (s.Name == lead.name) {
			voters++
		}
	}
	if voters != 3 {
		t.Errorf("members: %+v", lead.Servers())
	}
	// One that cannot be reached does not become a voter.
	ctx, cancel := context.WithTimeout(t.Context(), 500*time.Millisecond)
	defer cancel()
	if err := lead.AddServer(ctx, "ghost", "127.0.0.1:1"); spec.CodeOf(err) != spec.CodeTimeout {
		t.Errorf("a ghost was added: %v", err)
	}
	for _, s := range lead.Servers() {
		if s.Name == "ghost" && s.Voter {
			t.Error("a ghost votes")
		}
	}
	for _, name := range []string{"ghost", "s3", "never"} {
		if err := lead.RemoveServer(c.ctx(), name); err != nil {
			t.Errorf("remove %s: %v", name, err)
		}
	}
	c.stop(s3)
	c.write(put("x", ""))
	// The leader can remove itself; the other goes on.
	if err := lead.RemoveServer(c.ctx(), lead.name); err != nil {
		t.Error(err)
	}
	if now := c.leader(lead); now.name != "s2" {
		t.Errorf("%s leads", now.name)
	}
}

// A leader that stops hands over: no election has to be waited for.
func TestShutdownHandsOver(t *testing.T) {
	c := newCluster(t, 3, func(c *replica.Config) { c.HeartbeatTimeout = 10 * time.Second })
	old := c.leader()
	c.write(put("x", ""))
	c.stop(old)
	// An election would begin after 10 s at the earliest.
	ctx, cancel := context.WithTimeout(t.Context(), 8*time.Second)
	defer cancel()
	took := make(chan *server, 2)
	for _, s := range c.servers {
		if s != old {
			go func() {
				if _, _, err := s.Lead(ctx); err == nil {
					took <- s
				}
			}()
		}
	}
	select {
	case now := <-took:
		if !now.has("x") {
			t.Error("the new leader lacks a write")
		}
	case <-ctx.Done():
		t.Error("nobody took over")
	}
	if _, err := old.store.Propose(t.Context(), put("y", "")); err == nil {
		t.Error("a stopped server took a write")
	}
}

// A cut-off server that comes back does not depose the leader.
func TestPreVote(t *testing.T) {
	c := newCluster(t, 3, nil)
	lead := c.leader()
	var other *server
	for _, s := range c.servers {
		if s != lead {
			other = s
		}
	}
	leading, term, err := lead.Lead(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	changed := other.LeaderChanged()
	c.net.isolate(other.name, true)
	<-changed // It has given its leader up, and stands for election.
	c.net.isolate(other.name, false)
	r := c.write(put("x", ""))
	if err := other.store.WaitRevision(c.ctx(), r.GetRevision()); err != nil {
		t.Fatal(err)
	}
	if leading.Err() != nil || lead.Term() != term {
		t.Errorf("the leader of term %d was deposed: term %d", term, lead.Term())
	}
}

func TestProposalTooLarge(t *testing.T) {
	c := newCluster(t, 1, nil)
	if _, err := c.leader().store.Propose(c.ctx(), put("x", strings.Repeat("x", 9<<20))); spec.CodeOf(err) != spec.CodeExhausted {
		t.Errorf("got %v", err)
	}
	c.write(put("y", strings.Repeat("y", 4<<20)))
}

// A restarted server has its state at once, without replaying its log.
func TestRestartIsQuick(t *testing.T) {
	c := newCluster(t, 1, nil)
	s := c.leader()
	var wg sync.WaitGroup
	for w := range 100 {
		wg.Go(func() {
			for i := range 100 {
				if _, err := s.store.Propose(t.Context(), put(fmt.Sprintf("w%d-%d", w, i), strings.Repeat("x", 500))); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	rev := s.store.Revision()
	c.stop(s)
	start := time.Now()
	s = c.start(s.name, s.dir, false)
	opened := time.Since(start)
	c.leader()
	t.Logf("10,000 objects: opened in %s, leads after %s", opened.Round(time.Millisecond), time.Since(start).Round(time.Millisecond))
	if s.store.Revision() < rev || !s.has("w99-99") {
		t.Error("something was lost")
	}
}
