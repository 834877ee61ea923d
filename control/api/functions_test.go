package api_test

import (
	"bytes"
	"context"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"

	"dhow.dev/dhow/internal/pki"
	dhowv1 "dhow.dev/dhow/proto/dhow/v1"
	"dhow.dev/dhow/proto/spec"
)

func (p *fakePeers) Call(_ context.Context, server string, c *dhowv1.FunctionCall) (*dhowv1.CallResponse, error) {
	return &dhowv1.CallResponse{Result: &dhowv1.FunctionResult{Data: []byte("from " + server)}, Instance: c.GetRef().GetName()}, p.fail
}

func (p *fakePeers) Functions(context.Context, string, *dhowv1.FunctionsQuery) (*dhowv1.FunctionsResponse, error) {
	return &dhowv1.FunctionsResponse{}, p.fail
}

func (p *fakePeers) Usage(_ context.Context, server string, _ *dhowv1.UsageRequest) (*dhowv1.UsageResponse, error) {
	return &dhowv1.UsageResponse{Instances: []*dhowv1.InstanceUsage{{Ref: &dhowv1.Ref{Name: "at-" + server}}}}, p.fail
}

// function puts a workload of the type function.
func (w *world) function(name string) {
	w.t.Helper()
	o := workload(name, "sha256:"+strings.Repeat("0", 64))
	o.GetWorkload().Spec.Type = dhowv1.WorkloadType_WORKLOAD_TYPE_FUNCTION
	o.GetWorkload().Meta.Namespace = "default"
	w.put(o.GetWorkload())
}

// readyInstance puts one that can be called.
func (w *world) readyInstance(of, name, node string) *dhowv1.Ref {
	w.t.Helper()
	i := &dhowv1.Instance{
		Meta: &dhowv1.Meta{Name: name, Namespace: "default"},
		Spec: &dhowv1.InstanceSpec{Workload: of, Node: node, Revision: 1, Desired: dhowv1.Desired_DESIRED_RUN},
	}
	r := spec.RefOf(w.put(i))
	w.status(r, node, &dhowv1.InstanceStatus{State: dhowv1.InstanceState_INSTANCE_STATE_RUNNING, Ready: true, Sequence: 1})
	return r
}

func (w *world) status(r *dhowv1.Ref, node string, s *dhowv1.InstanceStatus) {
	w.t.Helper()
	w.propose(&dhowv1.Change{Op: &dhowv1.Change_Instance{Instance: &dhowv1.InstanceReport{Ref: r, Node: node, Status: s}}})
}

func refTo(workload string) *dhowv1.Ref {
	return &dhowv1.Ref{Kind: dhowv1.Kind_KIND_WORKLOAD, Namespace: "default", Name: workload}
}

// callee answers the questions that come, each in a goroutine, until the
// session ends.
func (n *node) callee(answer func(a *dhowv1.Ask) *dhowv1.AnswerRequest) {
	go func() {
		for {
			m, err := n.in.Receive()
			if err != nil {
				return
			}
			if ask := m.GetAsk(); ask != nil {
				go func() {
					if m := answer(ask); m != nil {
						m.Id = ask.GetId()
						n.send(&dhowv1.SessionRequest{Message: &dhowv1.SessionRequest_Answer{Answer: m}})
					}
				}()
			}
		}
	}()
}

func result(data string) *dhowv1.AnswerRequest {
	return &dhowv1.AnswerRequest{Part: &dhowv1.AnswerRequest_Call{Call: &dhowv1.FunctionResult{Data: []byte(data)}}}
}

// calling is a world with a function of one instance on a connected node.
func calling(t testing.TB, answer func(a *dhowv1.Ask) *dhowv1.AnswerRequest) *world {
	t.Helper()
	w, _ := called(t, answer)
	return w
}

func called(t testing.TB, answer func(a *dhowv1.Ask) *dhowv1.AnswerRequest) (*world, *node) {
	t.Helper()
	w := newWorld(t)
	w.node("n1")
	w.function("fn")
	w.readyInstance("fn", "fn-0-a", "n1")
	n := w.connect(t, "n1", 0)
	w.waitNode(t, "n1", connected)
	n.callee(answer)
	return w, n
}

func (w *world) call(ctx context.Context, c *dhowv1.FunctionCall) (*dhowv1.CallResponse, error) {
	return w.as(w.admin).Functions.Call(ctx, &dhowv1.CallRequest{Call: c})
}

func TestCallReachesAReadyInstance(t *testing.T) {
	asked := make(chan *dhowv1.FunctionCall, 1)
	w := calling(t, func(a *dhowv1.Ask) *dhowv1.AnswerRequest {
		asked <- a.GetCall()
		return result("hello")
	})
	got, err := w.call(t.Context(), &dhowv1.FunctionCall{
		Ref: refTo("fn"), Function: "greet", Args: []string{"3"}, Data: []byte("in"),
		Headers: []*dhowv1.Header{{Name: "A", Values: []string{"b"}}}, Timeout: durationpb.New(5 * time.Second),
	})
	if err != nil {
		t.Fatal(err)
	}
	if string(got.GetResult().GetData()) != "hello" || got.GetInstance() != "fn-0-a" || got.GetNode() != "n1" {
		t.Errorf("got %v", got)
	}
	c := <-asked
	if c.GetRef().GetUid() == "" || c.GetRef().GetKind() != dhowv1.Kind_KIND_INSTANCE || c.GetFunction() != "greet" || string(c.GetData()) != "in" || c.GetHeaders()[0].GetName() != "A" {
		t.Errorf("the node was asked %v", c)
	}
	if d := c.GetTimeout().AsDuration(); d <= 0 || d > 5*time.Second {
		t.Errorf("the node has %v", d)
	}
	// An instance can be called by its name, too.
	if _, err := w.call(t.Context(), &dhowv1.FunctionCall{Ref: &dhowv1.Ref{Kind: dhowv1.Kind_KIND_INSTANCE, Name: "fn-0-a"}}); err != nil {
		t.Error(err)
	}
}

func TestCallsWithMuchDataTakeStreamsOfTheirOwn(t *testing.T) {
	w := newWorld(t)
	w.node("n1")
	w.function("fn")
	w.readyInstance("fn", "fn-0-a", "n1")
	n := w.connect(t, "n1", 0)
	w.waitNode(t, "n1", connected)
	big := bytes.Repeat([]byte("0123456789"), 400_000)
	done := make(chan struct{})
	go func() {
		defer close(done)
		ask := n.asked()
		if c := ask.GetCall(); !c.GetMore() || len(c.GetData()) != 0 || c.GetFunction() != "f" || c.GetDepth() != 2 {
			t.Errorf("the question is %v", proto.Size(ask))
		}
		res, err := n.c.Agents.CallData(t.Context(), &dhowv1.CallDataRequest{Id: ask.GetId()})
		if err != nil || !bytes.Equal(res.GetData(), big) {
			t.Errorf("the data has %d bytes: %v", len(res.GetData()), err)
		}
		other := w.asMachine(pki.Node, "n2")
		if _, err := other.Agents.CallData(t.Context(), &dhowv1.CallDataRequest{Id: ask.GetId()}); spec.CodeOf(err) != spec.CodeNotFound {
			t.Errorf("another node got the data: %v", err)
		}
		out, err := n.c.Agents.Answer(t.Context())
		if err != nil {
			t.Error(err)
			return
		}
		m := result(string(res.GetData()))
		m.Id = ask.GetId()
		if err := out.Send(m); err != nil {
			t.Error(err)
		}
		if _, err := out.CloseAndReceive(); err != nil {
			t.Error(err)
		}
	}()
	got, err := w.call(t.Context(), &dhowv1.FunctionCall{Ref: refTo("fn"), Function: "f", Data: big, Depth: 2})
	<-done
	if err != nil || !bytes.Equal(got.GetResult().GetData(), big) {
		t.Errorf("got %d bytes: %v", len(got.GetResult().GetData()), err)
	}
}

func TestCallErrors(t *testing.T) {
	w := calling(t, func(a *dhowv1.Ask) *dhowv1.AnswerRequest {
		return &dhowv1.AnswerRequest{Error: "there is no function nope: there are add, sub", Code: string(spec.CodeNotFound)}
	})
	web := workload("web", "sha256:"+strings.Repeat("0", 64))
	web.GetWorkload().Meta.Namespace, web.GetWorkload().Spec.Type = "default", dhowv1.WorkloadType_WORKLOAD_TYPE_SERVICE
	w.put(web.GetWorkload())
	w.function("idle")
	w.function("away")
	w.node("gone")
	w.readyInstance("away", "away-0-a", "gone")
	ended := w.readyInstance("fn", "fn-1-a", "n1")
	w.status(ended, "n1", &dhowv1.InstanceStatus{State: dhowv1.InstanceState_INSTANCE_STATE_FAILED, Sequence: 2})
	call := func(c *dhowv1.FunctionCall) error {
		_, err := w.call(t.Context(), c)
		return err
	}
	for name, c := range map[string]struct {
		call *dhowv1.FunctionCall
		code spec.Code
		says string
	}{
		"nothing":     {nil, spec.CodeInvalid, "call.ref"},
		"unknown":     {&dhowv1.FunctionCall{Ref: refTo("nothing")}, spec.CodeNotFound, "no workload"},
		"no function": {&dhowv1.FunctionCall{Ref: refTo("web")}, spec.CodeInvalid, "type service"},
		"not ready":   {&dhowv1.FunctionCall{Ref: refTo("idle")}, spec.CodeUnavailable, "no ready instance"},
		"away":        {&dhowv1.FunctionCall{Ref: refTo("away")}, spec.CodeUnavailable, "gone is not connected"},
		"ended":       {&dhowv1.FunctionCall{Ref: ended}, spec.CodeUnavailable, "does not run"},
		"the node's":  {&dhowv1.FunctionCall{Ref: refTo("fn"), Function: "nope"}, spec.CodeNotFound, "there are add, sub"},
		"data":        {&dhowv1.FunctionCall{Ref: refTo("fn"), Data: make([]byte, spec.MaxCallBytes+1)}, spec.CodeInvalid, "at most 4Mi"},
		"arguments":   {&dhowv1.FunctionCall{Ref: refTo("fn"), Args: []string{strings.Repeat("1", spec.MaxCallText+1)}}, spec.CodeInvalid, "at most 65536"},
		"timeout":     {&dhowv1.FunctionCall{Ref: refTo("fn"), Timeout: durationpb.New(-1)}, spec.CodeInvalid, "timeout"},
		"depth":       {&dhowv1.FunctionCall{Ref: refTo("fn"), Depth: spec.MaxCallDepth + 1}, spec.CodeExhausted, "16"},
		"kind":        {&dhowv1.FunctionCall{Ref: &dhowv1.Ref{Kind: dhowv1.Kind_KIND_NODE, Name: "n1"}}, spec.CodeInvalid, "workload or an instance"},
	} {
		t.Run(name, func(t *testing.T) { wantCode(t, call(c.call), c.code, c.says) })
	}
	viewer := w.as(w.token("viewer", dhowv1.Role_ROLE_VIEWER, time.Hour))
	_, err := viewer.Functions.Call(t.Context(), &dhowv1.CallRequest{Call: &dhowv1.FunctionCall{Ref: refTo("fn")}})
	wantCode(t, err, spec.CodeDenied, "call functions")
}

func TestCallTriesAnotherInstanceWhenNothingWasDone(t *testing.T) {
	var mu sync.Mutex
	var asked []string
	w := calling(t, func(a *dhowv1.Ask) *dhowv1.AnswerRequest {
		mu.Lock()
		defer mu.Unlock()
		asked = append(asked, a.GetCall().GetRef().GetName())
		switch {
		case a.GetCall().GetFunction() == "break":
			return &dhowv1.AnswerRequest{Error: "broke off", Code: string(spec.CodeUnavailable)}
		case a.GetCall().GetFunction() == "busy" || a.GetCall().GetRef().GetName() != "fn-2-a":
			return &dhowv1.AnswerRequest{Error: "the queue is full", Code: string(spec.CodeExhausted), Untouched: true}
		}
		return result("done")
	})
	w.readyInstance("fn", "fn-1-a", "n1")
	w.readyInstance("fn", "fn-2-a", "n1")
	got, err := w.call(t.Context(), &dhowv1.FunctionCall{Ref: refTo("fn")})
	if err != nil || got.GetInstance() != "fn-2-a" {
		t.Fatal(got, err)
	}
	asked = nil
	_, err = w.call(t.Context(), &dhowv1.FunctionCall{Ref: refTo("fn"), Function: "busy"})
	wantCode(t, err, spec.CodeExhausted, "all 3 instances of fn that were asked are busy", "queue is full")
	slices.Sort(asked)
	if got := strings.Join(asked, " "); got != "fn-0-a fn-1-a fn-2-a" {
		t.Errorf("asked %s", got)
	}
	// What may have been done is not done again.
	asked = nil
	_, err = w.call(t.Context(), &dhowv1.FunctionCall{Ref: refTo("fn"), Function: "break"})
	wantCode(t, err, spec.CodeUnavailable, "broke off")
	if len(asked) != 1 {
		t.Errorf("asked %v", asked)
	}
}

func TestCallsAreSpreadOverInstances(t *testing.T) {
	var mu sync.Mutex
	counts := map[string]int{}
	all := make(chan struct{})
	w := calling(t, func(a *dhowv1.Ask) *dhowv1.AnswerRequest {
		mu.Lock()
		counts[a.GetCall().GetRef().GetName()]++
		if counts["fn-0-a"]+counts["fn-1-a"] == 10 {
			close(all)
		}
		mu.Unlock()
		<-all // so that all are under way at once
		return result("")
	})
	w.readyInstance("fn", "fn-1-a", "n1")
	var calls sync.WaitGroup
	for range 10 {
		calls.Go(func() {
			if _, err := w.call(t.Context(), &dhowv1.FunctionCall{Ref: refTo("fn")}); err != nil {
				t.Error(err)
			}
		})
	}
	calls.Wait()
	if counts["fn-0-a"] < 3 || counts["fn-1-a"] < 3 {
		t.Errorf("the calls went to %v", counts)
	}
}

func TestCallsGoToTheLeastBusyInstance(t *testing.T) {
	began, release := make(chan string, 10), make(chan struct{})
	w := calling(t, func(a *dhowv1.Ask) *dhowv1.AnswerRequest {
		if a.GetCall().GetFunction() == "slow" {
			began <- a.GetCall().GetRef().GetName()
			<-release
		}
		return result("")
	})
	w.readyInstance("fn", "fn-1-a", "n1")
	slow := make(chan error, 1)
	go func() {
		_, err := w.call(t.Context(), &dhowv1.FunctionCall{Ref: refTo("fn"), Function: "slow"})
		slow <- err
	}()
	busy := <-began
	for range 4 {
		if got, err := w.call(t.Context(), &dhowv1.FunctionCall{Ref: refTo("fn")}); err != nil || got.GetInstance() == busy {
			t.Errorf("%s, which is busy, got the call: %v", busy, err)
		}
	}
	close(release)
	if err := <-slow; err != nil {
		t.Error(err)
	}
}

func TestCallIsInterruptedWhenTheCallerGivesUp(t *testing.T) {
	began, cancelled := make(chan string, 2), make(chan string, 2)
	w := calling(t, func(a *dhowv1.Ask) *dhowv1.AnswerRequest {
		if a.GetCancel() {
			cancelled <- a.GetId()
		} else {
			began <- a.GetId()
		}
		return nil
	})
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() {
		_, err := w.call(ctx, &dhowv1.FunctionCall{Ref: refTo("fn")})
		ended <- err
	}()
	id := <-began
	cancel()
	if got := <-cancelled; got != id || <-ended == nil {
		t.Errorf("%s was cancelled, not %s", got, id)
	}
	// Its time runs out.
	_, err := w.call(t.Context(), &dhowv1.FunctionCall{Ref: refTo("fn"), Timeout: durationpb.New(20 * time.Millisecond)})
	wantCode(t, err, spec.CodeTimeout, "interrupted")
	if id := <-began; <-cancelled != id {
		t.Error("another one was cancelled")
	}
}

func TestCallEndsWithTheNodesSession(t *testing.T) {
	w := newWorld(t)
	w.node("n1")
	w.function("fn")
	w.readyInstance("fn", "fn-0-a", "n1")
	n := w.connect(t, "n1", 0)
	w.waitNode(t, "n1", connected)
	go func() {
		n.asked()
		n.cancel()
	}()
	_, err := w.call(t.Context(), &dhowv1.FunctionCall{Ref: refTo("fn")})
	wantCode(t, err, spec.CodeUnavailable, "may or may not have been done")
	if spec.Untouched(err) {
		t.Error("it says that nothing was done")
	}
}

// TestCallOfAnOlderNode: one that does not know the question says so in a
// stream, as its dhow answers all questions.
func TestCallOfAnOlderNode(t *testing.T) {
	var n *node
	var w *world
	ready := make(chan struct{})
	w, n = called(t, func(a *dhowv1.Ask) *dhowv1.AnswerRequest {
		<-ready
		out, err := n.c.Agents.Answer(t.Context())
		if err != nil {
			t.Error(err)
			return nil
		}
		for _, m := range []*dhowv1.AnswerRequest{{Id: a.GetId()}, {Error: "this node does not know what is asked: it runs an older dhow"}} {
			if err := out.Send(m); err != nil {
				t.Error(err)
			}
		}
		_, _ = out.CloseAndReceive()
		return nil
	})
	close(ready)
	_, err := w.as(w.admin).Functions.Functions(t.Context(), &dhowv1.FunctionsRequest{Query: &dhowv1.FunctionsQuery{Ref: refTo("fn")}})
	wantCode(t, err, spec.CodeNotFound, "node n1", "older dhow")
}

func TestCallGoesToTheServerThatHoldsTheSession(t *testing.T) {
	w := newWorld(t)
	w.node("far")
	w.function("fn")
	in := w.readyInstance("fn", "fn-0-a", "far")
	w.propose(&dhowv1.Change{Op: &dhowv1.Change_Session{Session: &dhowv1.NodeSessionReport{Node: "far", Session: &dhowv1.NodeSession{Server: "s2", Id: "x", Connected: true}}}})
	got, err := w.call(t.Context(), &dhowv1.FunctionCall{Ref: refTo("fn")})
	if err != nil || string(got.GetResult().GetData()) != "from s2" || got.GetInstance() != "fn-0-a" {
		t.Error(got, err)
	}
	// A server that was asked by another one does not pass it on.
	peer := w.asMachine(pki.Server, "s3")
	_, err = peer.Functions.Call(t.Context(), &dhowv1.CallRequest{Call: &dhowv1.FunctionCall{Ref: in}})
	wantCode(t, err, spec.CodeUnavailable, "not connected to this server")
	if !spec.Untouched(err) {
		t.Error("it does not say that nothing was done")
	}
}

func TestFunctionsOfAWorkload(t *testing.T) {
	w := calling(t, func(a *dhowv1.Ask) *dhowv1.AnswerRequest {
		if a.GetFunctions() == nil {
			return result("")
		}
		return &dhowv1.AnswerRequest{Part: &dhowv1.AnswerRequest_Functions{Functions: &dhowv1.FunctionList{Functions: []*dhowv1.Function{{Name: "add", Params: []string{"i32"}}}}}}
	})
	got, err := w.as(w.admin).Functions.Functions(t.Context(), &dhowv1.FunctionsRequest{Query: &dhowv1.FunctionsQuery{Ref: refTo("fn")}})
	if err != nil || len(got.GetFunctions()) != 1 || got.GetFunctions()[0].GetName() != "add" {
		t.Error(got, err)
	}
}

func TestUsageOfAllNodes(t *testing.T) {
	w := calling(t, func(a *dhowv1.Ask) *dhowv1.AnswerRequest {
		list := &dhowv1.UsageList{}
		for _, r := range a.GetUsage().GetInstances() {
			list.Instances = append(list.Instances, &dhowv1.InstanceUsage{Ref: r, Node: "n1", Tasks: []*dhowv1.TaskUsage{{Name: "main", Memory: 7}}})
		}
		return &dhowv1.AnswerRequest{Part: &dhowv1.AnswerRequest_Usage{Usage: list}}
	})
	w.node("far")
	w.node("gone")
	w.propose(&dhowv1.Change{Op: &dhowv1.Change_Session{Session: &dhowv1.NodeSessionReport{Node: "far", Session: &dhowv1.NodeSession{Server: "s2", Id: "x", Connected: true}}}})
	w.readyInstance("web", "web-0-a", "n1")
	w.readyInstance("web", "web-1-a", "far")
	w.readyInstance("web", "web-2-a", "gone")
	show := func(req *dhowv1.UsageRequest) string {
		got, err := w.as(w.admin).Usage.Usage(t.Context(), req)
		if err != nil {
			t.Fatal(err)
		}
		var out []string
		for _, i := range got.GetInstances() {
			out = append(out, i.GetRef().GetName())
		}
		for _, s := range got.GetSilent() {
			out = append(out, s.GetName()+": "+s.GetMessage())
		}
		return strings.Join(out, ", ")
	}
	if got := show(&dhowv1.UsageRequest{}); got != "at-s2, fn-0-a, web-0-a, gone: it is not connected" {
		t.Errorf("all: %s", got)
	}
	if got := show(&dhowv1.UsageRequest{Namespace: "default", Workload: "fn"}); got != "fn-0-a" {
		t.Errorf("of fn: %s", got)
	}
	if got := show(&dhowv1.UsageRequest{Node: "n1"}); got != "fn-0-a, web-0-a" {
		t.Errorf("of n1: %s", got)
	}
	if got := show(&dhowv1.UsageRequest{Namespace: "default", Instance: "web-0-a"}); got != "web-0-a" {
		t.Errorf("of web-0-a: %s", got)
	}
}
