package session_test

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"connectrpc.com/connect"
	"google.golang.org/protobuf/types/known/durationpb"

	"dhow.dev/dhow/node/session"
	dhowv1 "dhow.dev/dhow/proto/dhow/v1"
	"dhow.dev/dhow/proto/dhow/v1/dhowv1connect"
)

type (
	serverStream = connect.BidiStream[dhowv1.SessionRequest, dhowv1.SessionResponse]
	answerStream = connect.ClientStream[dhowv1.AnswerRequest]
)

// server is a scripted AgentService.
type server struct {
	dhowv1connect.UnimplementedAgentServiceHandler
	session func(ctx context.Context, st *serverStream) error
	answers chan []*dhowv1.AnswerRequest
	data    []byte // of calls
}

func (s *server) Session(ctx context.Context, st *serverStream) error { return s.session(ctx, st) }

func (s *server) Answer(_ context.Context, st *answerStream) (*dhowv1.AnswerResponse, error) {
	var all []*dhowv1.AnswerRequest
	for st.Receive() {
		all = append(all, st.Msg())
	}
	s.answers <- all
	return &dhowv1.AnswerResponse{}, nil
}

func (s *server) CallData(_ context.Context, req *dhowv1.CallDataRequest) (*dhowv1.CallDataResponse, error) {
	return &dhowv1.CallDataResponse{Data: append([]byte(req.GetId()+":"), s.data...)}, nil
}

// serve makes a client of the server, over HTTP/2 and TLS.
func serve(t *testing.T, s *server) dhowv1connect.AgentServiceClient {
	t.Helper()
	s.answers = make(chan []*dhowv1.AnswerRequest, 10)
	mux := http.NewServeMux()
	mux.Handle(dhowv1connect.NewAgentServiceHandler(s))
	ts := httptest.NewUnstartedServer(mux)
	ts.EnableHTTP2 = true
	ts.StartTLS()
	t.Cleanup(ts.Close)
	return dhowv1connect.NewAgentServiceClient(ts.Client(), ts.URL)
}

// agent records what it was told.
type agent struct {
	mu          sync.Mutex
	calls       []string
	assigned    chan *dhowv1.Assignments
	refuse      error
	generation  uint64
	disconnects chan struct{}
}

func newAgent() *agent {
	return &agent{assigned: make(chan *dhowv1.Assignments, 100), disconnects: make(chan struct{}, 100)}
}

func (a *agent) add(call string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.calls = append(a.calls, call)
}

func (a *agent) Connected(context.Context) { a.add("connected") }
func (a *agent) Disconnected() {
	a.add("disconnected")
	a.disconnects <- struct{}{}
}

func (a *agent) Assign(_ context.Context, as *dhowv1.Assignments) error {
	if a.refuse != nil {
		return a.refuse
	}
	a.add("assign")
	a.assigned <- as
	return nil
}
func (a *agent) Generation(context.Context) (uint64, error) { return a.generation, nil }

// endless is a log that is followed for ever.
type logs struct{ began, ended chan struct{} }

func (l logs) Read(ctx context.Context, q *dhowv1.LogQuery, emit func([]*dhowv1.LogLine) error) error {
	if q.GetRef().GetName() == "nobody" {
		return errors.New("no logs of nobody")
	}
	if err := emit([]*dhowv1.LogLine{{Text: []byte("hello")}}); err != nil {
		return err
	}
	if q.GetFollow() {
		close(l.began)
		<-ctx.Done()
		close(l.ended)
		return ctx.Err()
	}
	return nil
}

type run struct {
	agent *agent
	turns chan struct{}
	log   *strings.Builder
	l     logs
	f     functions
	stop  func()
}

func start(t *testing.T, cl dhowv1connect.AgentServiceClient, a *agent) *run {
	t.Helper()
	r := &run{agent: a, turns: make(chan struct{}, 1000), log: &strings.Builder{}, l: logs{make(chan struct{}), make(chan struct{})}, f: functions{make(chan struct{}, 10), make(chan struct{}, 10)}}
	s := session.New(session.Config{
		Client: cl, Turn: func() { r.turns <- struct{}{} }, Agent: a, Logs: r.l, Functions: r.f,
		Info:    func() *dhowv1.NodeInfo { return &dhowv1.NodeInfo{Zone: "z"} },
		Servers: func([]string) { a.add("servers") }, Jitter: func() float64 { return 0 },
		Logger: slog.New(slog.NewTextHandler(r.log, nil)),
	})
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	r.stop = func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Run: %v", err)
		}
	}
	return r
}

func welcome(every, timeout time.Duration) *dhowv1.SessionResponse {
	return &dhowv1.SessionResponse{Message: &dhowv1.SessionResponse_Welcome{Welcome: &dhowv1.Welcome{
		Heartbeat: durationpb.New(every), Timeout: durationpb.New(timeout), Servers: []string{"a:1"}, Server: "s1",
	}}}
}

func assignments(g uint64) *dhowv1.SessionResponse {
	return &dhowv1.SessionResponse{Message: &dhowv1.SessionResponse_Assignments{Assignments: &dhowv1.Assignments{Generation: g, Full: true}}}
}

func askLogs(id, name string, follow bool) *dhowv1.SessionResponse {
	return &dhowv1.SessionResponse{Message: &dhowv1.SessionResponse_Ask{Ask: &dhowv1.Ask{Id: id, What: &dhowv1.Ask_Logs{
		Logs: &dhowv1.LogQuery{Ref: &dhowv1.Ref{Name: name}, Follow: follow},
	}}}}
}

func TestSessionHelloAssignmentsHeartbeatsAndCleanEnd(t *testing.T) {
	ended, beats := make(chan error, 1), make(chan uint64, 100)
	cl := serve(t, &server{session: func(ctx context.Context, st *serverStream) error {
		hello, err := st.Receive()
		if err != nil {
			return err
		}
		if h := hello.GetHello(); h.GetGeneration() != 5 || h.GetInfo().GetZone() != "z" {
			t.Errorf("hello is %v", h)
		}
		if err := errors.Join(st.Send(welcome(time.Millisecond, time.Minute)), st.Send(assignments(7))); err != nil {
			return err
		}
		for {
			m, err := st.Receive()
			if err != nil {
				ended <- err
				return err
			}
			select {
			case beats <- m.GetHeartbeat().GetGeneration():
			default:
			}
		}
	}})
	a := newAgent()
	a.generation = 5
	r := start(t, cl, a)
	if as := <-a.assigned; as.GetGeneration() != 7 {
		t.Errorf("assigned %v", as)
	}
	for g := range beats {
		if g == 7 {
			break
		}
	}
	r.stop()
	if err := <-ended; err == nil {
		t.Error("the server did not see the end")
	}
	if got := strings.Join(a.calls, " "); got != "servers connected assign disconnected" {
		t.Errorf("the agent was told: %s", got)
	}
}

func TestSessionTurnsAwayFromASilentServer(t *testing.T) {
	cl := serve(t, &server{session: func(ctx context.Context, st *serverStream) error {
		if err := st.Send(welcome(time.Hour, 20*time.Millisecond)); err != nil {
			return err
		}
		<-ctx.Done()
		return ctx.Err()
	}})
	r := start(t, cl, newAgent())
	<-r.turns
	<-r.turns
	r.stop()
	if !strings.Contains(r.log.String(), "silent for 20ms") {
		t.Errorf("the log says %s", r.log)
	}
}

func TestSessionEndsWhenAssignmentsAreRefused(t *testing.T) {
	cl := serve(t, &server{session: func(ctx context.Context, st *serverStream) error {
		if err := errors.Join(st.Send(welcome(time.Hour, time.Hour)), st.Send(assignments(1))); err != nil {
			return err
		}
		<-ctx.Done()
		return ctx.Err()
	}})
	a := newAgent()
	a.refuse = errors.New("older than what it has")
	r := start(t, cl, a)
	<-a.disconnects
	<-r.turns
	r.stop()
	if !strings.Contains(r.log.String(), "assignments refused: older than what it has") {
		t.Errorf("the log says %s", r.log)
	}
}

func TestSessionSaysTheSameTroubleOnce(t *testing.T) {
	cl := serve(t, &server{session: func(context.Context, *serverStream) error {
		return connect.NewError(connect.CodeUnavailable, errors.New("no leader"))
	}})
	r := start(t, cl, newAgent())
	for range 5 {
		<-r.turns
	}
	r.stop()
	if n := strings.Count(r.log.String(), "no leader"); n != 1 {
		t.Errorf("it was said %d times: %s", n, r.log)
	}
}

func TestSessionAnswersLogQuestions(t *testing.T) {
	cancelled := make(chan struct{})
	s := &server{}
	s.session = func(ctx context.Context, st *serverStream) error {
		if err := errors.Join(
			st.Send(welcome(time.Hour, time.Hour)), st.Send(askLogs("1", "web", false)), st.Send(askLogs("2", "nobody", false)),
			st.Send(askLogs("3", "web", true)),
			st.Send(&dhowv1.SessionResponse{Message: &dhowv1.SessionResponse_Ask{Ask: &dhowv1.Ask{Id: "4"}}}),
		); err != nil {
			return err
		}
		<-cancelled
		return errors.Join(
			st.Send(&dhowv1.SessionResponse{Message: &dhowv1.SessionResponse_Ask{Ask: &dhowv1.Ask{Id: "3", Cancel: true}}}),
			func() error { <-ctx.Done(); return ctx.Err() }(),
		)
	}
	r := start(t, serve(t, s), newAgent())
	<-r.l.began
	got := map[string][]*dhowv1.AnswerRequest{}
	for range 3 {
		all := <-s.answers
		got[all[0].GetId()] = all
	}
	if a := got["1"]; len(a) != 2 || string(a[1].GetLogs().GetLines()[0].GetText()) != "hello" {
		t.Errorf("answer 1 is %v", a)
	}
	if a := got["2"]; len(a) != 2 || a[1].GetError() != "no logs of nobody" {
		t.Errorf("answer 2 is %v", a)
	}
	if a := got["4"]; len(a) != 2 || !strings.Contains(a[1].GetError(), "older dhow") {
		t.Errorf("answer 4 is %v", a)
	}
	close(cancelled)
	<-r.l.ended // the cancel reached the reader
	r.stop()
}
