package api_test

import (
	"context"
	"errors"
	"io"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"dhow.dev/dhow/control/api"
	dhowv1 "dhow.dev/dhow/proto/dhow/v1"
	"dhow.dev/dhow/proto/spec"
)

func logsOf(i *dhowv1.Instance) *dhowv1.LogsRequest {
	return &dhowv1.LogsRequest{Query: &dhowv1.LogQuery{Ref: &dhowv1.Ref{Namespace: i.Meta.Namespace, Name: i.Meta.Name}, Follow: true}}
}

// asked reads the session until a question comes.
func (n *node) asked() *dhowv1.Ask {
	n.t.Helper()
	for {
		if a := n.next().GetAsk(); a != nil {
			return a
		}
	}
}

func lines(text ...string) *dhowv1.AnswerRequest {
	m := &dhowv1.AnswerRequest{Part: &dhowv1.AnswerRequest_Logs{Logs: &dhowv1.LogLines{}}}
	for _, s := range text {
		m.GetLogs().Lines = append(m.GetLogs().Lines, &dhowv1.LogLine{Task: "main", Text: []byte(s)})
	}
	return m
}

func TestLogsFromTheNode(t *testing.T) {
	w := newWorld(t)
	w.node("n1")
	in := w.instance("web-0-a", "n1", 1)
	n := w.connect(t, "n1", 0)
	w.waitNode(t, "n1", connected)
	answered := make(chan struct{})
	go func() {
		defer close(answered)
		ask := n.asked()
		out, err := n.c.Agents.Answer(t.Context())
		if err != nil {
			t.Error(err)
			return
		}
		if ask.GetLogs().GetRef().GetUid() != in.Meta.Uid || !ask.GetLogs().Follow {
			t.Errorf("asked for %v", ask)
		}
		first := lines("one")
		first.Id = ask.Id
		for _, m := range []*dhowv1.AnswerRequest{first, lines("two", "three")} {
			if err := out.Send(m); err != nil {
				t.Error(err)
			}
		}
		if _, err := out.CloseAndReceive(); err != nil {
			t.Error(err)
		}
	}()
	got, err := w.as(w.admin).Logs.Logs(t.Context(), logsOf(in))
	if err != nil {
		t.Fatal(err)
	}
	var text []string
	for got.Receive() {
		for _, l := range got.Msg().Lines {
			text = append(text, string(l.Text))
		}
	}
	<-answered
	if got.Err() != nil || strings.Join(text, " ") != "one two three" {
		t.Errorf("%q: %v", text, got.Err())
	}
}

func TestLogsErrors(t *testing.T) {
	w := newWorld(t, hub(time.Hour))
	for _, n := range []string{"n1", "far", "dead"} {
		w.node(n)
	}
	read := func(req *dhowv1.LogsRequest) error {
		in, err := w.as(w.admin).Logs.Logs(t.Context(), req)
		if err != nil {
			return err
		}
		for in.Receive() {
		}
		return in.Err()
	}
	wantCode(t, read(&dhowv1.LogsRequest{}), spec.CodeInvalid, "query")
	wantCode(t, read(&dhowv1.LogsRequest{Query: &dhowv1.LogQuery{Ref: &dhowv1.Ref{Kind: dhowv1.Kind_KIND_WORKLOAD, Name: "web"}}}), spec.CodeInvalid, "instance")
	wantCode(t, read(logsOf(&dhowv1.Instance{Meta: &dhowv1.Meta{Name: "nothing"}})), spec.CodeNotFound, "nothing")
	wantCode(t, read(logsOf(w.instance("web-0-a", "", 1))), spec.CodeNotFound, "no node yet")
	wantCode(t, read(logsOf(w.instance("web-1-a", "dead", 1))), spec.CodeUnavailable, "dead", "not connected")
	// Another server has the node: it is asked.
	w.propose(&dhowv1.Change{Op: &dhowv1.Change_Session{Session: &dhowv1.NodeSessionReport{Node: "far", Session: &dhowv1.NodeSession{Server: "s2", Id: "x", Connected: true}}}})
	far := w.instance("web-2-a", "far", 1)
	var asked atomic.Value
	w.peers.logs = func(server string, q *dhowv1.LogQuery, send func([]*dhowv1.LogLine) error) error {
		asked.Store(server + " " + q.Ref.Uid)
		return nil
	}
	if err := read(logsOf(far)); err != nil || asked.Load() != "s2 "+far.Meta.Uid {
		t.Error(err, asked.Load())
	}
	// A node that does not answer, one that says no, one that goes away.
	n := w.connect(t, "n1", 0)
	w.waitNode(t, "n1", connected)
	own := w.instance("web-3-a", "n1", 1)
	wantCode(t, read(logsOf(own)), spec.CodeUnavailable, "n1", "did not answer")
	ask := n.asked()
	if next := n.asked(); next.Id != ask.Id || !next.Cancel {
		t.Errorf("a question that nobody waits for is taken back: %v", next)
	}
	go func() {
		ask := n.asked()
		out, err := n.c.Agents.Answer(t.Context())
		if err == nil {
			err = out.Send(&dhowv1.AnswerRequest{Id: ask.Id, Error: "the log was removed"})
		}
		if err != nil {
			t.Error(err)
		}
		_, _ = out.CloseAndReceive()
	}()
	wantCode(t, read(logsOf(own)), spec.CodeNotFound, "n1", "the log was removed")
	go func() {
		n.asked()
		n.cancel()
	}()
	wantCode(t, read(logsOf(own)), spec.CodeUnavailable, "n1")
}

func TestAnswersOfOthersAreRefused(t *testing.T) {
	w := newWorld(t)
	w.node("n1")
	w.node("n2")
	in := w.instance("web-0-a", "n1", 1)
	n1, n2 := w.connect(t, "n1", 0), w.connect(t, "n2", 0)
	w.waitNode(t, "n1", connected)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	done := make(chan struct{})
	go func() {
		defer close(done)
		in, err := w.as(w.admin).Logs.Logs(ctx, logsOf(in))
		for err == nil && in.Receive() {
			t.Error("lines from the wrong node:", in.Msg())
		}
	}()
	ask := n1.asked()
	for _, id := range []string{ask.Id, "made-up", ""} {
		out, err := n2.c.Agents.Answer(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		m := lines("lies")
		m.Id = id
		_ = out.Send(m)
		_, err = out.CloseAndReceive()
		wantCode(t, err, spec.CodeNotFound, "nobody waits")
	}
	cancel()
	<-done
}

// A client that stops reading holds the node up, and then ends its stream;
// nothing piles up on the server.
func TestLogReaderThatStops(t *testing.T) {
	w := newWorld(t, func(c *api.Config) { c.WriteTimeout = 200 * time.Millisecond })
	w.node("n1")
	in := w.instance("web-0-a", "n1", 1)
	n := w.connect(t, "n1", 0)
	w.waitNode(t, "n1", connected)
	type outcome struct {
		sent int
		err  error
	}
	ended := make(chan outcome, 1)
	go func() {
		ask := n.asked()
		out, err := n.c.Agents.Answer(t.Context())
		if err != nil {
			t.Error(err)
			return
		}
		m := lines(strings.Repeat("x", 64<<10))
		m.Id = ask.Id
		const most = 64 << 20
		sent := 0
		for ; sent < most; sent += 64 << 10 {
			if err = out.Send(m); err != nil {
				break
			}
		}
		if errors.Is(err, io.EOF) {
			_, err = out.CloseAndReceive()
		}
		ended <- outcome{sent, err}
	}()
	got, err := w.as(w.admin).Logs.Logs(t.Context(), logsOf(in))
	if err != nil {
		t.Fatal(err)
	}
	o := <-ended
	if o.err == nil || o.sent > 32<<20 {
		t.Errorf("the node sent %d MiB to a client that reads none: %v", o.sent>>20, o.err)
	}
	for got.Receive() {
	}
	if got.Err() == nil {
		t.Error("the client was told that this was all")
	}
}
