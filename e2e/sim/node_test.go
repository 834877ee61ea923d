package sim

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"google.golang.org/protobuf/proto"

	"dhow.dev/dhow/node/agent"
	"dhow.dev/dhow/node/runtime"
	dhowv1 "dhow.dev/dhow/proto/dhow/v1"
	"dhow.dev/dhow/proto/spec"
)

// node is a machine: the real agent core over a ledger and a runtime that are
// made up.
type node struct {
	w      *world
	name   string
	cpu    uint64
	gossip bool
	// What it runs outlives the agent, as containers do.
	outlives bool
	up       bool
	life     int
	core     *agent.Core
	ledger   []*dhowv1.LedgerRecord
	runs     map[runtime.ID]*run
	session  *session
	gone     bool // removed by a user
	dead     bool // off for good
	wake     time.Time
	starting []agent.Action // in flight
	stored   time.Time      // when the last records will be on the disk
}

// run is what the runtime knows of a run.
type run struct {
	id      runtime.ID
	running bool
	since   time.Time
	exit    runtime.Exit
	wait    []func() // told when it ends
	mood    string
	cpu     uint64
}

// room checks that what really runs is no more than the node has.
func (n *node) room() {
	sum := uint64(0)
	for _, r := range n.runs {
		if r.running {
			sum += r.cpu
		}
	}
	if sum > n.cpu {
		n.w.fail("invariant 3 broken: %s has %dm cpu and runs what needs %dm", n.name, n.cpu, sum)
	}
}

func (w *world) addNode(k int) {
	n := &node{
		w: w, name: fmt.Sprintf("n%d", k), cpu: uint64(2+w.rng.IntN(8)) * 100, gossip: !w.one(5), outlives: w.one(2),
		runs: map[runtime.ID]*run{},
	}
	w.nodes = append(w.nodes, n)
}

func (n *node) info() *dhowv1.NodeInfo {
	return &dhowv1.NodeInfo{
		Os: "linux", Arch: "amd64", Runtimes: []string{"wasm"}, Gossip: n.gossip,
		Capacity: &dhowv1.ResourceList{Cpu: n.cpu, Memory: 1 << 30}, Allocatable: &dhowv1.ResourceList{Cpu: n.cpu, Memory: 1 << 30},
	}
}

// join has the cluster know the node; it is tried until it does.
func (n *node) join() {
	p := &dhowv1.Proposal{Changes: []*dhowv1.Change{{
		Op: &dhowv1.Change_Put{Put: spec.Wrap(&dhowv1.Node{
			Meta: &dhowv1.Meta{Name: n.name, Uid: "node-" + n.name}, Spec: &dhowv1.NodeSpec{}, Info: n.info(),
		})},
		Expect: &dhowv1.Expect{Absent: true},
	}}}
	s := n.w.servers[n.w.rng.IntN(len(n.w.servers))]
	again := func() { n.w.after(200*time.Millisecond, n.join) }
	if !s.up {
		again()
		return
	}
	s.call(p, func(r *dhowv1.ProposalResult) {
		if r == nil || r.GetCode() != "" && r.GetCode() != string(spec.CodeExists) {
			again()
		}
	})
}

func (n *node) start() {
	if n.gone || n.dead {
		return
	}
	n.up = true
	n.life++
	n.session = nil
	n.core = agent.NewCore(agent.CoreConfig{Node: n.name, Address: "127.0.0.1", Runtimes: []string{"wasm"}})
	var found []agent.Found
	for _, id := range n.ids() {
		r := n.runs[id]
		r.wait = nil
		found = append(found, agent.Found{Runtime: "wasm", Status: runtime.Status{ID: id, Running: r.running, Exit: r.exit}})
	}
	n.w.logf("%s starts; %d records, %d runs", n.name, len(n.ledger), len(found))
	n.core.Restore(n.w.now, n.ledger, found)
	n.pump()
	n.dial()
	n.beat()
}

func (n *node) ids() []runtime.ID {
	ids := make([]runtime.ID, 0, len(n.runs))
	for id := range n.runs {
		ids = append(ids, id)
	}
	slices.SortFunc(ids, func(a, b runtime.ID) int {
		return strings.Compare(fmt.Sprint(a.Instance, a.Task, a.Run), fmt.Sprint(b.Instance, b.Task, b.Run))
	})
	return ids
}

// stop ends the agent; off ends the machine with all that runs on it.
func (n *node) stop(off bool) {
	n.up = false
	n.core = nil
	if off || !n.outlives {
		clear(n.runs)
	} else {
		// What was being started may run all the same.
		for _, a := range n.starting {
			if n.w.one(2) {
				_ = n.launch(a)
			}
		}
	}
	n.starting = nil
	n.w.stats.kills++
	n.w.logf("%s stops (machine: %v)", n.name, off)
	if c := n.session; c != nil {
		n.session = nil
		if off {
			c.left = true // nobody closes the connection
		} else {
			c.end()
		}
	}
}

// later calls back unless the agent's life has ended.
func (n *node) later(d time.Duration, do func()) {
	life := n.life
	n.w.after(d, func() {
		if n.up && n.life == life {
			do()
		}
	})
}

func (n *node) dial() {
	n.later(n.w.between(50*time.Millisecond, 400*time.Millisecond), func() {
		n.dial()
		s := n.w.servers[n.w.rng.IntN(len(n.w.servers))]
		if n.session == nil && s.up && n.w.linked(n.name, s.name) {
			s.open(n, n.life, n.core.Generation())
		}
	})
}

func (n *node) beat() {
	n.later(sessionBeat, func() {
		n.beat()
		c := n.session
		if c == nil {
			return
		}
		if n.w.now.Sub(c.heard[1]) > sessionTimeout {
			n.w.logf("%s gives up its session with %s", n.name, c.s.name)
			n.leave(c)
			return
		}
		c.up(func() {
			c.heard[0] = n.w.now
			c.down(func() { c.heard[1] = n.w.now })
		})
	})
}

// leave is the node's end of a session; the server hears of it if it can.
func (n *node) leave(c *session) {
	if n.w.linked(n.name, c.s.name) {
		c.end()
		return
	}
	c.left = true
	n.disconnected(c)
}

func (n *node) connected(c *session) {
	if old := n.session; old != nil && old != c {
		n.leave(old)
	}
	n.session = c
	n.core.Connected(n.w.now)
	n.pump()
}

func (n *node) disconnected(c *session) {
	if n.session == c {
		n.session = nil
		n.core.Disconnected(n.w.now)
		n.pump()
	}
}

func (n *node) assign(c *session, a *dhowv1.Assignments) {
	if n.session != c {
		return
	}
	for _, i := range a.GetInstances() {
		if sp := i.GetSpec(); sp.GetDesired() == dhowv1.Desired_DESIRED_STOP {
			c.stops[i.GetMeta().GetUid()] = true
		}
	}
	before := n.core.Generation()
	if err := n.core.Assign(n.w.now, a); err != nil {
		n.w.logf("%s refuses assignments: %v", n.name, err)
		n.leave(c)
	} else {
		c.synced = c.synced || a.GetFull() && !a.GetMore()
		if n.core.Generation() < before {
			n.w.fail("%s went back from generation %d to %d", n.name, before, n.core.Generation())
		}
	}
	n.pump()
}

// pump does what the core asks for.
func (n *node) pump() {
	for r := n.core.Ready(n.w.now); !r.Empty(); r = n.core.Ready(n.w.now) {
		if len(r.Records) > 0 {
			records, mark := r.Records, r.Mark
			for k := range records {
				records[k] = proto.CloneOf(records[k])
			}
			at := n.w.now.Add(n.w.between(0, 2*time.Millisecond))
			if at.Before(n.stored) {
				at = n.stored
			}
			n.stored = at
			n.later(at.Sub(n.w.now), func() { n.store(records, mark) })
		}
		for _, a := range r.Actions {
			n.act(a)
		}
		for _, rep := range r.Reports {
			n.report(rep)
		}
	}
	if at := n.core.Wake(); !at.IsZero() && (n.wake.IsZero() || at.Before(n.wake) || !n.wake.After(n.w.now)) {
		n.wake = at
		n.later(max(0, at.Sub(n.w.now)), func() {
			n.wake = time.Time{}
			n.core.Tick(n.w.now)
			n.pump()
		})
	}
}

// store appends to the ledger, in order.
func (n *node) store(records []*dhowv1.LedgerRecord, mark uint64) {
	n.ledger = append(n.ledger, records...)
	n.core.Stored(n.w.now, mark)
	n.pump()
}

func (n *node) report(rep agent.Report) {
	c := n.session
	if c == nil || !c.synced {
		n.w.fail("invariant 4 broken: %s reports before it knows what it is to do", n.name)
	}
	for _, r := range rep.Request.GetReports() {
		if c.stops[r.GetRef().GetUid()] && (r.GetStatus().GetReady() || r.GetStatus().GetState() == dhowv1.InstanceState_INSTANCE_STATE_RUNNING) {
			n.w.fail("invariant 4 broken: %s was told to stop %s and reports it as %v", n.name, r.GetRef().GetName(), r.GetStatus().GetState())
		}
	}
	answered := false
	done := func(res *dhowv1.ReportStatusResponse) {
		if answered {
			return
		}
		answered = true
		var err error
		if res == nil {
			err = errors.New("no answer")
		}
		n.core.Reported(n.w.now, rep.ID, res, err)
		n.pump()
	}
	n.later(3*time.Second, func() { done(nil) })
	s, life := c.s, n.life
	req := proto.CloneOf(rep.Request)
	n.w.send(n.name, s.name, func() {
		if s.up {
			s.report(n, req, func(res *dhowv1.ReportStatusResponse) {
				n.w.send(s.name, n.name, func() {
					if n.up && n.life == life {
						done(res)
					}
				})
			})
		}
	})
}

// act executes an action on the runtime.
func (n *node) act(a agent.Action) {
	answer := func(r agent.Result) {
		r.Verb, r.ID = a.Verb, a.ID
		n.core.Done(n.w.now, r)
		n.pump()
	}
	d := n.w.between(100*time.Microsecond, 20*time.Millisecond)
	switch a.Verb {
	case agent.Prepare:
		n.later(d, func() {
			if !n.w.calm && n.w.one(15) {
				answer(agent.Result{Err: &runtime.Error{Reason: "NoArtifact", Err: errors.New("no server has it now")}})
				return
			}
			answer(agent.Result{})
		})
	case agent.Start:
		n.mayStart(a)
		life := n.life
		n.w.after(d, func() {
			if n.life != life || !n.up {
				return
			}
			n.starting = slices.DeleteFunc(n.starting, func(o agent.Action) bool { return o.ID == a.ID })
			answer(agent.Result{Err: n.launch(a)})
		})
		n.starting = append(n.starting, a)
	case agent.Wait:
		r := n.runs[a.ID]
		if r == nil {
			n.later(d, func() { answer(agent.Result{Exit: runtime.Exit{Code: -1, Reason: "Lost", At: n.w.now}}) })
			return
		}
		tell := func() { n.later(d, func() { answer(agent.Result{Exit: r.exit}) }) }
		if !r.running {
			tell()
			return
		}
		r.wait = append(r.wait, tell)
	case agent.Stop:
		if r := n.runs[a.ID]; r != nil && r.running {
			grace := n.w.between(0, 300*time.Millisecond)
			if r.mood == "stubborn" {
				grace = min(a.Grace, 3*time.Second)
			}
			n.later(grace, func() {
				r.end(n, 137, "Killed")
				answer(agent.Result{})
			})
			return
		}
		n.later(d, func() { answer(agent.Result{}) })
	case agent.Remove:
		n.later(d, func() {
			if r := n.runs[a.ID]; r != nil && r.running {
				n.w.fail("%s removes %v, which runs", n.name, a.ID)
			}
			delete(n.runs, a.ID)
			answer(agent.Result{})
		})
	case agent.Cancel, agent.Clean:
	}
}

// mayStart checks that what the ledger knows is to stop does not start again,
// also when no server can be asked.
func (n *node) mayStart(a agent.Action) {
	for _, r := range slices.Backward(n.ledger) {
		if i := r.GetInstance().GetInstance(); i.GetMeta().GetUid() == a.ID.Instance {
			if i.GetSpec().GetDesired() == dhowv1.Desired_DESIRED_STOP {
				n.w.fail("%s starts %s, which its ledger says is to stop", n.name, a.Task.Name)
			}
			return
		}
	}
}

func (n *node) launch(a agent.Action) error {
	mood := ""
	if args := a.Task.Spec.GetArgs(); len(args) > 0 {
		mood = args[0]
	}
	if mood == "broken" {
		return &runtime.Error{Reason: "BadModule", Permanent: true, Err: errors.New("it is broken")}
	}
	if !n.w.calm && n.w.one(20) {
		return errors.New("no luck")
	}
	for _, id := range n.ids() {
		if r := n.runs[id]; r.running && id != a.ID && id.Instance == a.ID.Instance && id.Task == a.ID.Task {
			n.w.fail("%s starts %v while %v runs", n.name, a.ID, id)
		}
	}
	if r := n.runs[a.ID]; r != nil && r.running {
		return nil
	}
	r := &run{id: a.ID, running: true, since: n.w.now, mood: mood, cpu: a.Task.Spec.GetResources().GetRequests().GetCpu()}
	n.runs[a.ID] = r
	n.room()
	n.w.logf("%s runs %s %v (%s)", n.name, a.Task.Name, a.ID, mood)
	var life time.Duration
	code := int32(0)
	switch mood {
	case "crashy":
		life, code = n.w.between(100*time.Millisecond, 20*time.Second), 1
		if n.w.calm {
			return nil
		}
	case "job":
		life = n.w.between(50*time.Millisecond, 3*time.Second)
	case "flaky":
		life = n.w.between(50*time.Millisecond, 3*time.Second)
		if !n.w.calm && n.w.one(2) {
			code = 1
		}
	default:
		return nil
	}
	n.w.after(life, func() {
		if n.runs[a.ID] == r && r.running {
			r.end(n, code, "Exited")
		}
	})
	return nil
}

func (r *run) end(n *node, code int32, reason string) {
	if !r.running {
		return
	}
	r.running = false
	r.exit = runtime.Exit{Code: code, Reason: reason, At: n.w.now}
	wait := r.wait
	r.wait = nil
	for _, f := range wait {
		f()
	}
}
