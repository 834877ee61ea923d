package session

import (
	"context"
	"errors"
	"io"
	"sync"
	"sync/atomic"
	"time"

	"connectrpc.com/connect"
	"google.golang.org/protobuf/types/known/durationpb"

	"dhow.dev/dhow/control/auth"
	dhowv1 "dhow.dev/dhow/proto/dhow/v1"
	"dhow.dev/dhow/proto/spec"
	"dhow.dev/dhow/proto/wire"
)

// maxPending bounds the changes kept for a node that does not read. They are
// one per instance; a node with more gets a full set instead.
const maxPending = 8192

// behindTimeout is how long a server may take to reach the generation that a
// node has from another server.
const behindTimeout = 5 * time.Second

// session is one node's stream.
type session struct {
	node, id string
	info     *dhowv1.NodeInfo
	end      context.CancelCauseFunc
	done     <-chan struct{}
	// recorded: the state has had this session as the node's.
	recorded atomic.Bool
	// wake tells the sender that there is something to do.
	wake chan struct{}

	mu      sync.Mutex
	pending map[string]*pending // by the instance's uid
	full    bool
	// sent are the instances that the node has, by uid, with the generation
	// of their spec: changes of the status are news to nobody but others.
	sent  map[string]uint64
	asks  []*dhowv1.Ask
	pongs int
	beat  bool
	// newest revision that was handed out.
	revision uint64

	// How many questions of one message it has. The hub's lock guards it.
	questions int
}

// pending is the newest of an instance that the node was not yet sent.
type pending struct {
	instance *dhowv1.Instance
	removed  bool
}

// Session implements AgentService.
func (h *Hub) Session(ctx context.Context, stream *connect.BidiStream[dhowv1.SessionRequest, dhowv1.SessionResponse]) error {
	id := h.c.Caller(ctx)
	if err := auth.Authorize(id, auth.VerbSession, 0); err != nil {
		return err
	}
	first, err := stream.Receive()
	if err != nil {
		return ended(id.Node, err)
	}
	wire.Arrived(ctx)
	hello := first.GetHello()
	if err := h.checkHello(ctx, id.Node, hello); err != nil {
		return err
	}
	ctx, end := context.WithCancelCause(ctx)
	defer end(nil)
	s := &session{
		node: id.Node, id: h.c.NewID(), info: hello.GetInfo(), end: end, done: ctx.Done(),
		wake: make(chan struct{}, 1), pending: map[string]*pending{}, sent: map[string]uint64{}, full: true,
	}
	if err := h.register(s); err != nil {
		return err
	}
	defer h.unregister(s)
	beat := h.heartbeat()
	go h.receive(s, stream)
	err = stream.Send(&dhowv1.SessionResponse{Message: &dhowv1.SessionResponse_Welcome{Welcome: &dhowv1.Welcome{
		Heartbeat: durationpb.New(beat), Timeout: durationpb.New(h.timeout(beat)), Servers: h.c.Servers(), Server: h.c.Server,
	}}})
	if err != nil {
		return ended(s.node, err)
	}
	return h.serve(ctx, s, stream, h.timeout(beat))
}

// checkHello waits until the state here is no older than what the node has.
func (h *Hub) checkHello(ctx context.Context, node string, hello *dhowv1.Hello) error {
	if hello == nil {
		return spec.Errorf(spec.CodeInvalid, "the first message of a session must be a hello")
	}
	probe := &dhowv1.Node{Meta: &dhowv1.Meta{Name: node}, Info: hello.GetInfo()}
	if hello.GetInfo() == nil {
		return &spec.Error{Code: spec.CodeInvalid, Path: "hello.info", Message: "is missing"}
	}
	if err := spec.Validate(spec.Wrap(probe)); err != nil {
		return err
	}
	select {
	case <-h.started:
	case <-h.ended:
		return errStopping()
	case <-ctx.Done():
		return ctx.Err()
	}
	wait, cancel := context.WithTimeout(ctx, behindTimeout)
	defer cancel()
	if err := h.c.Store.WaitRevision(wait, hello.GetGeneration()); err != nil {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		return spec.Errorf(spec.CodeUnavailable, "node %s has assignments of generation %d, server %s is at %d: try another server", node, hello.GetGeneration(), h.c.Server, h.c.Store.Revision())
	}
	v := h.c.Store.View()
	defer v.Close()
	_, err := v.Get(&dhowv1.Ref{Kind: dhowv1.Kind_KIND_NODE, Name: node})
	if spec.CodeOf(err) == spec.CodeNotFound {
		// A node that joined a moment ago may not be known here yet. One that
		// is not known anywhere is found out when its session is recorded.
		return nil
	}
	return err
}

// register makes s the node's session here; an older one ends.
func (h *Hub) register(s *session) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	select {
	case <-h.ended:
		return errStopping()
	default:
	}
	if old := h.sessions[s.node]; old != nil {
		old.end(spec.Errorf(spec.CodeConflict, "node %s has opened another session", s.node))
	}
	h.sessions[s.node] = s
	h.recorder.connected(s)
	return nil
}

// unregister records the end at once, unless a newer session has taken over or
// this server stops: then the node is about to be connected elsewhere.
func (h *Hub) unregister(s *session) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.sessions[s.node] != s {
		return
	}
	delete(h.sessions, s.node)
	select {
	case <-h.ended:
	default:
		h.recorder.disconnected(s.node, s.id)
	}
}

// receive reads heartbeats and answers until the stream ends.
func (h *Hub) receive(s *session, stream *connect.BidiStream[dhowv1.SessionRequest, dhowv1.SessionResponse]) {
	for {
		m, err := stream.Receive()
		if err != nil {
			s.end(ended(s.node, err))
			return
		}
		switch m := m.GetMessage().(type) {
		case *dhowv1.SessionRequest_Heartbeat:
			s.mu.Lock()
			s.beat = true
			s.pongs = min(s.pongs+1, 2)
			s.mu.Unlock()
			s.poke()
		case *dhowv1.SessionRequest_Answer:
			// Nobody may wait for it any more: the node cannot know.
			if q := h.questionOf(m.Answer.GetId(), s.node); q != nil {
				q.take(m.Answer)
			}
		case *dhowv1.SessionRequest_Hello:
			s.end(spec.Errorf(spec.CodeInvalid, "node %s sent a second hello in its session", s.node))
			return
		default:
			s.end(spec.Errorf(spec.CodeInvalid, "node %s sent what this server does not know: it runs a newer dhow", s.node))
			return
		}
	}
}

// serve sends until the session ends.
func (h *Hub) serve(ctx context.Context, s *session, stream *connect.BidiStream[dhowv1.SessionRequest, dhowv1.SessionResponse], timeout time.Duration) error {
	silence := time.NewTimer(timeout)
	defer silence.Stop()
	guard := wire.WriteGuard(ctx, h.c.WriteTimeout)
	out := &assigner{hub: h, s: s, revisions: map[revisionKey]bool{}, send: func(m *dhowv1.SessionResponse) error {
		guard.Start()
		defer guard.Stop()
		return stream.Send(m)
	}}
	s.poke()
	for {
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-h.ended:
			return errStopping()
		case <-silence.C:
			return spec.Errorf(spec.CodeTimeout, "node %s was silent for %s", s.node, timeout)
		case <-s.wake:
		}
		beat, err := out.flush()
		if err != nil {
			return ended(s.node, err)
		}
		if beat {
			silence.Reset(timeout)
		}
	}
}

// push keeps a change until the sender takes it.
func (s *session) push(t dhowv1.WatchEventType, i *dhowv1.Instance, rev uint64) {
	uid := i.GetMeta().GetUid()
	removed := t == dhowv1.WatchEventType_WATCH_EVENT_TYPE_DELETE
	s.mu.Lock()
	gen, known := s.sent[uid]
	if s.full || removed && !known && s.pending[uid] == nil || !removed && known && gen == i.GetMeta().GetGeneration() {
		s.mu.Unlock()
		return
	}
	s.pending[uid] = &pending{i, removed}
	s.revision = max(s.revision, rev)
	if len(s.pending) > maxPending {
		s.full = true
		clear(s.pending)
	}
	s.mu.Unlock()
	s.poke()
}

func (s *session) resync() {
	s.mu.Lock()
	s.full = true
	clear(s.pending)
	s.mu.Unlock()
	s.poke()
}

func (s *session) poke() {
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

func errStopping() error {
	return spec.Errorf(spec.CodeUnavailable, "this server is stopping: connect to another one")
}

// ended makes an error of how a node's stream ended.
func ended(node string, err error) error {
	if errors.Is(err, io.EOF) {
		return spec.Errorf(spec.CodeUnavailable, "node %s closed its session", node)
	}
	return err
}
