// Package agentcmd is `dhow agent`: its flags and how they become a node. It
// is shared by dhow and by the smaller dhow-agent, so it imports nothing of
// the control plane.
package agentcmd

import (
	"context"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/pflag"

	"dhow.dev/dhow/cmd/internal/settings"
	"dhow.dev/dhow/node"
	dhowv1 "dhow.dev/dhow/proto/dhow/v1"
	"dhow.dev/dhow/proto/spec"
)

// Flags are the settings of an agent.
type Flags struct {
	node.Config
	set *pflag.FlagSet

	configFile, logLevel     string
	labels                   map[string]string
	cpu, memory              string
	reservedCPU, reservedMem string
	logBytes, artifactBytes  string
	reach                    Reach
}

// Add makes a command's flags those of an agent.
func Add(fs *pflag.FlagSet) *Flags {
	f := &Flags{set: fs}
	fs.StringVar(&f.configFile, "config", "", "file of settings, named as these flags")
	fs.StringVar(&f.Name, "name", hostname(), "this node's name in the cluster")
	fs.StringVar(&f.Dir, "data-dir", filepath.Join(dataHome(), "agent"), "where everything is kept")
	fs.StringArrayVar(&f.Join, "join", nil, "API address of a server, HOST:7400 (repeatable); needed the first time")
	fs.StringVar(&f.Token, "token", "", "join token; needed the first time")
	fs.StringVar(&f.Address, "address", "", "where instances' ports are reached (default: this machine's address towards the servers)")
	fs.StringVar(&f.Gossip, "gossip", ":7402", "host:port for gossip, TCP and UDP (encrypted)")
	fs.BoolVar(&f.NoGossip, "no-gossip", false, "take no part in gossip: for nodes that cannot be reached")
	fs.StringVar(&f.Zone, "zone", "", "where this node stands")
	fs.StringToStringVar(&f.labels, "label", nil, "label of this node, KEY=VALUE (repeatable)")
	fs.StringVar(&f.cpu, "cpu", "", "cores this node says it has, as 2 or 500m (default: the machine's)")
	fs.StringVar(&f.memory, "memory", "", "memory this node says it has, as 512Mi (default: the machine's)")
	fs.StringVar(&f.reservedCPU, "reserved-cpu", "", "cores kept from instances")
	fs.StringVar(&f.reservedMem, "reserved-memory", "", "memory kept from instances")
	fs.StringVar(&f.artifactBytes, "artifact-cache", "", "disk space for artifacts (default 4Gi)")
	fs.StringVar(&f.logBytes, "log-space", "", "disk space for the logs of all instances (default 1Gi)")
	f.reach.Add(fs)
	fs.StringVar(&f.Metrics, "metrics", "", "host:port to answer GET /metrics on, to anyone who reaches it (default: nowhere)")
	fs.StringVar(&f.logLevel, "log-level", "info", "debug, info, warn or error")
	return f
}

// Run runs the agent until ctx ends. Its log goes to stderr.
func (f *Flags) Run(ctx context.Context, stderr io.Writer) error {
	c, err := f.config(os.LookupEnv, stderr)
	if err != nil {
		return err
	}
	n, err := node.New(c)
	if err != nil {
		return err
	}
	return n.Run(ctx)
}

// config is what flags, environment and file come to.
func (f *Flags) config(getenv func(string) (string, bool), stderr io.Writer) (node.Config, error) {
	c := &f.Config
	if err := settings.Load(f.set, f.configFile, getenv); err != nil {
		return node.Config{}, err
	}
	var level slog.Level
	if err := level.UnmarshalText([]byte(f.logLevel)); err != nil {
		return node.Config{}, spec.Errorf(spec.CodeInvalid, "--log-level %q: want debug, info, warn or error", f.logLevel)
	}
	c.Logger = slog.New(slog.NewTextHandler(stderr, &slog.HandlerOptions{Level: level}))
	c.Labels = f.labels
	for key, value := range f.labels {
		if why := spec.CheckLabelKey(key); why != "" {
			return node.Config{}, spec.Errorf(spec.CodeInvalid, "--label %s=%s: %s", key, value, why)
		}
		if why := spec.CheckLabelValue(value); why != "" {
			return node.Config{}, spec.Errorf(spec.CodeInvalid, "--label %s=%s: %s", key, value, why)
		}
	}
	if err := f.reach.Apply(c); err != nil {
		return node.Config{}, err
	}
	err := f.amounts(c)
	return *c, err
}

// amounts reads the flags that are quantities.
func (f *Flags) amounts(c *node.Config) error {
	var capacity, reserved dhowv1.ResourceList
	var logBytes, artifactBytes uint64
	for _, q := range []struct {
		flag, text string
		parse      func(string) (uint64, error)
		into       *uint64
	}{
		{"cpu", f.cpu, spec.ParseCPU, &capacity.Cpu},
		{"memory", f.memory, spec.ParseMemory, &capacity.Memory},
		{"reserved-cpu", f.reservedCPU, spec.ParseCPU, &reserved.Cpu},
		{"reserved-memory", f.reservedMem, spec.ParseMemory, &reserved.Memory},
		{"log-space", f.logBytes, spec.ParseMemory, &logBytes},
		{"artifact-cache", f.artifactBytes, spec.ParseMemory, &artifactBytes},
	} {
		if q.text == "" {
			continue
		}
		n, err := q.parse(q.text)
		if err != nil {
			return spec.Errorf(spec.CodeInvalid, "--%s: %w", q.flag, err)
		}
		*q.into = n
	}
	c.LogBytes, c.ArtifactBytes = int64(logBytes), int64(artifactBytes)
	c.Reserved = &reserved
	if f.cpu != "" || f.memory != "" {
		c.Capacity = &capacity
	}
	return nil
}

// hostname is the machine's name as a node may be named: the first label, in
// lower case, with what is not allowed left out.
func hostname() string {
	host, err := os.Hostname()
	if err != nil {
		return "" // the node says that it needs a name
	}
	host, _, _ = strings.Cut(strings.ToLower(host), ".")
	host = strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= '0' && r <= '9' || r == '-' {
			return r
		}
		return -1
	}, host)
	return strings.Trim(host, "-")
}

// dataHome is where dhow keeps its data.
func dataHome() string {
	if os.Geteuid() == 0 {
		return "/var/lib/dhow"
	}
	if dir := os.Getenv("XDG_DATA_HOME"); dir != "" {
		return filepath.Join(dir, "dhow")
	}
	home, err := os.UserHomeDir()
	if err != nil {
		return "dhow"
	}
	return filepath.Join(home, ".local", "share", "dhow")
}
