package cluster

import (
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// A node that boots while no server can be reached starts what it last had.
func TestNodeBootsWithoutServer(t *testing.T) {
	t.Parallel()
	s := newSite(t, 1, 1)
	port := ports(t, 1)
	s.dhow("deploy", "hello", guest("hello"), "--http", "--port", fmt.Sprintf("%d:80", port), "--wait")
	s.procs["s1"].kill()
	s.procs["n1"].kill()
	if _, err := http.Get(fmt.Sprintf("http://127.0.0.1:%d/", port)); err == nil {
		t.Fatal("something answers though everything was killed")
	}
	s.start("n1")
	s.eventually("the handler answers with no server anywhere", 20*time.Second, func() (bool, string) {
		res, err := http.Get(fmt.Sprintf("http://127.0.0.1:%d/offline", port))
		if err != nil {
			return false, err.Error()
		}
		defer res.Body.Close()
		body, _ := io.ReadAll(res.Body)
		return res.StatusCode == http.StatusOK && strings.Contains(string(body), "/offline"), string(body)
	})
	before, _ := os.ReadFile(s.procs["n1"].log)
	s.start("s1")
	s.eventually("the node is back and runs the same instance", 20*time.Second, func() (bool, string) {
		byNode, out := s.running("hello")
		return byNode["n1"] == 1 && strings.Contains(s.dhow("node", "list"), "Ready"), out
	})
	if strings.Count(string(before), "Started") > 1 {
		t.Errorf("the instance was started more than once:\n%s", before)
	}
}

// Bad input of any kind ends with a clear error, the right exit code, and
// nothing changed.
func TestBadInput(t *testing.T) {
	t.Parallel()
	s := newSite(t, 1, 1)
	hello, err := os.ReadFile(guest("hello"))
	if err != nil {
		t.Fatal(err)
	}
	file := func(name string, data []byte) string {
		path := filepath.Join(s.dir, name)
		if err := os.WriteFile(path, data, 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	before := s.dhow("get", "workloads", "-A", "-o", "name")
	for _, c := range []struct {
		name string
		args []string
		code int
		want string
	}{
		{"empty module", []string{"deploy", "x", file("empty.wasm", nil)}, 2, "empty"},
		{"not wasm", []string{"deploy", "x", file("text.wasm", []byte("#!/bin/sh\n"))}, 2, "no WebAssembly module"},
		{"truncated", []string{"deploy", "x", file("half.wasm", hello[:len(hello)/2])}, 2, "half.wasm"},
		{"component", []string{"deploy", "x", file("comp.wasm", []byte("\x00asm\x0d\x00\x01\x00"))}, 2, "component"},
		{"no file", []string{"deploy", "x", "missing.wasm"}, 2, "missing.wasm"},
		{"bad name", []string{"deploy", "Not_A_Name", guest("hello")}, 2, "not-a-name"},
		{"negative", []string{"scale", "hello", "--", "-1"}, 2, "REPLICAS"},
		{"unknown field", []string{"apply", "-f", file("field.yaml", []byte("kind: Workload\nname: x\nspec:\n  replcas: 3\n"))}, 2, "field.yaml:4"},
		{"unknown kind", []string{"apply", "-f", file("kind.yaml", []byte("kind: Wrkload\nname: x\n"))}, 2, "Workload"},
		{"not found", []string{"get", "workload", "nothing"}, 3, "nothing"},
		{"forged token", []string{"get", "nodes", "--token", "dhow_admin_aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"}, 5, "token"},
		{"no server", []string{"get", "nodes", "--server", "127.0.0.1:1"}, 6, "127.0.0.1:1"},
		{"unknown verb", []string{"deplyo"}, 2, "deploy"},
	} {
		out, errs, code := s.try(c.args...)
		if code != c.code || !strings.Contains(errs, c.want) {
			t.Errorf("%s: exit %d, want %d with %q\n%s%s", c.name, code, c.code, c.want, out, errs)
		}
	}
	if after := s.dhow("get", "workloads", "-A", "-o", "name"); after != before {
		t.Errorf("bad input changed something:\n%s\nwas\n%s", after, before)
	}
}
