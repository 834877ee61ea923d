package agent_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"

	"dhow.dev/dhow/node/agent"
	"dhow.dev/dhow/node/runtime"
	"dhow.dev/dhow/node/runtime/fake"
	dhowv1 "dhow.dev/dhow/proto/dhow/v1"
	"dhow.dev/dhow/proto/spec"
)

// scripted is a fake runtime whose calls end with an error.
type scripted struct {
	*fake.Runtime
	err error
}

func (r scripted) Call(ctx context.Context, id runtime.ID, c runtime.Call) (runtime.CallResult, error) {
	if r.err != nil {
		return runtime.CallResult{}, r.err
	}
	return r.Runtime.Call(ctx, id, c)
}

// withFunctions runs f beside an agent with an instance u0 that has functions.
func withFunctions(t *testing.T, f func(t *testing.T, a *agent.Agent, n *node, s *server)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		n, s := newNode(t), newServer(1)
		a, stop := n.start(t.Context())
		a.Connected(t.Context(), s)
		if err := a.Assign(t.Context(), assignments(1, 1, "function=echo", "function=fail", "function=wait")); err != nil {
			t.Fatal(err)
		}
		<-s.all
		synctest.Wait()
		f(t, a, n, s)
		if err := stop(); err != nil {
			t.Error(err)
		}
	})
}

func u0() *dhowv1.Ref { return &dhowv1.Ref{Name: "web-0", Uid: "u0"} }

func TestAgentCalls(t *testing.T) {
	withFunctions(t, func(t *testing.T, a *agent.Agent, _ *node, _ *server) {
		got, err := a.Call(t.Context(), &dhowv1.FunctionCall{Ref: u0(), Function: "echo", Args: []string{"1"}, Data: []byte("hi")})
		if err != nil || string(got.GetData()) != "hi" || got.GetValues()[0] != "1" || got.GetTook() == nil {
			t.Error(got, err)
		}
		got, err = a.Call(t.Context(), &dhowv1.FunctionCall{Ref: u0(), Function: "fail", Data: []byte("why")})
		if err != nil || got.GetFailure() != runtime.ReasonFunctionFailed || got.GetMessage() != "it failed: why" {
			t.Error(got, err)
		}
		list, err := a.Functions(t.Context(), &dhowv1.FunctionsQuery{Ref: u0()})
		if err != nil || len(list.GetFunctions()) != 3 || list.GetFunctions()[0].GetName() != "echo" {
			t.Error(list, err)
		}
		// The deadline interrupts it, and so does the one who asks.
		_, err = a.Call(t.Context(), &dhowv1.FunctionCall{Ref: u0(), Function: "wait", Timeout: durationpb.New(time.Second)})
		if spec.CodeOf(err) != spec.CodeTimeout {
			t.Error(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		time.AfterFunc(time.Second, cancel)
		if _, err = a.Call(ctx, &dhowv1.FunctionCall{Ref: u0(), Function: "wait"}); !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
	})
}

func TestAgentCallErrors(t *testing.T) {
	withFunctions(t, func(t *testing.T, a *agent.Agent, n *node, _ *server) {
		call := func(ref *dhowv1.Ref, function string) error {
			_, err := a.Call(t.Context(), &dhowv1.FunctionCall{Ref: ref, Function: function})
			return err
		}
		if err := call(u0(), "nope"); spec.CodeOf(err) != spec.CodeNotFound || spec.Untouched(err) {
			t.Error(err)
		}
		if err := call(&dhowv1.Ref{Name: "web-9", Uid: "u9"}, "echo"); spec.CodeOf(err) != spec.CodeUnavailable || !spec.Untouched(err) {
			t.Error(err)
		}
		n.rt.Crash()
		synctest.Wait()
		if err := call(u0(), "echo"); spec.CodeOf(err) != spec.CodeUnavailable || !spec.Untouched(err) {
			t.Errorf("a run that has ended: %v", err)
		}
	})
}

// TestAgentTellsFailuresFromErrors: each reason of a runtime has one meaning
// for the caller.
func TestAgentTellsFailuresFromErrors(t *testing.T) {
	for _, c := range []struct {
		err       error
		code      spec.Code
		untouched bool
		failure   string
	}{
		{&runtime.Error{Reason: runtime.ReasonNotCallable, Err: errors.New("x")}, spec.CodeInvalid, false, ""},
		{&runtime.Error{Reason: runtime.ReasonBadArguments, Err: errors.New("x")}, spec.CodeInvalid, false, ""},
		{&runtime.Error{Reason: runtime.ReasonNoSuchFunction, Err: errors.New("x")}, spec.CodeNotFound, false, ""},
		{&runtime.Error{Reason: runtime.ReasonTooLarge, Err: errors.New("x")}, spec.CodeExhausted, false, ""},
		{&runtime.Error{Reason: runtime.ReasonBusy, Err: errors.New("x")}, spec.CodeExhausted, true, ""},
		{&runtime.Error{Reason: runtime.ReasonNotRunning, Err: errors.New("x")}, spec.CodeUnavailable, true, ""},
		{runtime.ErrUnknown, spec.CodeUnavailable, true, ""},
		{errors.New("x"), spec.CodeInternal, false, ""},
		{&runtime.Error{Reason: "OutOfFuel", Err: errors.New("x")}, "", false, "OutOfFuel"},
	} {
		synctest.Test(t, func(t *testing.T) {
			n, s := newNode(t), newServer(1)
			n.wrap = func(r *fake.Runtime) runtime.Runtime { return scripted{r, c.err} }
			a, stop := n.start(t.Context())
			a.Connected(t.Context(), s)
			if err := a.Assign(t.Context(), assignments(1, 1)); err != nil {
				t.Fatal(err)
			}
			<-s.all
			synctest.Wait()
			got, err := a.Call(t.Context(), &dhowv1.FunctionCall{Ref: u0()})
			if spec.CodeOf(err) != c.code || spec.Untouched(err) != c.untouched || got.GetFailure() != c.failure {
				t.Errorf("%v became %v, %v", c.err, got, err)
			}
			if err := stop(); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestAgentUsage(t *testing.T) {
	withFunctions(t, func(t *testing.T, a *agent.Agent, n *node, _ *server) {
		if _, err := a.Call(t.Context(), &dhowv1.FunctionCall{Ref: u0(), Function: "fail"}); err != nil {
			t.Fatal(err)
		}
		for _, q := range []*dhowv1.UsageQuery{{}, {Instances: []*dhowv1.Ref{u0(), {Uid: "u9"}}}} {
			got, err := a.Usage(t.Context(), q)
			if err != nil || len(got.GetInstances()) != 1 {
				t.Fatal(got, err)
			}
			i := got.GetInstances()[0]
			if i.GetRef().GetName() != "web-0" || i.GetNode() != "n1" || i.GetWorkload() != "web" || i.GetTime() == nil {
				t.Errorf("got %v", i)
			}
			if task := i.GetTasks()[0]; task.GetName() != "main" || task.GetCalls() != 1 || task.GetFailed() != 1 {
				t.Errorf("got %v", task)
			}
		}
		n.rt.Crash()
		synctest.Wait()
		if got, err := a.Usage(t.Context(), &dhowv1.UsageQuery{}); err != nil || len(got.GetInstances()) > 0 {
			t.Error(got, err)
		}
	})
}

// TestAgentMakesEventsOfNotices: what a runtime notices of a run that goes on
// reaches people as an event of the instance.
func TestAgentMakesEventsOfNotices(t *testing.T) {
	withFunctions(t, func(t *testing.T, _ *agent.Agent, n *node, s *server) {
		n.rt.Notify(runtime.ID{Instance: "u0", Task: "main"}, runtime.Notice{Reason: "MemoryLimit", Message: "asked for more than 64Mi"})
		time.Sleep(time.Second)
		synctest.Wait()
		s.mu.Lock()
		defer s.mu.Unlock()
		for _, e := range s.events {
			if e.GetReason() == "MemoryLimit" {
				want := &dhowv1.Ref{Kind: dhowv1.Kind_KIND_INSTANCE, Namespace: "default", Name: "web-0", Uid: "u0"}
				if !proto.Equal(e.GetRegarding(), want) || e.GetType() != dhowv1.EventType_EVENT_TYPE_WARNING || e.GetMessage() != "asked for more than 64Mi" {
					t.Errorf("the event is %v", e)
				}
				return
			}
		}
		t.Errorf("there is no event among %v", s.events)
	})
}
