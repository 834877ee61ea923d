package gossip

import (
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"dhow.dev/dhow/internal/fsx"
)

const savedFile = "members"

// contacts are the addresses to join: the configured ones and those of the
// members known before the restart.
func (g *Gossip) contacts() []string {
	out := slices.Clone(g.c.Join)
	if g.c.Dir != "" {
		data, err := os.ReadFile(filepath.Join(g.c.Dir, savedFile))
		if err != nil && !os.IsNotExist(err) {
			g.c.Logger.Warn("gossip: known members not read", "error", err)
		}
		for line := range strings.Lines(string(data)) {
			addr := strings.TrimSpace(line)
			if _, _, err := net.SplitHostPort(addr); err == nil {
				out = append(out, addr)
			}
		}
	}
	self := g.Addr()
	out = slices.DeleteFunc(out, func(a string) bool { return a == self })
	slices.Sort(out)
	return slices.Compact(out)
}

// save keeps the addresses of the other members that are alive. With none
// alive the file stays: after a restart of all, they are the ones to look for.
func (g *Gossip) save() {
	if g.c.Dir == "" {
		return
	}
	var addrs []string
	for _, m := range g.Members() {
		if m.Name != g.c.Name && m.State == Alive {
			addrs = append(addrs, m.Addr)
		}
	}
	if len(addrs) == 0 {
		return
	}
	const most = 64 // any one of them is enough
	addrs = addrs[:min(len(addrs), most)]
	if err := fsx.WriteFile(filepath.Join(g.c.Dir, savedFile), []byte(strings.Join(addrs, "\n")+"\n"), 0o600); err != nil {
		g.c.Logger.Warn("gossip: known members not saved", "error", err)
	}
}
