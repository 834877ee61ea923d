package session

import (
	"context"
	"fmt"
	"time"

	"connectrpc.com/connect"

	"dhow.dev/dhow/control/auth"
	dhowv1 "dhow.dev/dhow/proto/dhow/v1"
	"dhow.dev/dhow/proto/spec"
	"dhow.dev/dhow/proto/wire"
)

// maxAsks is how many questions one node may be asked at a time.
const maxAsks = 64

// ask is a question that waits for its answer. Nothing is buffered between the
// node's stream and the one who asks: whoever does not read holds up the node.
type ask struct {
	node string
	// taken, under the hub's lock: an answer has begun.
	taken bool
	// begun gets a value when the node has opened its stream.
	begun chan struct{}
	lines chan []*dhowv1.LogLine
	// over gets how the answer ended.
	over chan error
	// gone is closed when nobody waits any more.
	gone <-chan struct{}
}

// Logs asks a node for lines and gives them to send, until they end, send
// fails or the context ends.
func (h *Hub) Logs(ctx context.Context, node string, q *dhowv1.LogQuery, send func([]*dhowv1.LogLine) error) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	a := &ask{node: node, begun: make(chan struct{}, 1), lines: make(chan []*dhowv1.LogLine), over: make(chan error, 1), gone: ctx.Done()}
	id := h.c.NewID()
	s, err := h.open(id, a)
	if err != nil {
		return err
	}
	finished := false
	defer func() { h.close(id, s, finished) }()
	s.ask(&dhowv1.Ask{Id: id, What: &dhowv1.Ask_Logs{Logs: q}})
	patience := time.NewTimer(h.c.AnswerTimeout)
	defer patience.Stop()
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-s.done:
			return spec.Errorf(spec.CodeUnavailable, "node %s has lost its connection: try again when it is back", node)
		case <-h.ended:
			return errStopping()
		case <-patience.C:
			return spec.Errorf(spec.CodeUnavailable, "node %s did not answer within %s", node, h.c.AnswerTimeout)
		case <-a.begun:
			patience.Stop()
		case lines := <-a.lines:
			if err := send(lines); err != nil {
				return err
			}
		case err := <-a.over:
			finished = true
			return err
		}
	}
}

func (h *Hub) open(id string, a *ask) (*session, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	s, err := h.sessionOf(a.node)
	if err != nil {
		return nil, err
	}
	n := 0
	for _, other := range h.asks {
		if other.node == a.node {
			n++
		}
	}
	if n >= maxAsks {
		return nil, spec.Errorf(spec.CodeExhausted, "node %s is answering %d questions already: end some of them first", a.node, n)
	}
	h.asks[id] = a
	return s, nil
}

// sessionOf finds the node's session. The hub's lock is held.
func (h *Hub) sessionOf(node string) (*session, error) {
	if s := h.sessions[node]; s != nil {
		return s, nil
	}
	return nil, &spec.Error{
		Code: spec.CodeUnavailable, Untouched: true,
		Message: fmt.Sprintf("node %s is not connected to server %s", node, h.c.Server),
	}
}

// close forgets a question, and tells the node unless it has finished.
func (h *Hub) close(id string, s *session, finished bool) {
	h.mu.Lock()
	delete(h.asks, id)
	h.mu.Unlock()
	if !finished {
		s.ask(&dhowv1.Ask{Id: id, Cancel: true})
	}
}

// ask has the sender pass a question on. A question that was not passed on yet
// and is cancelled is dropped, so what waits is bounded by what is open.
func (s *session) ask(a *dhowv1.Ask) {
	s.mu.Lock()
	if a.GetCancel() {
		for i, waiting := range s.asks {
			if waiting.GetId() == a.GetId() {
				s.asks = append(s.asks[:i:i], s.asks[i+1:]...)
				s.mu.Unlock()
				return
			}
		}
	}
	s.asks = append(s.asks, a)
	s.mu.Unlock()
	s.poke()
}

// answered finds the question of an answer that begins. Each has one.
func (h *Hub) answered(id, node string) (*ask, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	a := h.asks[id]
	if a == nil || a.node != node || a.taken {
		return nil, spec.Errorf(spec.CodeNotFound, "nobody waits for the answer %q", id)
	}
	a.taken = true
	a.begun <- struct{}{}
	return a, nil
}

// Answer implements AgentService.
func (h *Hub) Answer(ctx context.Context, in *connect.ClientStream[dhowv1.AnswerRequest]) (*dhowv1.AnswerResponse, error) {
	caller := h.c.Caller(ctx)
	if err := auth.Authorize(caller, auth.VerbSession, 0); err != nil {
		return nil, err
	}
	if !in.Receive() {
		if err := in.Err(); err != nil {
			return nil, err
		}
		return nil, spec.Errorf(spec.CodeInvalid, "the answer is empty: its first message must have the id of the question")
	}
	// A log that is followed may be silent for long.
	wire.Arrived(ctx)
	if q := h.questionOf(in.Msg().GetId(), caller.Node); q != nil {
		return h.answerQuestion(in, q)
	}
	a, err := h.answered(in.Msg().GetId(), caller.Node)
	if err != nil {
		return nil, err
	}
	// When nobody waits any more, neither does this wait for the node.
	done := make(chan struct{})
	defer close(done)
	go func() {
		select {
		case <-a.gone:
			wire.ReadBy(ctx, time.Unix(1, 0))
		case <-done:
		}
	}()
	for more := true; more; more = in.Receive() {
		m := in.Msg()
		if m.GetError() != "" {
			a.over <- spec.Errorf(spec.CodeNotFound, "node %s: %s", a.node, m.GetError())
			return &dhowv1.AnswerResponse{}, nil
		}
		if len(m.GetLogs().GetLines()) == 0 {
			continue
		}
		select {
		case a.lines <- m.GetLogs().GetLines():
		case <-a.gone:
			return nil, spec.Errorf(spec.CodeNotFound, "nobody waits for the answer any more")
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	if err := in.Err(); err != nil {
		a.over <- spec.Errorf(spec.CodeUnavailable, "the answer of node %s broke off: %w", a.node, err)
		return nil, err
	}
	a.over <- nil
	return &dhowv1.AnswerResponse{}, nil
}
