package agentcmd

import (
	"net/netip"
	"path/filepath"
	"strings"

	"github.com/spf13/pflag"

	"dhow.dev/dhow/node"
	"dhow.dev/dhow/proto/spec"
)

// Reach are the settings of what wasm modules may reach of a node, and around
// it.
type Reach struct {
	directories map[string]string
	networks    []string
}

// Add adds its flags.
func (r *Reach) Add(fs *pflag.FlagSet) {
	fs.StringToStringVar(&r.directories, "directory", nil, "directory that wasm modules may mount by its name, NAME=PATH, or NAME=PATH:rw to let them write (repeatable; default: none)")
	fs.StringSliceVar(&r.networks, "private-network", nil, "network, as 10.0.0.0/8, that hosts on a module's allow-list may be in by their names (repeatable; default: none)")
}

// Apply gives them to a node.
func (r *Reach) Apply(c *node.Config) error {
	c.Directories = map[string]node.Directory{}
	for name, text := range r.directories {
		path, writable := strings.CutSuffix(text, ":rw")
		path, err := filepath.Abs(path)
		if err != nil {
			return spec.Errorf(spec.CodeInvalid, "--directory %s: %w", name, err)
		}
		c.Directories[name] = node.Directory{Path: path, Writable: writable}
	}
	for _, n := range r.networks {
		if _, err := netip.ParsePrefix(n); err != nil {
			return spec.Errorf(spec.CodeInvalid, "--private-network %q: want an address and a length, such as 10.0.0.0/8", n)
		}
	}
	c.PrivateNetworks = r.networks
	return nil
}
