// Package control puts a server together: identity, state, Raft, gossip, API,
// sessions, artifacts and the leader's loop, in the order in which they start
// and stop. It wires; what the parts do is theirs.
package control

import (
	"context"
	"errors"
	"net"
	"net/http"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"dhow.dev/dhow/control/api"
	"dhow.dev/dhow/control/members"
	"dhow.dev/dhow/control/peer"
	"dhow.dev/dhow/control/registry"
	"dhow.dev/dhow/control/replica"
	"dhow.dev/dhow/control/session"
	"dhow.dev/dhow/control/store"
	"dhow.dev/dhow/internal/fsx"
	"dhow.dev/dhow/internal/gossip"
	"dhow.dev/dhow/internal/pki"
	"dhow.dev/dhow/internal/version"
	"dhow.dev/dhow/proto/spec"
)

// stopTimeout bounds how long a stopping server waits for calls in flight and
// for a successor to its leadership.
const stopTimeout = 10 * time.Second

// Server is one machine of the control plane.
type Server struct {
	config Config
	id     *identity
	lock   *fsx.Lock

	apiListener, raftListener net.Listener

	store   *store.Store
	replica *replica.Replica
	gossip  *gossip.Gossip
	members *members.Members
	peers   *peer.Peers
	hub     *session.Hub
	blobs   *registry.Store
	keeper  *registry.Keeper
	records *artifactRecords
	api     *api.API
	http    *http.Server

	apis atomic.Pointer[addressList]

	ready     chan struct{}
	readyOnce sync.Once
	admin     AdminToken
}

// New opens the data directory, makes or loads the server's identity (which
// may call the cluster to join), opens the state and takes the ports. Nothing
// is served before Run. Errors are *spec.Error and leave nothing open.
func New(ctx context.Context, c Config) (*Server, error) {
	c, err := c.withDefaults()
	if err != nil {
		return nil, err
	}
	s := &Server{config: c, ready: make(chan struct{})}
	if err := s.open(ctx); err != nil {
		s.close()
		return nil, err
	}
	return s, nil
}

func (s *Server) open(ctx context.Context) (err error) {
	c := s.config
	if err := fsx.MkdirAll(c.Dir, 0o700); err != nil {
		return fsx.Explain(err)
	}
	if s.lock, err = fsx.LockDir(c.Dir); err != nil {
		return err
	}
	if s.apiListener, err = listen("the API", c.API); err != nil {
		return err
	}
	if s.raftListener, err = listen("Raft", c.Raft); err != nil {
		return err
	}
	if s.id, err = loadIdentity(ctx, c); err != nil {
		return err
	}
	if s.store, err = store.Open(filepath.Join(c.Dir, "state"), store.Options{Logger: c.Logger, ClusterID: s.id.ca.Cluster()}); err != nil {
		return err
	}
	if err := s.openGossip(); err != nil {
		return err
	}
	if err := s.openReplica(); err != nil {
		return err
	}
	if err := s.openArtifacts(); err != nil {
		return err
	}
	return s.openAPI()
}

func (s *Server) openGossip() (err error) {
	c := s.config
	s.gossip, err = gossip.New(gossip.Config{
		Name: "server/" + c.Name, Bind: c.Gossip, Advertise: c.portAdvertised(c.Gossip), Key: s.id.gossipKey,
		Tags: map[string]string{
			gossip.TagRole: "server", gossip.TagName: c.Name, gossip.TagZone: c.Zone, gossip.TagVersion: version.Version,
			gossip.TagAPI: c.advertised(s.apiListener), gossip.TagRaft: c.advertised(s.raftListener),
		},
		Join: s.id.gossip, Dir: filepath.Join(c.Dir, "gossip"), Logger: c.Logger,
	})
	if err != nil {
		return err
	}
	s.members = members.New(s.gossip, c.Logger)
	return nil
}

func (s *Server) openReplica() (err error) {
	c := s.config
	raftTLS := s.id.creds.RaftTLS()
	s.replica, err = replica.Open(replica.Config{
		Name: c.Name, Address: c.advertised(s.raftListener), Bootstrap: s.id.born, Dir: filepath.Join(c.Dir, "snapshots"),
		Log: s.store.Log(), FSM: s.store,
		Listener: tlsListener{s.raftListener, raftTLS}, Dial: tlsDialer(raftTLS),
		Logger: c.Logger, Clock: c.Clock, HeartbeatTimeout: c.LeaderTimeout,
	})
	if err != nil {
		return err
	}
	s.peers = peer.New(s.peerConfig())
	s.id.creds.OnChange(s.peers.Reconnect)
	s.store.SetProposer(s.peers)
	return nil
}

func (s *Server) peerConfig() peer.Config {
	return peer.Config{
		Server: s.config.Name, Replica: s.replica, Addresses: s.apiAddresses,
		TLS: s.id.creds.ClientTLS(), Caller: api.Caller, Logger: s.config.Logger,
	}
}

func (s *Server) openArtifacts() (err error) {
	c := s.config
	if s.blobs, err = registry.Open(registry.Config{Dir: filepath.Join(c.Dir, "artifacts"), Now: c.Clock, Logger: c.Logger}); err != nil {
		return err
	}
	s.records = newArtifactRecords(s)
	s.keeper = registry.NewKeeper(registry.KeeperConfig{Store: s.blobs, Peers: s.peers, Records: s.records})
	return nil
}

func (s *Server) openAPI() error {
	c := s.config
	s.hub = session.New(session.Config{
		Server: c.Name, Store: s.store, Caller: api.Caller, Servers: s.apiList, Now: c.Clock, Logger: c.Logger,
	})
	var handler http.Handler
	s.api, handler = api.New(api.Config{
		Server: c.Name, Version: version.String(), Store: s.store, Reads: s.peers, CA: s.id.ca,
		Blobs: s.blobs, Copies: s.keeper, Sessions: s.hub, Agents: s.hub,
		Peers: s.peers, PeerService: peer.NewService(s.peerConfig()), Cluster: clusterView{s},
		Now: c.Clock, Logger: c.Logger,
	})
	s.http = api.NewServer(handler, s.id.creds.ServerTLS(), c.Logger)
	return nil
}

// Run serves until ctx ends, then hands its leadership over and stops. A
// failure of any part ends it all, so that a supervisor starts it anew.
func (s *Server) Run(ctx context.Context) error {
	defer s.close()
	group, ctx := errgroup.WithContext(ctx)
	renewer := &pki.Renewer{Credentials: s.id.creds, Logger: s.config.Logger, Sign: s.id.ca.Signer(s.id.creds.Identity(), s.config.Clock, certHosts(s.config)...)}
	for _, run := range []func(context.Context) error{
		s.gossip.Run, s.members.Run, s.hub.Run, s.api.Run, s.records.Run, s.keeper.Run, renewer.Run,
		s.checkNodes, s.lead, s.settle, s.serve, s.watchDisk,
	} {
		group.Go(func() error { return run(ctx) })
	}
	err := group.Wait()
	if errors.Is(err, context.Canceled) {
		return nil
	}
	return err
}

// serve answers on the API port. When ctx ends it hands over leadership first,
// so that calls in flight still find a leader, then ends the calls.
func (s *Server) serve(ctx context.Context) error {
	failed := make(chan error, 1)
	go func() { failed <- s.http.ServeTLS(s.apiListener, "", "") }()
	select {
	case err := <-failed:
		return spec.Errorf(spec.CodeInternal, "serve the API: %w", err)
	case <-ctx.Done():
	}
	stop, cancel := context.WithTimeout(context.WithoutCancel(ctx), stopTimeout)
	defer cancel()
	if err := s.replica.Shutdown(stop); err != nil {
		s.config.Logger.Warn("stopping Raft", "error", err)
	}
	drain, cancelDrain := context.WithTimeout(stop, time.Second)
	defer cancelDrain()
	if err := s.http.Shutdown(drain); err != nil {
		_ = s.http.Close() // streams have no end of their own
	}
	return ctx.Err()
}

// watchDisk ends the server when its disk fails in a way that only a restart
// can heal.
func (s *Server) watchDisk(ctx context.Context) error {
	select {
	case <-s.store.Failed():
		return s.store.Err()
	case <-ctx.Done():
		return ctx.Err()
	}
}

// close lets go of everything, in the opposite order.
func (s *Server) close() {
	if s.peers != nil {
		s.peers.Close()
	}
	if s.replica != nil {
		stop, cancel := context.WithTimeout(context.Background(), stopTimeout) //nolint:forbidigo // the caller's context has ended
		_ = s.replica.Shutdown(stop)
		cancel()
	}
	if s.store != nil {
		if err := s.store.Close(); err != nil {
			s.config.Logger.Error("closing the state", "error", err)
		}
	}
	for _, l := range []net.Listener{s.apiListener, s.raftListener} {
		if l != nil {
			_ = l.Close()
		}
	}
	if s.lock != nil {
		_ = s.lock.Close()
	}
}
