package diff_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"dhow.dev/dhow/cmd/internal/diff"
)

func TestUnified(t *testing.T) {
	old := "a\nb\nc\nd\ne\nf\ng\nh\ni\nj\n"
	got := diff.Unified("old", "new", old, "a\nB\nc\nd\ne\nf\ng\nh\ni\nj\nk\n")
	want := "--- old\n+++ new\n@@ -1,5 +1,5 @@\n a\n-b\n+B\n c\n d\n e\n@@ -8,3 +8,4 @@\n h\n i\n j\n+k\n"
	if got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	if got := diff.Unified("old", "new", "", "a\n"); got != "--- old\n+++ new\n@@ -0,0 +1,1 @@\n+a\n" {
		t.Errorf("got %s", got)
	}
	if diff.Unified("old", "new", old, old) != "" {
		t.Error("equal texts differ")
	}
}

// TestPatchApplies: patch(1) makes the new text of the old one.
func TestPatchApplies(t *testing.T) {
	patch, err := exec.LookPath("patch")
	if err != nil {
		t.Skip("patch is not installed")
	}
	dir := t.TempDir()
	text := rapid.Map(rapid.SliceOfN(rapid.SampledFrom([]string{"a", "b", "c", "dd"}), 1, 30), func(l []string) string {
		return strings.Join(l, "\n") + "\n"
	})
	rapid.Check(t, func(t *rapid.T) {
		old, now := text.Draw(t, "old"), text.Draw(t, "new")
		d := diff.Unified("f", "f", old, now)
		if d == "" {
			return
		}
		file := filepath.Join(dir, "f")
		if err := os.WriteFile(file, []byte(old), 0o600); err != nil {
			t.Fatal(err)
		}
		cmd := exec.Command(patch, "--silent", file)
		cmd.Stdin = strings.NewReader(d)
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%v: %s\n%s", err, out, d)
		}
		got, err := os.ReadFile(file)
		if err != nil || string(got) != now {
			t.Fatalf("got %q, %v", got, err)
		}
	})
}
