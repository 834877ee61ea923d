package session

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"dhow.dev/dhow/control/store"
	dhowv1 "dhow.dev/dhow/proto/dhow/v1"
	"dhow.dev/dhow/proto/spec"
)

// reporters is how many proposals with reports are under way at most. A second
// one lets reports that arrive while the first is being written go out without
// waiting for it.
const reporters = 2

// Hub holds the sessions of all nodes that are connected to this server. It is
// the AgentService's handler.
type Hub struct {
	c        Config
	recorder *recorder
	reports  *reports

	// started is closed once changes are followed, ended when no more are.
	started, ended chan struct{}
	startOnce      sync.Once

	mu       sync.RWMutex
	sessions map[string]*session // by node
	asks     map[string]*ask     // by id
	// Questions whose answer is one message, by id, and the bytes of data that
	// they hold.
	questions map[string]*question
	held      int
	// settled: nodes had time to come back after this server's start, so a
	// session that the state has and we do not have is over.
	settled bool
}

// New makes a Hub. Run must run for it to work.
func New(c Config) *Hub {
	c = c.withDefaults()
	ended := make(chan struct{})
	return &Hub{
		c: c, recorder: newRecorder(c), reports: newReports(c, ended),
		started: make(chan struct{}), ended: ended,
		sessions: map[string]*session{}, asks: map[string]*ask{}, questions: map[string]*question{},
	}
}

func (c Config) withDefaults() Config {
	if c.NewID == nil {
		c.NewID = newID
	}
	if c.Heartbeat == 0 {
		c.Heartbeat = time.Second
	}
	if c.Silence == 0 {
		c.Silence = 3
	}
	if c.WriteTimeout == 0 {
		c.WriteTimeout = 10 * time.Second
	}
	if c.AnswerTimeout == 0 {
		c.AnswerTimeout = 10 * time.Second
	}
	return c
}

// Run passes changes on to the sessions until the context ends. That ends all
// sessions.
func (h *Hub) Run(ctx context.Context) error {
	defer close(h.ended)
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error { return h.follow(ctx) })
	group.Go(func() error { return h.recorder.run(ctx, h.unknown) })
	group.Go(func() error { return h.sweep(ctx) })
	for range reporters {
		group.Go(func() error { return h.reports.run(ctx) })
	}
	return group.Wait()
}

// Connected is how many nodes have a session here.
func (h *Hub) Connected() int {
	h.mu.RLock()
	defer h.mu.RUnlock()
	return len(h.sessions)
}

// follow hands out the changes of one watch to the sessions.
func (h *Hub) follow(ctx context.Context) error {
	for {
		w, err := h.c.Store.Watch(h.c.Store.Revision(),
			&dhowv1.Selector{Kind: dhowv1.Kind_KIND_INSTANCE}, &dhowv1.Selector{Kind: dhowv1.Kind_KIND_NODE})
		if err != nil {
			return err
		}
		// Sessions that were there before this watch may have missed something.
		h.resync()
		h.startOnce.Do(func() { close(h.started) })
		err = h.deliver(ctx, w)
		w.Close()
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if spec.CodeOf(err) != spec.CodeTooOld {
			return err
		}
	}
}

func (h *Hub) deliver(ctx context.Context, w *store.Watcher) error {
	for {
		events, rev, err := w.Next(ctx)
		if err != nil {
			return err
		}
		h.mu.RLock()
		for _, e := range events {
			switch k := e.GetObject().GetKind().(type) {
			case *dhowv1.Object_Instance:
				if s := h.sessions[k.Instance.GetSpec().GetNode()]; s != nil {
					s.push(e.GetType(), k.Instance, rev)
				}
			case *dhowv1.Object_Node:
				h.nodeChanged(e.GetType(), k.Node)
			}
		}
		h.mu.RUnlock()
	}
}

func (h *Hub) resync() {
	h.mu.RLock()
	defer h.mu.RUnlock()
	for _, s := range h.sessions {
		s.resync()
	}
}

// nodeChanged compares what the state says of a node's session with the truth.
// The hub's lock is held.
func (h *Hub) nodeChanged(t dhowv1.WatchEventType, n *dhowv1.Node) {
	s, stored := h.sessions[n.GetMeta().GetName()], n.GetSession()
	switch {
	case s == nil:
		h.clear(n)
	case t == dhowv1.WatchEventType_WATCH_EVENT_TYPE_DELETE:
		s.end(errRemoved(s.node))
	case stored.GetId() == s.id && stored.GetConnected():
		s.recorded.Store(true)
	case stored.GetId() == s.id:
		// Somebody took it for ended.
		h.recorder.connected(s)
	case stored.GetConnected() && s.recorded.Load():
		s.end(spec.Errorf(spec.CodeConflict, "node %s has opened another session, with server %s", s.node, stored.GetServer()))
	}
}

// clear records that a session which the state has with this server is over.
func (h *Hub) clear(n *dhowv1.Node) {
	stored := n.GetSession()
	if h.settled && stored.GetConnected() && stored.GetServer() == h.c.Server {
		h.recorder.disconnected(n.GetMeta().GetName(), stored.GetId())
	}
}

// sweep gives nodes time to come back after this server's start, and then
// clears the sessions that did not.
func (h *Hub) sweep(ctx context.Context) error {
	grace := time.NewTimer(h.timeout(h.c.Heartbeat))
	defer grace.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-grace.C:
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.settled = true
	v := h.c.Store.View()
	defer v.Close()
	for after := ""; ; {
		objs, next, err := v.List(&dhowv1.Selector{Kind: dhowv1.Kind_KIND_NODE}, after, 500)
		if err != nil {
			return err
		}
		for _, o := range objs {
			if h.sessions[o.GetNode().GetMeta().GetName()] == nil {
				h.clear(o.GetNode())
			}
		}
		if next == "" {
			return nil
		}
		after = next
	}
}

// unknown ends the session of a node that the state does not have.
func (h *Hub) unknown(node string) {
	h.mu.RLock()
	defer h.mu.RUnlock()
	if s := h.sessions[node]; s != nil {
		s.end(errRemoved(node))
	}
}

func errRemoved(node string) error {
	return spec.Errorf(spec.CodeDenied, "node %s was removed from the cluster: join anew with a join token (`dhow token create --role join-node`)", node)
}

// heartbeat is how often nodes shall send one now.
func (h *Hub) heartbeat() time.Duration {
	const perSecond = 1000
	return max(h.c.Heartbeat, time.Duration(h.Connected())*time.Second/perSecond)
}

// timeout is how long a session may be silent.
func (h *Hub) timeout(heartbeat time.Duration) time.Duration {
	return time.Duration(h.c.Silence) * heartbeat
}

func newID() string {
	var b [16]byte
	_, _ = rand.Read(b[:]) // never fails
	return hex.EncodeToString(b[:])
}
