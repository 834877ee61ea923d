package replica

import (
	"context"
	"net"
	"sync"
	"time"

	hclog "github.com/hashicorp/go-hclog"
	"github.com/hashicorp/raft"
)

// rpcTimeout bounds one exchange between servers; sending a snapshot has more
// the larger it is.
const rpcTimeout = 3 * time.Second

// stream is Raft's way to connect.
type stream struct {
	net.Listener
	addr    addr
	dial    func(ctx context.Context, addr string) (net.Conn, error)
	closing context.Context //nolint:containedctx // Raft's interface has no context; this one ends dials at Close.
}

// Dial connects to a server.
func (s *stream) Dial(address raft.ServerAddress, timeout time.Duration) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(s.closing, timeout)
	defer cancel()
	return s.dial(ctx, string(address))
}

// Addr is the address other servers use.
func (s *stream) Addr() net.Addr { return s.addr }

type addr string

// Network is TCP.
func (addr) Network() string { return "tcp" }

// String is host:port.
func (a addr) String() string { return string(a) }

// transport notes, beside sending, what the followers hold.
type transport struct {
	*raft.NetworkTransport
	clock   func() time.Time
	closing context.Context //nolint:containedctx // See stream.
	cancel  context.CancelFunc
	// consume has what came over the network, and what this server tells
	// itself.
	consume chan raft.RPC

	mu     sync.Mutex
	peers  map[raft.ServerID]peer
	notify chan struct{}
}

type peer struct {
	contact time.Time
	last    uint64
}

func newTransport(c Config, l hclog.Logger) *transport {
	ctx, cancel := context.WithCancel(lifetime())
	t := &transport{
		closing: ctx, consume: make(chan raft.RPC),
		NetworkTransport: raft.NewNetworkTransportWithConfig(&raft.NetworkTransportConfig{
			Stream:                  &stream{Listener: c.Listener, addr: addr(c.Address), dial: c.Dial, closing: ctx},
			MaxPool:                 3,
			Timeout:                 rpcTimeout,
			Logger:                  l,
			MsgpackUseNewTimeFormat: true,
		}),
		clock: c.Clock, cancel: cancel,
		peers: map[raft.ServerID]peer{}, notify: make(chan struct{}),
	}
	go t.forward()
	return t
}

// forward ends with Close.
func (t *transport) forward() {
	for {
		select {
		case rpc := <-t.NetworkTransport.Consumer():
			select {
			case t.consume <- rpc:
			case <-t.closing.Done():
				return
			}
		case <-t.closing.Done():
			return
		}
	}
}

// Consumer is where Raft takes requests from.
func (t *transport) Consumer() <-chan raft.RPC { return t.consume }

// elect makes this server stand for election now, as a leader that hands over
// does. One that is alone need not wait whether there is a leader.
func (t *transport) elect() {
	rpc := raft.RPC{Command: &raft.TimeoutNowRequest{RPCHeader: raft.RPCHeader{ProtocolVersion: raft.ProtocolVersionMax}}, RespChan: make(chan raft.RPCResponse, 1)}
	select {
	case t.consume <- rpc:
	case <-t.closing.Done():
	}
}

// lifetime is the context of connections that no call owns.
func lifetime() context.Context {
	return context.Background() //nolint:forbidigo // Raft dials from goroutines of its own; Close ends them.
}

// AppendEntries sends entries or a heartbeat. The answers tell how far the
// follower is.
func (t *transport) AppendEntries(id raft.ServerID, target raft.ServerAddress, args *raft.AppendEntriesRequest, resp *raft.AppendEntriesResponse) error {
	if err := t.NetworkTransport.AppendEntries(id, target, args, resp); err != nil {
		return err
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	old := t.peers[id]
	t.peers[id] = peer{contact: t.clock(), last: resp.LastLog}
	if old.last != resp.LastLog {
		close(t.notify)
		t.notify = make(chan struct{})
	}
	return nil
}

func (t *transport) progress(id raft.ServerID) (contact time.Time, last uint64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	p := t.peers[id]
	return p.contact, p.last
}

func (t *transport) changed() <-chan struct{} {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.notify
}

// Close ends all connections.
func (t *transport) Close() error {
	t.cancel()
	t.CloseStreams()
	return t.NetworkTransport.Close()
}
