package node

import (
	"log/slog"
	"math/rand/v2"
	"net"
	"time"

	"dhow.dev/dhow/internal/fsx"
	"dhow.dev/dhow/node/runtime"
	dhowv1 "dhow.dev/dhow/proto/dhow/v1"
	"dhow.dev/dhow/proto/spec"
	"dhow.dev/dhow/wasmrt"
)

// Config of a Node; what is zero has the default.
type Config struct {
	// Name is the node's in the cluster.
	Name string
	// Dir is where everything is kept.
	Dir string
	// Join and Token are needed the first time only: servers' API addresses
	// and a join token.
	Join  []string
	Token string
	// Address is where the ports of instances are reached. Default: this
	// machine's address towards the servers.
	Address string
	// Gossip is host:port to listen on. Default ":7402".
	Gossip string
	// NoGossip: for nodes that cannot be reached.
	NoGossip bool
	Zone     string
	Labels   map[string]string
	// Capacity is what the node says it has; what is 0 in it is what the
	// machine has, within the limits of the process's cgroup.
	Capacity *dhowv1.ResourceList
	// Reserved is kept from instances.
	Reserved *dhowv1.ResourceList
	// ArtifactBytes bounds the cache of artifacts. Default: the cache's own.
	ArtifactBytes int64
	// LogBytes bounds all logs on the node. Default: the log store's own.
	LogBytes int64
	// Directories that wasm modules may mount, by name. Default none.
	Directories map[string]Directory
	// PrivateNetworks, such as "10.0.0.0/8", are those that hosts on a module's
	// allow-list may be in by their names. Default none.
	PrivateNetworks []string
	// Metrics is host:port to answer GET /metrics on, to anyone who reaches it.
	// Empty: nowhere.
	Metrics string
	// Runtimes are used beside wasm.
	Runtimes []runtime.Runtime
	// NoWasm leaves the wasm runtime out.
	NoWasm bool
	// Engine is shared by several nodes of one process; made with HostModules.
	Engine *wasmrt.Engine
	Logger *slog.Logger
	// Now is the clock, Jitter a source of numbers from 0 to 1.
	Now    func() time.Time
	Jitter func() float64
	// Dialer is used for all calls to servers.
	Dialer *net.Dialer
}

func (c *Config) fill() error {
	if why := spec.CheckName(c.Name); why != "" {
		return &spec.Error{Code: spec.CodeInvalid, Path: "name", Message: why}
	}
	if c.Dir == "" {
		return spec.Errorf(spec.CodeInvalid, "a node needs a data directory")
	}
	for name, d := range c.Directories {
		if err := checkDirectory(name, d); err != nil {
			return err
		}
	}
	if c.Gossip == "" {
		c.Gossip = ":7402"
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	if c.Now == nil {
		c.Now = time.Now //nolint:forbidigo // the default; tests give theirs
	}
	if c.Jitter == nil {
		c.Jitter = rand.Float64
	}
	if c.Dialer == nil {
		c.Dialer = &net.Dialer{Timeout: 3 * time.Second, KeepAlive: 15 * time.Second}
	}
	return fsx.MkdirAll(c.Dir, 0o700)
}
