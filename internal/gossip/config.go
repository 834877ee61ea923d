package gossip

import (
	"net"
	"strconv"
	"time"

	"github.com/hashicorp/memberlist"
	"github.com/hashicorp/serf/serf"

	"dhow.dev/dhow/proto/spec"
)

// serfConfig tunes serf for quick detection at little idle cost; the figures
// are in docs/rationale.md.
func (g *Gossip) serfConfig() (*serf.Config, error) {
	switch len(g.c.Key) {
	case 16, 24, 32:
	default:
		return nil, spec.Errorf(spec.CodeInvalid, "gossip key: %d bytes, want 16, 24 or 32: take it from a server of the cluster", len(g.c.Key))
	}
	if g.c.Name == "" {
		return nil, spec.Errorf(spec.CodeInvalid, "gossip: the member has no name")
	}
	host, port, err := split("bind", g.c.Bind)
	if err != nil {
		return nil, err
	}
	logger := newLogger(g.c.Logger)

	m := memberlist.DefaultLANConfig()
	m.BindAddr, m.BindPort = host, port
	m.AdvertiseAddr, m.AdvertisePort = "", 0
	if g.c.Advertise != "" {
		if m.AdvertiseAddr, m.AdvertisePort, err = split("advertise", g.c.Advertise); err != nil {
			return nil, err
		}
	}
	m.SecretKey = g.c.Key
	m.Logger = logger
	m.ProbeInterval = probeInterval
	m.ProbeTimeout = probeTimeout
	m.SuspicionMult = suspicionMult
	m.SuspicionMaxTimeoutMult = suspicionMaxMult
	m.GossipInterval = gossipInterval
	m.GossipNodes = gossipNodes
	m.RetransmitMult = retransmitMult
	m.PushPullInterval = pushPullInterval
	m.TCPTimeout = 3 * time.Second
	// Our messages are small; compression costs more than it saves.
	m.EnableCompression = false
	// A machine that was dead may come back under another address.
	m.DeadNodeReclaimTime = time.Millisecond

	s := serf.DefaultConfig()
	s.NodeName = g.c.Name
	s.Tags = g.c.Tags
	s.MemberlistConfig = m
	s.Logger = logger
	s.EventCh = g.events
	s.DisableCoordinates = true
	// Names belong to certificates; gossip must not shut a member down over one.
	s.EnableNameConflictResolution = false
	s.ReconnectInterval = 5 * time.Second
	s.LeavePropagateDelay = 100 * time.Millisecond
	s.BroadcastTimeout = time.Second
	return s, nil
}

func split(what, addr string) (string, int, error) {
	host, p, err := net.SplitHostPort(addr)
	if err != nil {
		return "", 0, spec.Errorf(spec.CodeInvalid, "gossip %s address %q: want HOST:PORT: %w", what, addr, err)
	}
	port, err := strconv.ParseUint(p, 10, 16)
	if err != nil {
		return "", 0, spec.Errorf(spec.CodeInvalid, "gossip %s address %q: port %q: want 0 to 65535", what, addr, p)
	}
	if host == "" {
		host = "0.0.0.0"
	}
	ips, err := net.LookupIP(host)
	if err != nil || len(ips) == 0 {
		return "", 0, spec.Errorf(spec.CodeInvalid, "gossip %s address %q: %q is no address of a machine: %w", what, addr, host, err)
	}
	return ips[0].String(), int(port), nil
}
