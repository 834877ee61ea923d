// Package members turns gossip into facts about nodes and servers, and cleans
// up servers that died. It reads gossip and tells; what follows from a fact for
// instances is the planner's business.
package members

import (
	"context"
	"log/slog"
	"maps"
	"sync"
	"sync/atomic"

	"dhow.dev/dhow/internal/gossip"
)

// Liveness is what gossip knows of a machine.
type Liveness uint8

// The values, in no order.
const (
	Unknown Liveness = iota // never seen, or not taking part
	Alive
	Failed
	Left
)

// String is the value for people.
func (l Liveness) String() string {
	return [...]string{"unknown", "alive", "failed", "left"}[l&3]
}

// Facts is a picture of the cluster at one moment. It never changes.
type Facts struct {
	// Nodes by name.
	Nodes map[string]Liveness
	// Servers by name.
	Servers map[string]Server
}

// Server is what a server tells about itself through gossip.
type Server struct {
	Name    string
	State   Liveness
	API     string
	Raft    string
	Gossip  string
	Zone    string
	Version string
}

// Source is where memberships come from; *gossip.Gossip is one.
type Source interface {
	Members() []gossip.Member
	Subscribe() (<-chan struct{}, func())
	Check(member string)
}

// Members keeps the facts. Safe for concurrent use.
type Members struct {
	source Source
	logger *slog.Logger
	facts  atomic.Pointer[Facts]

	mu   sync.Mutex
	subs map[chan struct{}]bool
}

// New makes Members; facts are there at once, changes need Run.
func New(source Source, logger *slog.Logger) *Members {
	m := &Members{source: source, logger: logger, subs: map[chan struct{}]bool{}}
	m.facts.Store(factsOf(source.Members()))
	return m
}

// Run follows the source until the context ends.
func (m *Members) Run(ctx context.Context) error {
	changed, end := m.source.Subscribe()
	defer end()
	for {
		m.refresh()
		select {
		case <-ctx.Done():
			return nil
		case <-changed:
		}
	}
}

func (m *Members) refresh() {
	now := factsOf(m.source.Members())
	old := m.facts.Load()
	if maps.Equal(now.Nodes, old.Nodes) && maps.Equal(now.Servers, old.Servers) {
		return
	}
	m.facts.Store(now)
	m.logger.Debug("membership changed", "nodes", len(now.Nodes), "servers", len(now.Servers))
	m.mu.Lock()
	defer m.mu.Unlock()
	for ch := range m.subs {
		select {
		case ch <- struct{}{}:
		default: // it has a value already
		}
	}
}

// Facts returns the newest facts.
func (m *Members) Facts() *Facts { return m.facts.Load() }

// Subscribe returns a channel that gets a value soon after the facts changed
// (several changes may share one), and a function that ends it.
func (m *Members) Subscribe() (<-chan struct{}, func()) {
	ch := make(chan struct{}, 1)
	m.mu.Lock()
	defer m.mu.Unlock()
	m.subs[ch] = true
	return ch, func() {
		m.mu.Lock()
		defer m.mu.Unlock()
		delete(m.subs, ch)
	}
}

// CheckNode has gossip look at once whether the node's process died, because
// its session ended. It returns at once; the facts change if it did.
func (m *Members) CheckNode(name string) {
	if m.facts.Load().Nodes[name] == Alive {
		m.source.Check(NodeMember(name))
	}
}

// NodeMember is a node's name in gossip.
func NodeMember(node string) string { return gossip.RoleNode + "/" + node }

// ServerMember is a server's name in gossip.
func ServerMember(server string) string { return gossip.RoleServer + "/" + server }

// factsOf is pure. A member counts as what its tags say, if its gossip name,
// which is unique, says the same.
func factsOf(ms []gossip.Member) *Facts {
	f := &Facts{Nodes: map[string]Liveness{}, Servers: map[string]Server{}}
	for _, m := range ms {
		name := m.Tags[gossip.TagName]
		switch {
		case m.Tags[gossip.TagRole] == gossip.RoleNode && m.Name == NodeMember(name):
			f.Nodes[name] = livenessOf(m.State)
		case m.Tags[gossip.TagRole] == gossip.RoleServer && m.Name == ServerMember(name):
			f.Servers[name] = Server{
				Name: name, State: livenessOf(m.State), API: m.Tags[gossip.TagAPI], Raft: m.Tags[gossip.TagRaft],
				Gossip: m.Addr, Zone: m.Tags[gossip.TagZone], Version: m.Tags[gossip.TagVersion],
			}
		}
	}
	return f
}

func livenessOf(s gossip.State) Liveness {
	switch s {
	case gossip.Alive:
		return Alive
	case gossip.Failed:
		return Failed
	case gossip.Left:
		return Left
	}
	return Unknown
}
