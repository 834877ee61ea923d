package arch

import (
	"encoding/json"
	"errors"
	"io"
	"os/exec"
	"strings"
	"testing"
)

const module = "dhow.dev/dhow/"

// rooms lists, per room, the only rooms of this module it may import.
// A room is the longest listed prefix of a package path.
var rooms = map[string][]string{
	"cmd": {"control", "node", "proto", "wasmrt", "internal/client", "internal/pki", "internal/fsx", "internal/version"},

	"control": { // composition
		"control/api", "control/auth", "control/loop", "control/members", "control/peer", "control/plan", "control/registry",
		"control/replica", "control/session", "control/store",
		"internal/client", "internal/fsx", "internal/gossip", "internal/pki", "internal/version", "proto",
	},
	"control/api":      {"control/auth", "control/plan", "control/registry", "control/store", "internal/pki", "proto"},
	"control/auth":     {"internal/pki", "proto"},
	"control/loop":     {"control/plan", "control/store", "proto"},
	"control/members":  {"internal/gossip", "proto"},
	"control/peer":     {"control/auth", "internal/client", "internal/pki", "proto"},
	"control/plan":     {"proto"},
	"control/registry": {"internal/fsx", "proto"},
	"control/replica":  {"control/store", "proto"},
	"control/session":  {"control/auth", "control/store", "proto"},
	"control/store":    {"internal/fsx", "proto"},

	"node": { // composition
		"node/agent", "node/cache", "node/logs", "node/runtime", "node/runtime/wasm", "node/session",
		"internal/client", "internal/fsx", "internal/gossip", "internal/pki", "internal/version", "proto",
		"wasmrt", // one engine for several nodes of a process
	},
	"node/agent":               {"node/logs", "node/runtime", "internal/fsx", "proto"},
	"node/cache":               {"internal/fsx", "proto"},
	"node/logs":                {"internal/fsx", "proto"},
	"node/runtime":             {"proto"},
	"node/runtime/fake":        {"node/runtime", "proto"},
	"node/runtime/runtimetest": {"node/runtime", "proto"},
	"node/runtime/wasm":        {"node/runtime", "proto", "wasmrt"},
	"node/session":             {"internal/client", "internal/pki", "node/agent", "proto"},

	"proto":  {},
	"wasmrt": {},

	"e2e":      {"cmd", "control", "node", "proto", "wasmrt", "internal"}, // tests of the whole
	"examples": {},

	"internal/arch":    {},
	"internal/client":  {"internal/fsx", "internal/pki", "proto"},
	"internal/fsx":     {"proto"},
	"internal/gossip":  {"internal/fsx", "proto"},
	"internal/pki":     {"internal/fsx", "proto"},
	"internal/version": {},
}

// owners names the single room allowed to import a heavy library.
var owners = map[string]string{
	"github.com/cockroachdb/pebble":   "control/store",
	"github.com/hashicorp/raft":       "control/replica",
	"github.com/hashicorp/serf":       "internal/gossip",
	"github.com/hashicorp/memberlist": "internal/gossip",
	"github.com/tetratelabs/wazero":   "wasmrt",
	"github.com/containerd/":          "node/runtime/oci",
	"github.com/spf13/":               "cmd",
}

// pure rooms compute; they do not read clocks, dice, disks or sockets.
var (
	pure   = []string{"control/plan", "proto/spec"}
	impure = []string{"os", "net", "net/http", "math/rand", "math/rand/v2", "log", "log/slog", "sync"}
)

func TestImports(t *testing.T) {
	for _, p := range packages(t) {
		from := strings.TrimPrefix(p.ImportPath, module)
		home, ok := room(from)
		if !ok {
			t.Errorf("%s: no room listed; add it to rooms with a reason", from)
			continue
		}
		for _, imp := range p.Imports {
			if to, ok := strings.CutPrefix(imp, module); ok {
				if dest, ok := room(to); !ok || dest != home && !contains(rooms[home], dest) {
					t.Errorf("%s imports %s: %q may only import %v", from, to, home, rooms[home])
				}
			}
			for lib, owner := range owners {
				if strings.HasPrefix(imp, lib) && home != owner {
					t.Errorf("%s imports %s: only %q may", from, imp, owner)
				}
			}
			if contains(pure, home) && contains(impure, imp) {
				t.Errorf("%s imports %s: the room is pure", from, imp)
			}
		}
	}
}

// TestRoomsExist keeps the table honest when a room is renamed.
func TestRoomsExist(t *testing.T) {
	used := map[string]bool{}
	for _, p := range packages(t) {
		r, _ := room(strings.TrimPrefix(p.ImportPath, module))
		used[r] = true
	}
	for r := range rooms {
		if !used[r] && r != "cmd" && r != "control" && r != "node" {
			t.Errorf("room %q has no package", r)
		}
	}
}

type pkg struct {
	ImportPath string
	Imports    []string
}

func packages(t *testing.T) []pkg {
	t.Helper()
	cmd := exec.Command("go", "list", "-json=ImportPath,Imports", module+"...")
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	var all []pkg
	for dec := json.NewDecoder(out); ; {
		var p pkg
		if err := dec.Decode(&p); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatal(err)
		}
		all = append(all, p)
	}
	if err := cmd.Wait(); err != nil {
		t.Fatal(err)
	}
	return all
}

func room(path string) (string, bool) {
	for ; path != ""; path = path[:max(strings.LastIndexByte(path, '/'), 0)] {
		if _, ok := rooms[path]; ok {
			return path, true
		}
	}
	return "", false
}

func contains(rs []string, r string) bool {
	for _, s := range rs {
		if s == r || strings.HasPrefix(r, s+"/") && !isRoom(r) {
			return true
		}
	}
	return false
}

func isRoom(r string) bool { _, ok := rooms[r]; return ok }
