package session

import (
	"context"
	"errors"
	"io"
	"sync"

	"google.golang.org/protobuf/proto"

	dhowv1 "dhow.dev/dhow/proto/dhow/v1"
	"dhow.dev/dhow/proto/spec"
	"dhow.dev/dhow/proto/wire"
)

// answerer runs the answers of one session.
type answerer struct {
	s   *Session
	out *sender
	ctx context.Context //nolint:containedctx // the session's life, which ends its answers
	wg  sync.WaitGroup

	mu      sync.Mutex
	cancels map[string]context.CancelFunc
}

// sender has one message after the other go up the session.
type sender struct {
	mu sync.Mutex
	st *stream
}

func (s *sender) send(m *dhowv1.SessionRequest) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.st.Send(m)
}

func (a *answerer) ask(q *dhowv1.Ask) {
	a.mu.Lock()
	defer a.mu.Unlock()
	cancel := a.cancels[q.GetId()]
	if q.GetCancel() {
		if cancel != nil {
			cancel()
		}
		return
	}
	if cancel != nil {
		return // it is being answered
	}
	ctx, cancel := context.WithCancel(a.ctx)
	a.cancels[q.GetId()] = cancel
	a.wg.Go(func() {
		defer func() {
			cancel()
			a.mu.Lock()
			defer a.mu.Unlock()
			delete(a.cancels, q.GetId())
		}()
		if err := a.answer(ctx, q); err != nil && ctx.Err() == nil {
			a.s.c.Logger.Warn("a server's question was not answered", "error", err)
		}
	})
}

func (a *answerer) wait() { a.wg.Wait() }

// answer says what there is to say: in the session, or, when that is much, in
// a stream of its own.
func (a *answerer) answer(ctx context.Context, q *dhowv1.Ask) error {
	m := &dhowv1.AnswerRequest{Id: q.GetId()}
	var went error
	switch what := q.GetWhat().(type) {
	case *dhowv1.Ask_Call:
		var res *dhowv1.FunctionResult
		res, went = a.call(ctx, q.GetId(), what.Call)
		m.Part = &dhowv1.AnswerRequest_Call{Call: res}
	case *dhowv1.Ask_Functions:
		var list *dhowv1.FunctionList
		list, went = a.s.c.Functions.Functions(ctx, what.Functions)
		m.Part = &dhowv1.AnswerRequest_Functions{Functions: list}
	case *dhowv1.Ask_Usage:
		var list *dhowv1.UsageList
		list, went = a.s.c.Functions.Usage(ctx, what.Usage)
		m.Part = &dhowv1.AnswerRequest_Usage{Usage: list}
	default:
		return a.s.stream(ctx, q)
	}
	if ctx.Err() != nil {
		return ctx.Err() // nobody waits any more
	}
	if went != nil {
		m.Part = nil
		m.Error, m.Code, m.Untouched = went.Error(), string(spec.CodeOf(went)), spec.Untouched(went)
	}
	if proto.Size(m) <= wire.SmallAnswer {
		return a.out.send(&dhowv1.SessionRequest{Message: &dhowv1.SessionRequest_Answer{Answer: m}})
	}
	return a.s.large(ctx, m)
}

// call fetches what the question did not bring along, and calls.
func (a *answerer) call(ctx context.Context, id string, c *dhowv1.FunctionCall) (*dhowv1.FunctionResult, error) {
	if c.GetMore() {
		res, err := a.s.c.Client.CallData(ctx, &dhowv1.CallDataRequest{Id: id})
		if err != nil {
			return nil, &spec.Error{Code: spec.CodeUnavailable, Untouched: true, Message: "the node could not fetch the call's data", Err: err}
		}
		c.Data = res.GetData()
	}
	return a.s.c.Functions.Call(ctx, c)
}

// large opens a stream for one message.
func (s *Session) large(ctx context.Context, m *dhowv1.AnswerRequest) error {
	st, err := s.c.Client.Answer(ctx)
	if err != nil {
		return err
	}
	if err := st.Send(m); err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	_, err = st.CloseAndReceive()
	return err
}

// stream answers with many messages.
func (s *Session) stream(ctx context.Context, q *dhowv1.Ask) error {
	st, err := s.c.Client.Answer(ctx)
	if err != nil {
		return err
	}
	// The id is sent even when there is nothing else, so that the server
	// knows that the node has heard it.
	if err := st.Send(&dhowv1.AnswerRequest{Id: q.GetId()}); err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	var went error
	switch what := q.GetWhat().(type) {
	case *dhowv1.Ask_Logs:
		went = s.c.Logs.Read(ctx, what.Logs, func(lines []*dhowv1.LogLine) error {
			return sent(st.Send(&dhowv1.AnswerRequest{Part: &dhowv1.AnswerRequest_Logs{Logs: &dhowv1.LogLines{Lines: lines}}}))
		})
	default:
		went = spec.Errorf(spec.CodeInvalid, "this node does not know what is asked: it runs an older dhow")
	}
	if went != nil && ctx.Err() == nil && !errors.Is(went, errHungUp) {
		if err := st.Send(&dhowv1.AnswerRequest{Error: went.Error()}); err != nil && !errors.Is(err, io.EOF) {
			return err
		}
	}
	_, err = st.CloseAndReceive()
	return err
}

// errHungUp says that the server wants no more; CloseAndReceive has its
// reason.
var errHungUp = errors.New("the server has hung up")

func sent(err error) error {
	if errors.Is(err, io.EOF) {
		return errHungUp
	}
	return err
}
