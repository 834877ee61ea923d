package session_test

import (
	"bytes"
	"context"
	"errors"
	"testing"
	"time"

	dhowv1 "dhow.dev/dhow/proto/dhow/v1"
	"dhow.dev/dhow/proto/spec"
)

// functions echo, fail, or wait until they are told not to.
type functions struct{ began, ended chan struct{} }

func (f functions) Call(ctx context.Context, c *dhowv1.FunctionCall) (*dhowv1.FunctionResult, error) {
	switch c.GetFunction() {
	case "busy":
		return nil, &spec.Error{Code: spec.CodeExhausted, Message: "the queue is full", Untouched: true}
	case "wait":
		f.began <- struct{}{}
		<-ctx.Done()
		f.ended <- struct{}{}
		return nil, ctx.Err()
	}
	return &dhowv1.FunctionResult{Data: c.GetData()}, nil
}

func (functions) Functions(context.Context, *dhowv1.FunctionsQuery) (*dhowv1.FunctionList, error) {
	return &dhowv1.FunctionList{Functions: []*dhowv1.Function{{Name: "echo"}}}, nil
}

func (functions) Usage(context.Context, *dhowv1.UsageQuery) (*dhowv1.UsageList, error) {
	return &dhowv1.UsageList{Instances: []*dhowv1.InstanceUsage{{Node: "n1"}}}, nil
}

func ask(a *dhowv1.Ask) *dhowv1.SessionResponse {
	return &dhowv1.SessionResponse{Message: &dhowv1.SessionResponse_Ask{Ask: a}}
}

func askCall(id string, c *dhowv1.FunctionCall) *dhowv1.SessionResponse {
	return ask(&dhowv1.Ask{Id: id, What: &dhowv1.Ask_Call{Call: c}})
}

// answersTo has the node asked, and reads so many answers from the session.
func answersTo(t *testing.T, s *server, count int, asks ...*dhowv1.SessionResponse) map[string]*dhowv1.AnswerRequest {
	t.Helper()
	in := make(chan *dhowv1.AnswerRequest, 100)
	s.session = func(_ context.Context, st *serverStream) error {
		if err := st.Send(welcome(time.Millisecond, time.Minute)); err != nil {
			return err
		}
		for _, a := range asks {
			if err := st.Send(a); err != nil {
				return err
			}
		}
		for {
			m, err := st.Receive()
			if err != nil {
				return err
			}
			if a := m.GetAnswer(); a != nil {
				in <- a
			}
		}
	}
	r := start(t, serve(t, s), newAgent())
	defer r.stop()
	out := map[string]*dhowv1.AnswerRequest{}
	for range count {
		a := <-in
		out[a.GetId()] = a
	}
	return out
}

func TestSessionCarriesSmallAnswers(t *testing.T) {
	got := answersTo(t, &server{}, 4,
		askCall("1", &dhowv1.FunctionCall{Data: []byte("hi")}), askCall("2", &dhowv1.FunctionCall{Function: "busy"}),
		ask(&dhowv1.Ask{Id: "3", What: &dhowv1.Ask_Functions{Functions: &dhowv1.FunctionsQuery{}}}),
		ask(&dhowv1.Ask{Id: "4", What: &dhowv1.Ask_Usage{Usage: &dhowv1.UsageQuery{}}}))
	if a := got["1"]; string(a.GetCall().GetData()) != "hi" || a.GetError() != "" {
		t.Errorf("answer 1 is %v", a)
	}
	if a := got["2"]; a.GetError() != "the queue is full" || a.GetCode() != string(spec.CodeExhausted) || !a.GetUntouched() || a.GetPart() != nil {
		t.Errorf("answer 2 is %v", a)
	}
	if a := got["3"]; a.GetFunctions().GetFunctions()[0].GetName() != "echo" {
		t.Errorf("answer 3 is %v", a)
	}
	if a := got["4"]; a.GetUsage().GetInstances()[0].GetNode() != "n1" {
		t.Errorf("answer 4 is %v", a)
	}
}

func TestSessionFetchesLargeDataAndAnswersInAStream(t *testing.T) {
	s := &server{data: bytes.Repeat([]byte("x"), 1<<20)}
	s.session = func(ctx context.Context, st *serverStream) error {
		if err := errors.Join(st.Send(welcome(time.Hour, time.Hour)), st.Send(askCall("7", &dhowv1.FunctionCall{More: true}))); err != nil {
			return err
		}
		<-ctx.Done()
		return ctx.Err()
	}
	r := start(t, serve(t, s), newAgent())
	got := <-s.answers
	r.stop()
	if len(got) != 1 || got[0].GetId() != "7" || len(got[0].GetCall().GetData()) != 2+len(s.data) {
		t.Errorf("%d messages", len(got))
	}
}

func TestSessionInterruptsCalls(t *testing.T) {
	over := make(chan struct{})
	s := &server{}
	var r *run
	s.session = func(ctx context.Context, st *serverStream) error {
		if err := errors.Join(
			st.Send(welcome(time.Hour, time.Hour)),
			st.Send(askCall("1", &dhowv1.FunctionCall{Function: "wait"})), st.Send(askCall("2", &dhowv1.FunctionCall{Function: "wait"})),
		); err != nil {
			return err
		}
		<-over
		if err := st.Send(ask(&dhowv1.Ask{Id: "1", Cancel: true})); err != nil {
			return err
		}
		<-ctx.Done()
		return ctx.Err()
	}
	cl := serve(t, s)
	r = start(t, cl, newAgent())
	<-r.f.began
	<-r.f.began
	close(over)
	<-r.f.ended // the one that was cancelled
	r.stop()
	<-r.f.ended // the other, with the session
}
