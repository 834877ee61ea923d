package agentcmd

import (
	"io"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/spf13/pflag"

	"dhow.dev/dhow/node"
	"dhow.dev/dhow/proto/spec"
)

func parse(t *testing.T, env map[string]string, args ...string) (node.Config, error) {
	t.Helper()
	fs := pflag.NewFlagSet("agent", pflag.ContinueOnError)
	f := Add(fs)
	if err := fs.Parse(args); err != nil {
		t.Fatal(err)
	}
	return f.config(func(key string) (string, bool) { v, ok := env[key]; return v, ok }, io.Discard)
}

func TestFlagsEnvironmentAndFile(t *testing.T) {
	file := filepath.Join(t.TempDir(), "agent.yaml")
	if err := os.WriteFile(file, []byte("zone: from-file\nname: from-file\nmemory: 1Gi\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	c, err := parse(t, map[string]string{"DHOW_NAME": "from-env", "DHOW_TOKEN": "secret"},
		"--config", file, "--cpu", "1500m", "--label", "disk=ssd", "--label", "rack=7", "--reserved-memory", "64Mi", "--no-gossip", "--join", "a:7400", "--join", "b:7400")
	if err != nil {
		t.Fatal(err)
	}
	if c.Zone != "from-file" || c.Name != "from-env" || c.Token != "secret" || !c.NoGossip || len(c.Join) != 2 {
		t.Errorf("configuration is %+v", c)
	}
	if c.Capacity.GetCpu() != 1500 || c.Capacity.GetMemory() != 1<<30 || c.Reserved.GetMemory() != 64<<20 || c.Labels["rack"] != "7" {
		t.Errorf("capacity %v, reserved %v, labels %v", c.Capacity, c.Reserved, c.Labels)
	}
}

func TestWhatModulesMayReach(t *testing.T) {
	c, err := parse(t, nil, "--directory", "data=/srv/data", "--directory", "out=/srv/out:rw", "--private-network", "10.0.0.0/8")
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]node.Directory{"data": {Path: "/srv/data"}, "out": {Path: "/srv/out", Writable: true}}
	if !maps.Equal(c.Directories, want) || len(c.PrivateNetworks) != 1 {
		t.Errorf("directories are %v, networks %v", c.Directories, c.PrivateNetworks)
	}
	if c, err := parse(t, nil); err != nil || len(c.Directories) != 0 || len(c.PrivateNetworks) != 0 || c.Metrics != "" {
		t.Errorf("without flags: %+v, %v", c, err)
	}
}

func TestBadFlagsAreNamed(t *testing.T) {
	for _, args := range [][]string{
		{"--cpu", "many"},
		{"--memory", "-1"},
		{"--log-space", "big"},
		{"--label", "bad key=x"},
		{"--log-level", "loud"},
		{"--private-network", "10.0.0.1"},
		{"--config", "/nonexistent/file"},
	} {
		_, err := parse(t, nil, args...)
		if spec.CodeOf(err) != spec.CodeInvalid || !strings.Contains(err.Error(), strings.TrimPrefix(args[0], "--config")) {
			t.Errorf("%v: %v (%s)", args, err, spec.CodeOf(err))
		}
	}
}
