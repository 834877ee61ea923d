package session

import (
	"context"
	"errors"
	"io"
	"sync"

	dhowv1 "dhow.dev/dhow/proto/dhow/v1"
	"dhow.dev/dhow/proto/spec"
)

// answerer runs the answers of one session.
type answerer struct {
	s   *Session
	ctx context.Context //nolint:containedctx // the session's life, which ends its answers
	wg  sync.WaitGroup

	mu      sync.Mutex
	cancels map[string]context.CancelFunc
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
		if err := a.s.answer(ctx, q); err != nil && ctx.Err() == nil {
			a.s.c.Logger.Warn("a server's question was not answered", "error", err)
		}
	})
}

func (a *answerer) wait() { a.wg.Wait() }

// answer opens a stream for the question and says what there is to say.
func (s *Session) answer(ctx context.Context, q *dhowv1.Ask) error {
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
