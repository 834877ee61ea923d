// Package gossip finds the cluster's machines and tells which are alive, with
// Serf over an encrypted wire. It is the only user of serf and memberlist, and
// knows nothing of what the machines do: their tags are for others to read.
package gossip

import (
	"context"
	"log/slog"
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
	TagRole    = "role" // server or node; server,node for both
	TagZone    = "zone"
	TagVersion = "version"
	TagAPI     = "api"     // a server's API address
	TagRaft    = "raft"    // a server's Raft address
	TagAddress = "address" // where a node's instances are reached
	TagName    = "name"    // the server's or node's name
)

// Config says who this member is.
type Config struct {
	// Name is unique in the cluster: server/NAME or node/NAME.
	Name string
	// Bind is host:port to listen on, TCP and UDP; port 0 chooses one.
	Bind string
	// Advertise is host:port told to others. Empty: what Bind became.
	Advertise string
	// Key encrypts everything: 16, 24 or 32 bytes.
	Key  []byte
	Tags map[string]string
	// Join lists other members' addresses; may be empty.
	Join []string
	// Dir keeps the snapshot of known members, for a rejoin. Empty: none.
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

// Gossip is this machine's membership.
type Gossip struct{ c Config }

// New binds the sockets; nothing is sent before Run.
func New(c Config) (*Gossip, error) { return &Gossip{c: c}, nil }

// Run joins, and rejoins whenever no other member is alive, until ctx ends.
func (g *Gossip) Run(ctx context.Context) error { <-ctx.Done(); return nil }

// Addr is the address that others are told.
func (g *Gossip) Addr() string { return g.c.Bind }

// Members lists all known members, this one included, by name.
func (g *Gossip) Members() []Member { return nil }

// Subscribe returns a channel that gets a value soon after anything changed
// (several changes may share one), and a function that ends it.
func (g *Gossip) Subscribe() (<-chan struct{}, func()) { return nil, func() {} }

// SetTags replaces this member's tags.
func (g *Gossip) SetTags(tags map[string]string) error { return nil }
