package session

import (
	"context"
	"errors"
	"time"

	"connectrpc.com/connect"
	"google.golang.org/protobuf/types/known/durationpb"

	"dhow.dev/dhow/control/auth"
	dhowv1 "dhow.dev/dhow/proto/dhow/v1"
	"dhow.dev/dhow/proto/spec"
	"dhow.dev/dhow/proto/wire"
)

const (
	// maxQuestions is how many calls one node may have at a time through this
	// server.
	maxQuestions = 4096
	// maxHeld bounds the data of all calls that are under way here.
	maxHeld = 256 << 20
)

// question is one that is answered with one message: a call, or what an
// instance uses. Small data and small answers ride the session, which takes no
// stream of its own; others must not hold up its heartbeats.
type question struct {
	node   string
	data   []byte // that the node fetches with CallData
	size   int
	answer chan *dhowv1.AnswerRequest
}

// take keeps the first answer.
func (q *question) take(m *dhowv1.AnswerRequest) {
	select {
	case q.answer <- m:
	default:
	}
}

// Call has a node run a function. An error that is Untouched says that it did
// not begin. When ctx ends the node is told to interrupt it.
func (h *Hub) Call(ctx context.Context, node string, c *dhowv1.FunctionCall) (*dhowv1.FunctionResult, error) {
	q := &question{node: node, size: len(c.GetData())}
	if len(c.GetData()) > wire.SmallAnswer {
		q.data = c.GetData()
		c = &dhowv1.FunctionCall{
			Ref: c.GetRef(), Function: c.GetFunction(), Args: c.GetArgs(), Headers: c.GetHeaders(), Timeout: c.GetTimeout(), Depth: c.GetDepth(), More: true,
		}
	}
	if until, ok := ctx.Deadline(); ok && c.GetTimeout() == nil {
		c.Timeout = durationpb.New(max(time.Until(until), time.Millisecond))
	}
	m, err := h.question(ctx, q, &dhowv1.Ask{What: &dhowv1.Ask_Call{Call: c}})
	if err != nil {
		return nil, err
	}
	if m.GetCall() == nil {
		return nil, strange(node, m)
	}
	return m.GetCall(), nil
}

// Usage asks a node what its instances use.
func (h *Hub) Usage(ctx context.Context, node string, u *dhowv1.UsageQuery) (*dhowv1.UsageList, error) {
	m, err := h.soon(ctx, node, &dhowv1.Ask{What: &dhowv1.Ask_Usage{Usage: u}})
	if err != nil {
		return nil, err
	}
	if m.GetUsage() == nil {
		return nil, strange(node, m)
	}
	return m.GetUsage(), nil
}

// Functions asks a node what can be called of an instance.
func (h *Hub) Functions(ctx context.Context, node string, f *dhowv1.FunctionsQuery) (*dhowv1.FunctionList, error) {
	m, err := h.soon(ctx, node, &dhowv1.Ask{What: &dhowv1.Ask_Functions{Functions: f}})
	if err != nil {
		return nil, err
	}
	if m.GetFunctions() == nil {
		return nil, strange(node, m)
	}
	return m.GetFunctions(), nil
}

func strange(node string, m *dhowv1.AnswerRequest) error {
	return spec.Errorf(spec.CodeInternal, "node %s answered something else (%T)", node, m.GetPart())
}

// soon puts a question that takes no time to answer.
func (h *Hub) soon(ctx context.Context, node string, a *dhowv1.Ask) (*dhowv1.AnswerRequest, error) {
	err := spec.Errorf(spec.CodeUnavailable, "node %s did not answer within %s", node, h.c.AnswerTimeout)
	within, cancel := context.WithTimeoutCause(ctx, h.c.AnswerTimeout, err)
	defer cancel()
	m, got := h.question(within, &question{node: node}, a)
	if got != nil && ctx.Err() == nil && within.Err() != nil {
		return nil, err
	}
	return m, got
}

// question puts a question and waits for the answer.
func (h *Hub) question(ctx context.Context, q *question, a *dhowv1.Ask) (*dhowv1.AnswerRequest, error) {
	q.answer = make(chan *dhowv1.AnswerRequest, 1)
	a.Id = h.c.NewID()
	s, err := h.openQuestion(a.GetId(), q)
	if err != nil {
		return nil, err
	}
	defer h.closeQuestion(a.GetId(), q, s)
	s.ask(a)
	select {
	case m := <-q.answer:
		return m, answerError(q.node, m)
	case <-ctx.Done():
		s.ask(&dhowv1.Ask{Id: a.GetId(), Cancel: true})
		return nil, ctx.Err()
	case <-s.done:
		return nil, spec.Errorf(spec.CodeUnavailable, "node %s has lost its connection before it answered; what was asked may or may not have been done", q.node)
	case <-h.ended:
		return nil, spec.Errorf(spec.CodeUnavailable, "this server is stopping; what was asked of node %s may or may not have been done", q.node)
	}
}

// answerError is what the node says went wrong, if anything.
func answerError(node string, m *dhowv1.AnswerRequest) error {
	if m.GetError() == "" {
		return nil
	}
	e := &spec.Error{Code: spec.Code(m.GetCode()), Untouched: m.GetUntouched(), Err: errors.New(m.GetError())}
	if e.Code == "" {
		e.Code, e.Err = spec.CodeNotFound, spec.Errorf(spec.CodeNotFound, "node %s: %s", node, m.GetError())
	}
	return e
}

func (h *Hub) openQuestion(id string, q *question) (*session, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	s, err := h.sessionOf(q.node)
	if err != nil {
		return nil, err
	}
	if s.questions >= maxQuestions {
		return nil, &spec.Error{Code: spec.CodeExhausted, Untouched: true, Message: "node " + q.node + " has too many calls under way: try again"}
	}
	if q.size > 0 && h.held+q.size > maxHeld {
		return nil, &spec.Error{Code: spec.CodeExhausted, Message: "server " + h.c.Server + " holds too much data of calls that are under way: try again"}
	}
	s.questions++
	h.held += q.size
	h.questions[id] = q
	return s, nil
}

func (h *Hub) closeQuestion(id string, q *question, s *session) {
	h.mu.Lock()
	defer h.mu.Unlock()
	delete(h.questions, id)
	s.questions--
	h.held -= q.size
}

// questionOf finds a question that was put to the node; nil when nobody waits
// for its answer any more.
func (h *Hub) questionOf(id, node string) *question {
	h.mu.RLock()
	defer h.mu.RUnlock()
	if q := h.questions[id]; q != nil && q.node == node {
		return q
	}
	return nil
}

// answerQuestion reads a large answer, or one of an older dhow: the id first.
func (h *Hub) answerQuestion(in *connect.ClientStream[dhowv1.AnswerRequest], q *question) (*dhowv1.AnswerResponse, error) {
	for more := true; more; more = in.Receive() {
		if m := in.Msg(); m.GetError() != "" || m.GetPart() != nil {
			q.take(m)
			return &dhowv1.AnswerResponse{}, nil
		}
	}
	err := in.Err()
	if err == nil {
		err = spec.Errorf(spec.CodeInvalid, "the answer of node %s is empty", q.node)
	}
	q.take(&dhowv1.AnswerRequest{Error: "the answer of node " + q.node + " broke off", Code: string(spec.CodeUnavailable)})
	return nil, err
}

// CallData implements AgentService.
func (h *Hub) CallData(ctx context.Context, req *dhowv1.CallDataRequest) (*dhowv1.CallDataResponse, error) {
	caller := h.c.Caller(ctx)
	if err := auth.Authorize(caller, auth.VerbSession, 0); err != nil {
		return nil, err
	}
	q := h.questionOf(req.GetId(), caller.Node)
	if q == nil {
		return nil, spec.Errorf(spec.CodeNotFound, "nobody waits for the answer %q", req.GetId())
	}
	return &dhowv1.CallDataResponse{Data: q.data}, nil
}
