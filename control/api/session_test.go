package api_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"sync"
	"testing"
	"time"

	"connectrpc.com/connect"

	"dhow.dev/dhow/control/api"
	"dhow.dev/dhow/control/session"
	"dhow.dev/dhow/internal/client"
	"dhow.dev/dhow/internal/pki"
	dhowv1 "dhow.dev/dhow/proto/dhow/v1"
	"dhow.dev/dhow/proto/spec"
)

type stream = connect.BidiStreamForClientSimple[dhowv1.SessionRequest, dhowv1.SessionResponse]

// node is a node's end of its session.
type node struct {
	t      testing.TB
	w      *world
	name   string
	c      *client.Client
	in     *stream
	cancel context.CancelFunc
	mu     sync.Mutex
}

func info() *dhowv1.NodeInfo { return &dhowv1.NodeInfo{Os: "linux", Arch: "amd64"} }

// connect opens a session and reads the welcome.
func (w *world) connect(t testing.TB, name string, generation uint64) *node {
	t.Helper()
	n := w.dial(t, name)
	n.hello(generation)
	if m := n.next(); m.GetWelcome().GetServer() != "s1" || m.GetWelcome().GetHeartbeat().AsDuration() <= 0 {
		t.Fatalf("welcome: %v", m)
	}
	return n
}

func (w *world) dial(t testing.TB, name string) *node {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	t.Cleanup(cancel)
	n := &node{t: t, w: w, name: name, c: w.asMachine(pki.Node, name), cancel: cancel}
	var err error
	if n.in, err = n.c.Agents.Session(ctx); err != nil {
		t.Fatal(err)
	}
	return n
}

func (n *node) hello(generation uint64) {
	n.t.Helper()
	n.send(&dhowv1.SessionRequest{Message: &dhowv1.SessionRequest_Hello{Hello: &dhowv1.Hello{Info: info(), Generation: generation}}})
}

func (n *node) send(m *dhowv1.SessionRequest) {
	n.t.Helper()
	n.mu.Lock()
	defer n.mu.Unlock()
	// A node that beats by itself may do so when the test is over.
	if err := n.in.Send(m); err != nil && !errors.Is(err, io.EOF) && n.t.Context().Err() == nil {
		n.t.Errorf("send: %v", err)
	}
}

func (n *node) beat() {
	n.send(&dhowv1.SessionRequest{Message: &dhowv1.SessionRequest_Heartbeat{Heartbeat: &dhowv1.Heartbeat{}}})
}

func (n *node) next() *dhowv1.SessionResponse {
	n.t.Helper()
	m, err := n.in.Receive()
	if err != nil {
		n.t.Fatalf("receive: %v", err)
	}
	return m
}

// assigned is the next message of assignments.
func (n *node) assigned() *dhowv1.Assignments {
	n.t.Helper()
	for {
		if a := n.next().GetAssignments(); a != nil {
			return a
		}
	}
}

// ended reads until the session ends.
func (n *node) ended() error {
	for {
		if _, err := n.in.Receive(); err != nil {
			return err
		}
	}
}

func (w *world) node(name string) { w.put(&dhowv1.Node{Meta: &dhowv1.Meta{Name: name}}) }

// waitNode waits until the node is as f wants it.
func (w *world) waitNode(t testing.TB, name string, f func(*dhowv1.Node) bool) *dhowv1.Node {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	watch, err := w.store.Watch(w.store.Revision(), &dhowv1.Selector{Kind: dhowv1.Kind_KIND_NODE, Name: name})
	if err != nil {
		t.Fatal(err)
	}
	defer watch.Close()
	for {
		v := w.store.View()
		o, err := v.Get(&dhowv1.Ref{Kind: dhowv1.Kind_KIND_NODE, Name: name})
		v.Close()
		if err == nil && f(o.GetNode()) {
			return o.GetNode()
		}
		if _, _, err := watch.Next(ctx); err != nil {
			t.Fatalf("waiting for node %s, which is %v: %v", name, o, err)
		}
	}
}

func connected(n *dhowv1.Node) bool    { return n.GetSession().GetConnected() }
func disconnected(n *dhowv1.Node) bool { return !n.GetSession().GetConnected() }

// instance puts an instance of workload web on a node, with its revision.
func (w *world) instance(name, node string, revision uint64) *dhowv1.Instance {
	w.t.Helper()
	w.put(&dhowv1.Revision{
		Meta: &dhowv1.Meta{Name: spec.RevisionName("web", revision), Namespace: "default"}, Workload: "web", WorkloadUid: "wu", Number: revision,
		Template: &dhowv1.Template{Tasks: []*dhowv1.Task{{Name: "main"}}},
	})
	o := w.put(&dhowv1.Instance{Meta: &dhowv1.Meta{Name: name, Namespace: "default"}, Spec: &dhowv1.InstanceSpec{
		Workload: "web", WorkloadUid: "wu", Revision: revision, Node: node, Desired: dhowv1.Desired_DESIRED_RUN,
	}})
	return o.GetInstance()
}

func ref(i *dhowv1.Instance) *dhowv1.Ref {
	return &dhowv1.Ref{Kind: dhowv1.Kind_KIND_INSTANCE, Namespace: i.Meta.Namespace, Name: i.Meta.Name, Uid: i.Meta.Uid}
}

func TestSessionFullSetThenDeltas(t *testing.T) {
	w := newWorld(t)
	w.node("n1")
	w.node("n2")
	first := w.instance("web-0-a", "n1", 1)
	w.instance("web-1-a", "n2", 1)
	n := w.connect(t, "n1", 0)
	full := n.assigned()
	if !full.Full || full.More || len(full.Instances) != 1 || len(full.Revisions) != 1 || full.Generation < first.Meta.Version {
		t.Fatalf("full set: %v", full)
	}
	second := w.instance("web-2-a", "n1", 1)
	d := n.assigned()
	if d.Full || len(d.Instances) != 1 || d.Instances[0].Meta.Name != "web-2-a" || len(d.Revisions) != 0 || d.Generation < second.Meta.Version {
		t.Fatalf("a delta, and no revision twice: %v", d)
	}
	w.instance("web-3-a", "n1", 2)
	if d = n.assigned(); len(d.Revisions) != 1 || d.Revisions[0].Number != 2 {
		t.Fatalf("a new revision: %v", d)
	}
	// What the node itself reported is no news to it; what others do is.
	w.propose(&dhowv1.Change{Op: &dhowv1.Change_Instance{Instance: &dhowv1.InstanceReport{Ref: ref(first), Node: "n1", Status: &dhowv1.InstanceStatus{State: dhowv1.InstanceState_INSTANCE_STATE_RUNNING, Sequence: 1}}}})
	stopped := &dhowv1.Instance{Meta: &dhowv1.Meta{Name: first.Meta.Name, Namespace: "default", Uid: first.Meta.Uid}, Spec: &dhowv1.InstanceSpec{
		Workload: "web", WorkloadUid: "wu", Revision: 1, Node: "n1", Desired: dhowv1.Desired_DESIRED_STOP, StopReason: "scaled down",
	}}
	w.put(stopped)
	if d = n.assigned(); len(d.Instances) != 1 || d.Instances[0].Spec.Desired != dhowv1.Desired_DESIRED_STOP {
		t.Fatalf("told to stop: %v", d)
	}
	w.propose(&dhowv1.Change{Op: &dhowv1.Change_Delete{Delete: ref(first)}})
	if d = n.assigned(); len(d.Instances) != 0 || len(d.Removed) != 1 || d.Removed[0].Uid != first.Meta.Uid {
		t.Fatalf("removed: %v", d)
	}
}

func TestSessionLargeSetComesInParts(t *testing.T) {
	w := newWorld(t)
	w.node("n1")
	for i := range 1203 {
		w.instance(fmt.Sprintf("web-%d-a", i), "n1", 1)
	}
	n := w.connect(t, "n1", 0)
	seen, parts := 0, 0
	for {
		a := n.assigned()
		if !a.Full {
			t.Fatal("a delta within a full set")
		}
		seen += len(a.Instances)
		parts++
		if !a.More {
			break
		}
	}
	if seen != 1203 || parts != 3 {
		t.Errorf("%d instances in %d parts", seen, parts)
	}
}

// A node hears of servers that came after it, in its next heartbeat's answer
// and once.
func TestSessionTellsOfNewServers(t *testing.T) {
	w := newWorld(t)
	w.node("n1")
	n := w.connect(t, "n1", 0)
	pong := func() []string {
		n.beat()
		for {
			if p := n.next().GetPong(); p != nil {
				return p.GetServers()
			}
		}
	}
	pong()
	w.told.Store(&[]string{w.addr, "10.0.0.2:7400"})
	if got := pong(); !slices.Equal(got, []string{w.addr, "10.0.0.2:7400"}) {
		t.Errorf("told of %v", got)
	}
	if got := pong(); len(got) > 0 {
		t.Errorf("told again of %v", got)
	}
	w.told.Store(&[]string{}) // not all are known: nothing is forgotten
	if got := pong(); len(got) > 0 {
		t.Errorf("told of %v", got)
	}
}

// A node that is killed is seen through its connection, long before it would
// count as silent.
func TestSessionIsRecorded(t *testing.T) {
	w := newWorld(t, hub(time.Hour))
	w.node("n1")
	n := w.connect(t, "n1", 0)
	got := w.waitNode(t, "n1", connected)
	if got.Session.Server != "s1" || got.Session.Id == "" || got.Info.Os != "linux" {
		t.Errorf("recorded %v", got)
	}
	n.beat()
	for n.next().GetPong() == nil {
	}
	n.cancel() // as when the node is killed: the connection goes
	w.waitNode(t, "n1", disconnected)
	if w.hub.Connected() != 0 {
		t.Error("the session stays")
	}
	// A newer session is not ended by the end of an older one.
	first := w.connect(t, "n1", 0)
	id := w.waitNode(t, "n1", connected).Session.Id
	second := w.connect(t, "n1", 0)
	wantCode(t, first.ended(), spec.CodeConflict, "another session")
	w.waitNode(t, "n1", func(n *dhowv1.Node) bool { return connected(n) && n.Session.Id != id })
	second.beat()
	for second.next().GetPong() == nil {
	}
	if !connected(w.waitNode(t, "n1", func(*dhowv1.Node) bool { return true })) {
		t.Error("the end of the old session was taken for that of the new")
	}
}

func TestSessionSilentNodeIsGivenUp(t *testing.T) {
	w := newWorld(t, hub(50*time.Millisecond))
	w.node("n1")
	n := w.connect(t, "n1", 0)
	w.waitNode(t, "n1", connected)
	// It neither sends nor closes.
	w.waitNode(t, "n1", disconnected)
	wantCode(t, n.ended(), spec.CodeTimeout, "silent")
}

// hub makes the nodes' sessions end after three heartbeats of silence.
func hub(heartbeat time.Duration) func(c *api.Config) {
	return func(c *api.Config) {
		h := session.New(session.Config{
			Server: "s1", Store: c.Store.(session.Store), Caller: api.Caller, Servers: func() []string { return nil }, Now: c.Now, Logger: c.Logger,
			Heartbeat: heartbeat, AnswerTimeout: 300 * time.Millisecond, WriteTimeout: 200 * time.Millisecond,
		})
		c.Sessions, c.Agents = h, h
	}
}

func TestSessionOfAStrangerIsRefused(t *testing.T) {
	w := newWorld(t)
	n := w.dial(t, "nobody")
	n.hello(0)
	wantCode(t, n.ended(), spec.CodeDenied, "nobody", "join")
	c := w.as(w.admin)
	s, err := c.Agents.Session(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	_ = s.Send(&dhowv1.SessionRequest{Message: &dhowv1.SessionRequest_Hello{Hello: &dhowv1.Hello{Info: info()}}})
	_, err = s.Receive()
	wantCode(t, err, spec.CodeDenied, "token/admin")
	w.node("n1")
	n = w.dial(t, "n1")
	n.beat()
	wantCode(t, n.ended(), spec.CodeInvalid, "hello")
	n = w.dial(t, "n1")
	n.send(&dhowv1.SessionRequest{Message: &dhowv1.SessionRequest_Hello{Hello: &dhowv1.Hello{}}})
	wantCode(t, n.ended(), spec.CodeInvalid, "info")
}

func TestSessionEndsWhenTheNodeIsRemovedOrMoves(t *testing.T) {
	w := newWorld(t)
	w.node("n1")
	n := w.connect(t, "n1", 0)
	w.waitNode(t, "n1", connected)
	w.propose(&dhowv1.Change{Op: &dhowv1.Change_Session{Session: &dhowv1.NodeSessionReport{Node: "n1", Session: &dhowv1.NodeSession{Server: "s2", Id: "elsewhere", Connected: true}}}})
	wantCode(t, n.ended(), spec.CodeConflict, "s2")
	n = w.connect(t, "n1", 0)
	w.waitNode(t, "n1", func(n *dhowv1.Node) bool { return n.Session.GetServer() == "s1" })
	w.propose(&dhowv1.Change{Op: &dhowv1.Change_Delete{Delete: &dhowv1.Ref{Kind: dhowv1.Kind_KIND_NODE, Name: "n1"}}})
	wantCode(t, n.ended(), spec.CodeDenied, "removed")
}

// What a server that was killed left behind is cleared when it is back, but
// not before the node had time to come back, too.
func TestStaleSessionsAreCleared(t *testing.T) {
	w := newWorld(t, func(c *api.Config) {
		for _, name := range []string{"gone", "back", "other"} {
			server := "s1"
			if name == "other" {
				server = "s2"
			}
			_, err := c.Store.Propose(context.Background(), &dhowv1.Proposal{Changes: []*dhowv1.Change{
				{Op: &dhowv1.Change_Put{Put: spec.Wrap(&dhowv1.Node{Meta: &dhowv1.Meta{Name: name, Uid: name}})}},
				{Op: &dhowv1.Change_Session{Session: &dhowv1.NodeSessionReport{Node: name, Session: &dhowv1.NodeSession{Server: server, Id: "old", Connected: true}}}},
			}})
			if err != nil {
				panic(err)
			}
		}
		hub(50 * time.Millisecond)(c)
	})
	n := w.connect(t, "back", 0)
	go func() {
		for {
			if m, err := n.in.Receive(); err != nil {
				return
			} else if m.GetPong() != nil || m.GetAssignments() != nil {
				n.beat()
			}
		}
	}()
	w.waitNode(t, "gone", disconnected)
	if !connected(w.waitNode(t, "other", func(*dhowv1.Node) bool { return true })) {
		t.Error("another server's session was cleared")
	}
	if s := w.waitNode(t, "back", func(*dhowv1.Node) bool { return true }).Session; !s.GetConnected() || s.GetId() == "old" {
		t.Errorf("the node that came back: %v", s)
	}
}

func TestReports(t *testing.T) {
	w := newWorld(t)
	w.node("n1")
	w.node("n2")
	own, other := w.instance("web-0-a", "n1", 1), w.instance("web-1-a", "n2", 1)
	c := w.asMachine(pki.Node, "n1")
	running := func(i *dhowv1.Instance, seq uint64) *dhowv1.Report {
		return &dhowv1.Report{Ref: ref(i), Status: &dhowv1.InstanceStatus{State: dhowv1.InstanceState_INSTANCE_STATE_RUNNING, Ready: true, Sequence: seq}}
	}
	gone := &dhowv1.Report{Ref: &dhowv1.Ref{Kind: dhowv1.Kind_KIND_INSTANCE, Namespace: "default", Name: "web-9-z", Uid: "zz"}, Status: &dhowv1.InstanceStatus{Sequence: 1}}
	res, err := c.Agents.ReportStatus(t.Context(), &dhowv1.ReportStatusRequest{Reports: []*dhowv1.Report{running(own, 1), running(other, 1), gone}})
	if err != nil {
		t.Fatal(err)
	}
	var refused []string
	for _, r := range res.Refused {
		refused = append(refused, r.Name)
	}
	if len(refused) != 2 || refused[0] != "web-1-a" || refused[1] != "web-9-z" {
		t.Errorf("refused %v", refused)
	}
	state := func(i *dhowv1.Instance) dhowv1.InstanceState {
		v := w.store.View()
		defer v.Close()
		o, err := v.Get(ref(i))
		if err != nil {
			t.Fatal(err)
		}
		return o.GetInstance().GetStatus().GetState()
	}
	if state(own) != dhowv1.InstanceState_INSTANCE_STATE_RUNNING || state(other) != dhowv1.InstanceState_INSTANCE_STATE_PENDING {
		t.Errorf("own is %v, the other node's %v", state(own), state(other))
	}
	_, err = c.Agents.ReportStatus(t.Context(), &dhowv1.ReportStatusRequest{Events: []*dhowv1.Event{{Regarding: ref(other), Reason: "Lies"}}})
	wantCode(t, err, spec.CodeDenied, "n1", "web-1-a")
	for range 2 {
		_, err = c.Agents.ReportStatus(t.Context(), &dhowv1.ReportStatusRequest{Events: []*dhowv1.Event{{Meta: &dhowv1.Meta{Name: "evil"}, Regarding: ref(own), Reason: "Started", Message: "hello", Time: own.Meta.CreatedAt, Source: "n2"}}})
		if err != nil {
			t.Fatal(err)
		}
	}
	v := w.store.View()
	defer v.Close()
	events, _, err := v.List(&dhowv1.Selector{Kind: dhowv1.Kind_KIND_EVENT}, "", 0)
	if err != nil || len(events) != 1 || events[0].GetEvent().Source != "n1" {
		t.Errorf("an event that is sent twice is stored once, as its node's: %v %v", events, err)
	}
}

// Many nodes that report at once share proposals; one that lies spoils
// nobody else's.
func TestReportsTogether(t *testing.T) {
	w := newWorld(t)
	var all sync.WaitGroup
	for i := range 50 {
		name := fmt.Sprintf("n%d", i)
		w.node(name)
		in := w.instance(fmt.Sprintf("web-%d-a", i), name, 1)
		c := w.asMachine(pki.Node, name)
		all.Go(func() {
			for seq := uint64(1); seq <= 10; seq++ {
				res, err := c.Agents.ReportStatus(t.Context(), &dhowv1.ReportStatusRequest{Reports: []*dhowv1.Report{
					{Ref: ref(in), Status: &dhowv1.InstanceStatus{State: dhowv1.InstanceState_INSTANCE_STATE_RUNNING, Sequence: seq}},
					{Ref: &dhowv1.Ref{Kind: dhowv1.Kind_KIND_INSTANCE, Namespace: "default", Name: "bad\x00name"}, Status: &dhowv1.InstanceStatus{Sequence: seq}},
				}})
				if err != nil || len(res.Refused) != 1 {
					t.Errorf("%s: %v %v", name, res, err)
				}
			}
		})
	}
	all.Wait()
	v := w.store.View()
	defer v.Close()
	objs, _, err := v.List(&dhowv1.Selector{Kind: dhowv1.Kind_KIND_INSTANCE}, "", 0)
	if err != nil {
		t.Fatal(err)
	}
	for _, o := range objs {
		if s := o.GetInstance().Status; s.Sequence != 10 {
			t.Errorf("%s is at report %d", o.GetInstance().Meta.Name, s.Sequence)
		}
	}
}
