// Package gossip finds the cluster's machines and tells which are alive, with
// Serf over an encrypted wire. It is the only user of serf and memberlist, and
// knows nothing of what the machines do: their tags are for others to read.
package gossip

import (
	"errors"
	"log/slog"
	"maps"
	"net"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/hashicorp/serf/serf"

	"dhow.dev/dhow/internal/fsx"
	"dhow.dev/dhow/proto/spec"
)

// State is what gossip thinks of a member.
type State string

// The states.
const (
	Alive  State = "alive"
	Failed State = "failed" // stopped answering
	Left   State = "left"   // said goodbye
)

// Tags that dhow's members carry.
const (
	TagRole    = "role" // RoleServer or RoleNode
	TagName    = "name" // the server's or node's name
	TagZone    = "zone"
	TagVersion = "version"
	TagAPI     = "api"     // a server's API address
	TagRaft    = "raft"    // a server's Raft address
	TagAddress = "address" // where a node's instances are reached
)

// Values of TagRole.
const (
	RoleServer = "server"
	RoleNode   = "node"
)

// Config says who this member is.
type Config struct {
	// Name is unique in the cluster: server/NAME or node/NAME.
	Name string
	// Bind is host:port to listen on, TCP and UDP; port 0 chooses one.
	Bind string
	// Advertise is host:port told to others; port 0 is the bound one. Empty:
	// what Bind became.
	Advertise string
	// Key encrypts everything: 16, 24 or 32 bytes.
	Key  []byte
	Tags map[string]string
	// Join lists other members' addresses; may be empty.
	Join []string
	// Dir keeps the addresses of known members, for a rejoin after a restart.
	// Empty: they are not kept.
	Dir    string
	Logger *slog.Logger
	// Leave says goodbye when Run ends, so that others see Left at once.
	Leave bool
}

// Member is one machine as gossip knows it.
type Member struct {
	Name  string
	Addr  string // host:port of its gossip
	Tags  map[string]string
	State State
}

// Gossip is this machine's membership. Safe for concurrent use.
type Gossip struct {
	c      Config
	serf   *serf.Serf
	events chan serf.Event
	signs  chan string // members whose machine refused a connection

	checks sync.WaitGroup

	mu       sync.Mutex
	subs     map[chan struct{}]bool
	checking map[string]bool
	gone     map[string]string // members that check found gone, and where
}

// New binds the sockets and answers whoever speaks to them. It joins nobody
// before Run, which must be called, for it also lets the sockets go.
func New(c Config) (*Gossip, error) {
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	g := &Gossip{
		c: c, events: make(chan serf.Event, 256), signs: make(chan string, 64),
		subs: map[chan struct{}]bool{}, checking: map[string]bool{}, gone: map[string]string{},
	}
	if c.Dir != "" {
		if err := fsx.MkdirAll(c.Dir, 0o700); err != nil {
			return nil, err
		}
	}
	conf, err := g.serfConfig()
	if err != nil {
		return nil, err
	}
	if err := g.bind(conf.MemberlistConfig); err != nil {
		return nil, err
	}
	if g.serf, err = serf.Create(conf); err != nil {
		err = spec.Errorf(spec.CodeInvalid, "gossip on %s: %w", c.Bind, err)
		return nil, errors.Join(err, conf.MemberlistConfig.Transport.Shutdown())
	}
	return g, nil
}

// Addr is the address that others are told.
func (g *Gossip) Addr() string {
	return addrOf(g.serf.LocalMember())
}

func addrOf(m serf.Member) string {
	return net.JoinHostPort(m.Addr.String(), strconv.Itoa(int(m.Port)))
}

// Members lists all known members, this one included, by name.
func (g *Gossip) Members() []Member {
	ms := g.serf.Members()
	out := make([]Member, 0, len(ms))
	g.mu.Lock()
	for _, m := range ms {
		member := Member{Name: m.Name, Addr: addrOf(m), Tags: maps.Clone(m.Tags), State: stateOf(m.Status)}
		if member.State == Alive && g.gone[m.Name] == member.Addr {
			member.State = Failed
		}
		out = append(out, member)
	}
	g.mu.Unlock()
	slices.SortFunc(out, func(a, b Member) int { return strings.Compare(a.Name, b.Name) })
	return out
}

func stateOf(s serf.MemberStatus) State {
	switch s {
	case serf.StatusAlive:
		return Alive
	case serf.StatusLeft, serf.StatusLeaving:
		return Left
	default:
		return Failed
	}
}

// Subscribe returns a channel that gets a value soon after anything changed
// (several changes may share one), and a function that ends it.
func (g *Gossip) Subscribe() (<-chan struct{}, func()) {
	ch := make(chan struct{}, 1)
	g.mu.Lock()
	defer g.mu.Unlock()
	g.subs[ch] = true
	return ch, func() {
		g.mu.Lock()
		defer g.mu.Unlock()
		delete(g.subs, ch)
	}
}

func (g *Gossip) notify() {
	g.mu.Lock()
	defer g.mu.Unlock()
	for ch := range g.subs {
		select {
		case ch <- struct{}{}:
		default: // it has a value already
		}
	}
}

// SetTags replaces this member's tags and tells the others.
func (g *Gossip) SetTags(tags map[string]string) error {
	if err := g.serf.SetTags(maps.Clone(tags)); err != nil {
		return spec.Errorf(spec.CodeInvalid, "gossip tags: %w", err)
	}
	return nil
}

// Join contacts members at the addresses. It fails when none answered.
func (g *Gossip) Join(addrs ...string) error {
	if n, err := g.serf.Join(addrs, true); n == 0 && err != nil {
		return spec.Errorf(spec.CodeUnavailable, "no gossip member answered at %s (a member of another cluster, with another key, hangs up: that shows as EOF): %w",
			strings.Join(addrs, ", "), err)
	}
	return nil
}
