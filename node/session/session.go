package session

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"sync/atomic"
	"time"

	"connectrpc.com/connect"

	dhowv1 "dhow.dev/dhow/proto/dhow/v1"
	"dhow.dev/dhow/proto/dhow/v1/dhowv1connect"
	"dhow.dev/dhow/proto/spec"
)

const (
	welcomeWithin = 10 * time.Second
	retryFirst    = 100 * time.Millisecond
	retryMost     = 5 * time.Second
	// Taken when a server's welcome does not say.
	heartbeatEvery = time.Second
	silentFor      = 5 * time.Second
)

// Agent takes what comes through the session.
type Agent interface {
	Connected(ctx context.Context)
	Disconnected()
	Assign(ctx context.Context, a *dhowv1.Assignments) error
	Generation(ctx context.Context) (uint64, error)
}

// Logs reads the output of instances.
type Logs interface {
	Read(ctx context.Context, q *dhowv1.LogQuery, emit func([]*dhowv1.LogLine) error) error
}

// Functions calls functions of instances, and knows what they use.
type Functions interface {
	Call(ctx context.Context, c *dhowv1.FunctionCall) (*dhowv1.FunctionResult, error)
	Functions(ctx context.Context, q *dhowv1.FunctionsQuery) (*dhowv1.FunctionList, error)
	Usage(ctx context.Context, q *dhowv1.UsageQuery) (*dhowv1.UsageList, error)
}

// Config is what a Session needs.
type Config struct {
	// Client calls one of the servers; after Turn, another one.
	Client    dhowv1connect.AgentServiceClient
	Turn      func()
	Agent     Agent
	Logs      Logs
	Functions Functions
	Info      func() *dhowv1.NodeInfo
	// Servers learns the servers' addresses.
	Servers func(addresses []string)
	Logger  *slog.Logger
	// Jitter gives numbers from 0 to 1, so that nodes do not all come back at
	// once.
	Jitter func() float64
}

// Session keeps a session open.
type Session struct{ c Config }

// New makes a Session; Run opens it.
func New(c Config) *Session { return &Session{c: c} }

// Run keeps a session open with any server until ctx ends.
func (s *Session) Run(ctx context.Context) error {
	tries, said := 0, ""
	for ctx.Err() == nil {
		welcomed, err := s.once(ctx)
		if ctx.Err() != nil {
			break
		}
		if welcomed {
			tries, said = 0, ""
		}
		// The same trouble is told once, however often it comes.
		if text := err.Error(); text != said {
			said = text
			s.c.Logger.Warn("no session with a server; what runs goes on", "error", err)
		}
		s.c.Turn()
		wait := min(retryFirst<<min(tries, 10), retryMost)
		tries++
		timer := time.NewTimer(time.Duration(s.c.Jitter() * float64(wait)))
		select {
		case <-ctx.Done():
			timer.Stop()
		case <-timer.C:
		}
	}
	return nil
}

type stream = connect.BidiStreamForClientSimple[dhowv1.SessionRequest, dhowv1.SessionResponse]

// once holds one session to its end. The error is never nil.
func (s *Session) once(parent context.Context) (welcomed bool, err error) {
	ctx, cancel := context.WithCancelCause(parent)
	defer cancel(nil)
	silence := welcomeWithin
	watchdog := time.AfterFunc(silence, func() {
		cancel(spec.Errorf(spec.CodeTimeout, "the server was silent for %v", silence))
	})
	defer watchdog.Stop()
	generation, err := s.c.Agent.Generation(ctx)
	if err != nil {
		return false, err
	}
	st, err := s.c.Client.Session(ctx)
	if err != nil {
		return false, err
	}
	// While the request's body is open, HTTP/2 does not look whether the context
	// has ended.
	defer context.AfterFunc(ctx, func() { _ = st.CloseRequest() })() // Receive has the error
	hello := &dhowv1.Hello{Info: s.c.Info(), Generation: generation}
	err = st.Send(&dhowv1.SessionRequest{Message: &dhowv1.SessionRequest_Hello{Hello: hello}})
	if err != nil && !errors.Is(err, io.EOF) { // at EOF Receive has the reason
		return false, because(ctx, err)
	}
	first, err := st.Receive()
	if err != nil {
		return false, because(ctx, err)
	}
	w := first.GetWelcome()
	if w == nil {
		return false, spec.Errorf(spec.CodeInvalid, "the server's first message is %T, not a welcome", first.GetMessage())
	}
	s.c.Logger.Info("session opened", "server", w.GetServer())
	if len(w.GetServers()) > 0 {
		s.c.Servers(w.GetServers())
	}
	var taken atomic.Uint64
	taken.Store(generation)
	beat := orDefault(w.GetHeartbeat().AsDuration(), heartbeatEvery)
	timeout := orDefault(w.GetTimeout().AsDuration(), silentFor)
	silent := time.AfterFunc(timeout, func() {
		cancel(spec.Errorf(spec.CodeTimeout, "the server was silent for %v", timeout))
	})
	defer silent.Stop()
	watchdog.Stop()
	out := &sender{st: st}
	beating := make(chan struct{})
	go func() {
		defer close(beating)
		s.heartbeats(ctx, out, beat, &taken)
	}()
	answers := &answerer{s: s, out: out, ctx: ctx, cancels: map[string]context.CancelFunc{}}
	s.c.Agent.Connected(ctx)
	err = s.receive(ctx, st, &taken, answers, func() { silent.Reset(timeout) })
	cancel(err)
	s.c.Agent.Disconnected()
	<-beating
	answers.wait()
	return true, because(ctx, err)
}

func orDefault(d, def time.Duration) time.Duration {
	if d <= 0 {
		return def
	}
	return d
}

// because prefers the reason for which the session was given up to the error
// that this caused.
func because(ctx context.Context, err error) error {
	if cause := context.Cause(ctx); cause != nil && !errors.Is(cause, context.Canceled) {
		return cause
	}
	if errors.Is(err, io.EOF) {
		return spec.Errorf(spec.CodeUnavailable, "the server ended the session")
	}
	return err
}

func (s *Session) heartbeats(ctx context.Context, out *sender, every time.Duration, taken *atomic.Uint64) {
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			beat := &dhowv1.Heartbeat{Generation: taken.Load()}
			if out.send(&dhowv1.SessionRequest{Message: &dhowv1.SessionRequest_Heartbeat{Heartbeat: beat}}) != nil {
				return // Receive tells why
			}
		}
	}
}

func (s *Session) receive(ctx context.Context, st *stream, taken *atomic.Uint64, answers *answerer, alive func()) error {
	for {
		m, err := st.Receive()
		if err != nil {
			return err
		}
		alive()
		switch m := m.GetMessage().(type) {
		case *dhowv1.SessionResponse_Assignments:
			if err := s.c.Agent.Assign(ctx, m.Assignments); err != nil {
				return fmt.Errorf("assignments refused: %w", err)
			}
			if !m.Assignments.GetMore() {
				taken.Store(m.Assignments.GetGeneration())
			}
		case *dhowv1.SessionResponse_Ask:
			answers.ask(m.Ask) //nolint:contextcheck // it has the session's
		case *dhowv1.SessionResponse_Pong:
			if servers := m.Pong.GetServers(); len(servers) > 0 {
				s.c.Servers(servers)
			}
		case *dhowv1.SessionResponse_Welcome:
		}
	}
}
