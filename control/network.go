package control

import (
	"context"
	"crypto/tls"
	"net"
	"time"

	"dhow.dev/dhow/control/members"
	dhowv1 "dhow.dev/dhow/proto/dhow/v1"
	"dhow.dev/dhow/proto/spec"
)

// tlsListener makes TLS connections of a listener's.
type tlsListener struct {
	net.Listener
	config *tls.Config
}

func (l tlsListener) Accept() (net.Conn, error) {
	conn, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return tls.Server(conn, l.config), nil
}

// tlsDialer dials and shakes hands.
func tlsDialer(config *tls.Config) func(context.Context, string) (net.Conn, error) {
	return func(ctx context.Context, addr string) (net.Conn, error) {
		conn, err := (&tls.Dialer{Config: config}).DialContext(ctx, "tcp", addr)
		if err != nil {
			return nil, spec.Errorf(spec.CodeUnavailable, "reach server at %s: %w", addr, err)
		}
		return conn, nil
	}
}

// apiAddresses are the API addresses of all members, by name; empty for those
// that gossip does not know. Who counts a majority must count them, too.
func (s *Server) apiAddresses() map[string]string {
	out := map[string]string{s.config.Name: s.config.advertised(s.apiListener)}
	for _, member := range s.replica.Servers() {
		if _, ok := out[member.Name]; !ok {
			out[member.Name] = ""
		}
	}
	for name, server := range s.members.Facts().Servers {
		if server.API != "" {
			out[name] = server.API
		}
	}
	return out
}

// listFor is how long a list of addresses is told before it is made anew; it
// goes into every answer.
const listFor = 100 * time.Millisecond

type addressList struct {
	addrs []string
	until time.Time
}

// apiList are the API addresses of all members, this one first, then those
// that live. It is empty while gossip does not know them all, as whoever is
// told would forget the others. Not to be changed.
func (s *Server) apiList() []string {
	now := s.config.Clock()
	if have := s.apis.Load(); have != nil && now.Before(have.until) {
		return have.addrs
	}
	list := &addressList{addrs: s.listAPIs(), until: now.Add(listFor)}
	s.apis.Store(list)
	return list.addrs
}

func (s *Server) listAPIs() []string {
	out := []string{s.config.advertised(s.apiListener)}
	var dead []string
	facts := s.members.Facts().Servers
	for _, member := range s.replica.Servers() {
		server, known := facts[member.Name]
		switch {
		case member.Name == s.config.Name:
		case !known || server.API == "":
			return nil
		case server.State == members.Alive:
			out = append(out, server.API)
		default:
			dead = append(dead, server.API)
		}
	}
	return append(out, dead...)
}

// clusterView is what the API tells about the servers.
type clusterView struct{ s *Server }

func (v clusterView) Leader() string {
	name, _ := v.s.replica.Leader()
	return name
}

func (v clusterView) APIs() []string    { return v.s.apiList() }
func (v clusterView) GossipKey() []byte { return v.s.id.gossipKey }

func (v clusterView) Gossip() []string {
	out := []string{v.s.gossip.Addr()}
	for name, server := range v.s.members.Facts().Servers {
		if name != v.s.config.Name && server.Gossip != "" && server.State == members.Alive {
			out = append(out, server.Gossip)
		}
	}
	return out
}

// Servers joins what Raft knows (who is a member) with what gossip knows (who
// lives, and where).
func (v clusterView) Servers() []*dhowv1.Server {
	facts := v.s.members.Facts().Servers
	var out []*dhowv1.Server
	for _, r := range v.s.replica.Servers() {
		f := facts[r.Name]
		out = append(out, &dhowv1.Server{
			Name: r.Name, RaftAddress: r.Address, Leader: r.Leader, Voter: r.Voter,
			ApiAddress: f.API, Version: f.Version, Zone: f.Zone, State: stateName(f.State),
		})
	}
	return out
}

func stateName(l members.Liveness) string {
	switch l {
	case members.Alive:
		return "alive"
	case members.Failed:
		return "failed"
	case members.Left:
		return "left"
	case members.Unknown:
	}
	return "unknown"
}
