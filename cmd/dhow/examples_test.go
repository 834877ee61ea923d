package main

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/spf13/cobra"

	"dhow.dev/dhow/cmd/internal/settings"
)

const examples = "../../examples"

// The manifests that the README shows can be applied.
func TestExampleManifestsApply(t *testing.T) {
	newFake(t)
	dir := t.TempDir()
	if err := os.CopyFS(filepath.Join(dir, "examples", "manifests"), os.DirFS(filepath.Join(examples, "manifests"))); err != nil {
		t.Fatal(err)
	}
	guests := filepath.Join(dir, "bin", "guests")
	if err := os.MkdirAll(guests, 0o700); err != nil {
		t.Fatal(err)
	}
	for name, module := range map[string]string{
		"ticker.wasm": emptyModule, "hello.wasm": emptyModule, "wordcount.wasm": emptyModule, "calc.wasm": callableModule("add"),
	} {
		if err := os.WriteFile(filepath.Join(guests, name), []byte(module), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	r := dhow(t, "", "apply", "-f", filepath.Join(dir, "examples", "manifests"))
	wantCode(t, r, 0)
	wantText(t, r.out, "workload/ticker created", "workload/hello created", "workload/calc created", "workload/wordcount created")
}

// The settings files that the systemd units name hold settings that exist.
func TestExampleSettingsLoad(t *testing.T) {
	a := newApp(nil, nil, nil)
	server := serverCmd(a)
	addServe(server, a)
	for file, cmd := range map[string]*cobra.Command{"server.yaml": server, "agent.yaml": agentCmd(a)} {
		err := settings.Load(cmd.LocalFlags(), filepath.Join(examples, "config", file), func(string) (string, bool) { return "", false })
		if err != nil {
			t.Errorf("%s: %v", file, err)
		}
	}
}
