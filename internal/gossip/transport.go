package gossip

import (
	"errors"
	"net"
	"strings"
	"syscall"
	"time"

	"github.com/hashicorp/memberlist"

	"dhow.dev/dhow/proto/spec"
)

// transport is memberlist's own, and notices refused connections: when a probe
// gets no answer, memberlist dials next, and a refusal then is the first sign
// that the process is gone.
type transport struct {
	*memberlist.NetTransport
	refused func(member string)
}

// DialAddressTimeout implements memberlist.NodeAwareTransport.
func (t *transport) DialAddressTimeout(a memberlist.Address, timeout time.Duration) (net.Conn, error) {
	conn, err := t.NetTransport.DialAddressTimeout(a, timeout)
	if errors.Is(err, syscall.ECONNREFUSED) && a.Name != "" {
		t.refused(a.Name)
	}
	return conn, err
}

// bind takes the sockets and sets the transport and the ports in the
// configuration.
func (g *Gossip) bind(m *memberlist.Config) error {
	nc := &memberlist.NetTransportConfig{BindAddrs: []string{m.BindAddr}, BindPort: m.BindPort, Logger: m.Logger}
	// A free TCP port may not be free for UDP; then another is tried.
	tries := 1
	if m.BindPort == 0 {
		tries = 20
	}
	var nt *memberlist.NetTransport
	var err error
	for range tries {
		if nt, err = memberlist.NewNetTransport(nc); err == nil || !strings.Contains(err.Error(), "address already in use") {
			break
		}
	}
	if err != nil {
		return spec.Errorf(spec.CodeUnavailable, "gossip on %s: is the address this machine's, and the port free? %w", g.c.Bind, err)
	}
	m.BindPort = nt.GetAutoBindPort()
	if m.AdvertisePort == 0 {
		m.AdvertisePort = m.BindPort
	}
	m.Transport = &transport{NetTransport: nt, refused: g.Check}
	return nil
}
