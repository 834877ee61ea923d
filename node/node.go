// Package node wires a node: identity, gossip, session, agent, logs, artifact
// cache and runtimes. In the room: the order of start and stop, what the node
// says of itself, and how it joins; nothing about instances.
package node

import (
	"context"
	"errors"
	"hash/fnv"
	"path/filepath"

	"golang.org/x/sync/errgroup"

	"dhow.dev/dhow/internal/client"
	"dhow.dev/dhow/internal/fsx"
	"dhow.dev/dhow/internal/gossip"
	"dhow.dev/dhow/internal/pki"
	"dhow.dev/dhow/internal/version"
	"dhow.dev/dhow/node/agent"
	"dhow.dev/dhow/node/agent/ledger"
	"dhow.dev/dhow/node/cache"
	"dhow.dev/dhow/node/logs"
	"dhow.dev/dhow/node/runtime"
	"dhow.dev/dhow/node/runtime/wasm"
	"dhow.dev/dhow/node/session"
	dhowv1 "dhow.dev/dhow/proto/dhow/v1"
)

// Node is one node of a cluster. Several may live in one process.
type Node struct {
	config  Config
	creds   *pki.Credentials
	known   *known
	address string
	client  *client.Client
	logs    *logs.Store
	agent   *agent.Agent
	// What tasks run with; from Run.
	runtimes []runtime.Runtime
}

// New checks the configuration and makes the data directory.
func New(c Config) (*Node, error) {
	if err := c.fill(); err != nil {
		return nil, err
	}
	c.Logger = c.Logger.With("node", c.Name)
	return &Node{config: c}, nil
}

// Run joins the cluster, or takes up what it was, and works until ctx ends.
// It starts what the node last had, whether a server can be reached or not.
// Wasm instances end with it, and are started again next time.
func (n *Node) Run(ctx context.Context) (err error) {
	c := &n.config
	lock, err := fsx.LockDir(c.Dir)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, lock.Close()) }()
	if err := n.identify(ctx); err != nil {
		return err
	}
	if err := n.dial(); err != nil {
		return err
	}
	defer n.client.Close()
	n.creds.OnChange(n.client.Reconnect)
	info := n.info(n.known.Servers)
	n.logs, err = logs.Open(logs.Options{Dir: filepath.Join(c.Dir, "logs"), MaxTotal: c.LogBytes, Now: c.Now, Logger: c.Logger})
	if err != nil {
		return err
	}
	led, records, err := ledger.Open(filepath.Join(c.Dir, "ledger"), ledger.Options{Node: c.Name, Cluster: n.known.Cluster, Logger: c.Logger})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, led.Close()) }()
	closeRuntimes, err := n.open(ctx)
	if err != nil {
		return err
	}
	// After the agent has stopped listening, so that it takes the end of the
	// process for no task's end.
	defer func() { err = errors.Join(err, closeRuntimes()) }()
	n.agent, err = agent.New(agent.Config{
		Node: c.Name, Address: n.address, Dir: filepath.Join(c.Dir, "instances"), Runtimes: n.runtimes,
		Ledger: led, Records: records, Logs: n.logs, Logger: c.Logger, Now: c.Now,
	})
	if err != nil {
		return err
	}
	return n.work(ctx, info)
}

// work runs all parts until ctx ends or one of them fails.
func (n *Node) work(ctx context.Context, info *dhowv1.NodeInfo) error {
	c := &n.config
	g, ctx := errgroup.WithContext(ctx)
	if !c.NoGossip {
		member, err := gossip.New(gossip.Config{
			Name: "node/" + c.Name, Bind: c.Gossip, Advertise: advertise(n.address, c.Gossip), Key: n.known.GossipKey,
			Join: n.known.Gossip, Dir: filepath.Join(c.Dir, "gossip"), Logger: c.Logger,
			Tags: map[string]string{
				gossip.TagRole: gossip.RoleNode, gossip.TagName: c.Name, gossip.TagZone: c.Zone,
				gossip.TagVersion: version.String(), gossip.TagAddress: n.address,
			},
		})
		if err != nil {
			return err
		}
		g.Go(func() error { return member.Run(ctx) })
	}
	if c.Metrics != "" {
		if err := n.startMetrics(ctx, g); err != nil {
			return err
		}
	}
	s := session.New(session.Config{
		Client: n.client.Agents, Turn: n.client.Next, Agent: sessionAgent{n}, Logs: n.logs, Functions: n.agent,
		Info:    func() *dhowv1.NodeInfo { return info },
		Servers: n.learn, Logger: c.Logger, Jitter: c.Jitter,
	})
	renew := &pki.Renewer{Credentials: n.creds, Sign: n.sign, Logger: c.Logger}
	g.Go(func() error { return n.agent.Run(ctx) })
	g.Go(func() error { return s.Run(ctx) })
	g.Go(func() error { return n.logs.Run(ctx) })
	g.Go(func() error { return renew.Run(ctx) })
	err := g.Wait()
	if ctx.Err() != nil && errors.Is(err, context.Canceled) {
		return nil
	}
	return err
}

// dial makes the client. Nodes begin with different servers.
func (n *Node) dial() error {
	h := fnv.New32a()
	_, _ = h.Write([]byte(n.config.Name)) // never fails
	var err error
	n.client, err = client.New(client.Options{
		Servers: n.known.Servers, First: uint(h.Sum32()), TLS: n.creds.ClientTLS(), Dial: n.config.Dialer.DialContext,
	})
	return err
}

// learn takes the servers' addresses from a session.
func (n *Node) learn(servers []string) {
	n.client.SetServers(servers)
	if err := n.known.learn(servers); err != nil {
		n.config.Logger.Warn("the servers' addresses were not kept", "error", err)
	}
}

// sign has the certificate renewed by any server.
func (n *Node) sign(ctx context.Context, csr []byte) (cert, ca []byte, err error) {
	res, err := n.client.Auth.Renew(ctx, &dhowv1.RenewRequest{Csr: csr})
	return res.GetCertificate(), res.GetCa(), err
}

// open makes what the node can run tasks with.
func (n *Node) open(ctx context.Context) (closeAll func() error, err error) {
	c := &n.config
	n.runtimes = append(n.runtimes, c.Runtimes...)
	if c.NoWasm {
		return func() error { return nil }, nil
	}
	artifacts, err := cache.New(cache.Config{
		Dir: filepath.Join(c.Dir, "artifacts"), MaxBytes: c.ArtifactBytes, Fetch: n.fetch, Logger: c.Logger,
	})
	if err != nil {
		return nil, err
	}
	w, err := wasm.New(ctx, wasm.Config{
		Artifacts: artifacts, Dir: filepath.Join(c.Dir, "code"), Engine: c.Engine, Logger: c.Logger, Now: c.Now,
		Directories: c.Directories, StoreDir: filepath.Join(c.Dir, "kv"), PrivateNetworks: c.PrivateNetworks,
	})
	if err != nil {
		return nil, err
	}
	n.runtimes = append(n.runtimes, w)
	return w.Close, nil
}

// sessionAgent gives the session the agent, which reports through the client.
type sessionAgent struct{ n *Node }

func (a sessionAgent) Connected(ctx context.Context) { a.n.agent.Connected(ctx, a.n.client.Agents) }
func (a sessionAgent) Disconnected()                 { a.n.agent.Disconnected() }
func (a sessionAgent) Assign(ctx context.Context, as *dhowv1.Assignments) error {
	return a.n.agent.Assign(ctx, as)
}

func (a sessionAgent) Generation(ctx context.Context) (uint64, error) {
	return a.n.agent.Generation(ctx)
}
