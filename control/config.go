package control

import (
	"log/slog"
	"net"
	"strings"
	"time"

	"dhow.dev/dhow/proto/spec"
)

// Config says who this server is, and where it listens and keeps its state.
type Config struct {
	// Name is unique among the servers, and stays.
	Name string
	// Dir holds everything the server knows.
	Dir string
	// API, Raft and Gossip are host:port to listen on.
	API, Raft, Gossip string
	// Advertise is the host that nodes and other servers reach this one at.
	// Empty: the host of API, or this machine's address when that is a wildcard.
	Advertise string
	// Zone is told to everybody; empty for none.
	Zone string
	// Join lists API addresses of a running cluster; empty makes a new one.
	// It counts at the first start only.
	Join []string
	// Token is the join token for that.
	Token string
	// LeaderTimeout is how long the other servers wait for a silent leader
	// before they choose another. Default 300 ms.
	LeaderTimeout time.Duration
	Logger        *slog.Logger
	Clock         func() time.Time
}

// withDefaults fills in what was left out, and checks the rest.
func (c Config) withDefaults() (Config, error) {
	if why := spec.CheckName(c.Name); why != "" {
		return c, spec.Errorf(spec.CodeInvalid, "server name %q: %s", c.Name, why)
	}
	if c.Dir == "" {
		return c, spec.Errorf(spec.CodeInvalid, "no data directory given")
	}
	for what, addr := range map[string]string{"API": c.API, "Raft": c.Raft, "gossip": c.Gossip} {
		if _, _, err := net.SplitHostPort(addr); err != nil {
			return c, spec.Errorf(spec.CodeInvalid, "%s address %q: expected host:port", what, addr)
		}
	}
	if c.Advertise == "" {
		host, _, _ := net.SplitHostPort(c.API)
		c.Advertise = reachable(host)
	}
	if c.Clock == nil {
		c.Clock = time.Now //nolint:forbidigo // the one place where the clock comes from
	}
	return c, nil
}

// reachable is the host others can dial for one that is listened on.
func reachable(host string) string {
	if ip := net.ParseIP(host); host != "" && (ip == nil || !ip.IsUnspecified()) {
		return host
	}
	addrs, _ := net.InterfaceAddrs()
	for _, a := range addrs {
		if n, ok := a.(*net.IPNet); ok && n.IP.IsGlobalUnicast() && n.IP.To4() != nil {
			return n.IP.String()
		}
	}
	return "127.0.0.1"
}

// advertised is the address told to others for a listener.
func (c Config) advertised(l net.Listener) string {
	_, port, _ := net.SplitHostPort(l.Addr().String())
	return net.JoinHostPort(c.Advertise, port)
}

// portAdvertised is the same for an address not listened on yet.
func (c Config) portAdvertised(addr string) string {
	_, port, _ := net.SplitHostPort(addr)
	return net.JoinHostPort(c.Advertise, port)
}

func listen(what, addr string) (net.Listener, error) {
	l, err := net.Listen("tcp", addr)
	if err != nil {
		hint := ""
		if strings.Contains(err.Error(), "address already in use") {
			hint = "; does another dhow run here? Choose another port"
		}
		return nil, spec.Errorf(spec.CodeUnavailable, "listen for %s: %w%s", what, err, hint)
	}
	return l, nil
}
