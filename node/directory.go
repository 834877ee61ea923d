package node

import (
	"os"
	"path/filepath"

	"dhow.dev/dhow/node/runtime/wasm"
	"dhow.dev/dhow/proto/spec"
	"dhow.dev/dhow/wasmrt"
)

// Directory is one of the machine's that wasm modules may mount.
type Directory = wasm.Directory

// HostModules are what an Engine that is given to a node has to offer guests.
func HostModules() []wasmrt.HostModule { return wasm.HostModules() }

// AllowList is a list of hosts, as manifests have it, for host.HTTPOptions.
func AllowList(hosts []string) []string { return wasm.AllowList(hosts) }

func checkDirectory(name string, d Directory) error {
	if why := spec.CheckName(name); why != "" {
		return spec.Errorf(spec.CodeInvalid, "directory %q: %s", name, why)
	}
	if !filepath.IsAbs(d.Path) {
		return spec.Errorf(spec.CodeInvalid, "directory %s: %q is no absolute path", name, d.Path)
	}
	if s, err := os.Stat(d.Path); err != nil {
		return spec.Errorf(spec.CodeInvalid, "directory %s: %w", name, err)
	} else if !s.IsDir() {
		return spec.Errorf(spec.CodeInvalid, "directory %s: %s is no directory", name, d.Path)
	}
	return nil
}
