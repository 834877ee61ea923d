package main

import (
	"bytes"
	"path/filepath"
	"strings"
	"testing"
)

func TestExitCodes(t *testing.T) {
	dir := t.TempDir()
	for name, c := range map[string]struct {
		args []string
		code int
		want string
	}{
		"help":         {[]string{"--help"}, 0, "--join"},
		"version":      {[]string{"--version"}, 0, "dhow-agent "},
		"unknown flag": {[]string{"--jion", "a"}, 2, "unknown flag: --jion"},
		"an argument":  {[]string{"x"}, 2, `unexpected argument "x"`},
		"no token":     {[]string{"--name", "n1", "--data-dir", filepath.Join(dir, "n1")}, 2, "--token TOKEN"},
		"bad name":     {[]string{"--name", "No", "--data-dir", dir}, 2, "name"},
	} {
		t.Run(name, func(t *testing.T) {
			var out bytes.Buffer
			code := run(t.Context(), c.args, &out, &out)
			if code != c.code || !strings.Contains(out.String(), c.want) {
				t.Errorf("exit code %d, want %d, and output\n%s\nwant %q in it", code, c.code, &out, c.want)
			}
		})
	}
}
