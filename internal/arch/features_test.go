package arch

import (
	"bufio"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

var proofName = regexp.MustCompile("`((?:Test|Fuzz|Benchmark|Example)[A-Za-z0-9_]*|make [a-z0-9-]+)`")

// TestFeaturesAreProved keeps docs/features.md honest: each row names a test,
// a benchmark or a make target that exists, or says "missing" and why.
func TestFeaturesAreProved(t *testing.T) {
	root := repoRoot(t)
	have := declared(t, root)
	f, err := os.Open(filepath.Join(root, "docs", "features.md"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	rows := 0
	lines := bufio.NewScanner(f)
	for n := 1; lines.Scan(); n++ {
		cells := strings.Split(strings.Trim(lines.Text(), "| "), "|")
		if !strings.HasPrefix(lines.Text(), "|") || len(cells) < 2 || strings.HasPrefix(cells[1], "-") || n == 1 || strings.TrimSpace(cells[0]) == "promise" {
			continue
		}
		rows++
		proof := strings.TrimSpace(cells[1])
		names := proofName.FindAllStringSubmatch(proof, -1)
		if len(names) == 0 && !regexp.MustCompile(`^missing: .{10,}`).MatchString(proof) {
			t.Errorf("docs/features.md:%d: %q names no test and no reason why it is missing", n, proof)
		}
		for _, m := range names {
			if !have[m[1]] {
				t.Errorf("docs/features.md:%d: %s does not exist", n, m[1])
			}
		}
	}
	if rows == 0 {
		t.Error("docs/features.md has no rows")
	}
}

// declared is all test functions and make targets of the repository.
func declared(t *testing.T, root string) map[string]bool {
	t.Helper()
	have := map[string]bool{}
	function := regexp.MustCompile(`(?m)^func ((?:Test|Fuzz|Benchmark|Example)[A-Za-z0-9_]*)\(`)
	target := regexp.MustCompile(`(?m)^([a-z0-9-]+):`)
	err := filepath.WalkDir(root, func(path string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		re, prefix := function, ""
		if d.Name() == "Makefile" {
			re, prefix = target, "make "
		} else if !strings.HasSuffix(path, "_test.go") {
			return nil
		}
		data, err := os.ReadFile(path)
		for _, m := range re.FindAllSubmatch(data, -1) {
			have[prefix+string(m[1])] = true
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return have
}

func repoRoot(t *testing.T) string {
	t.Helper()
	out, err := exec.Command("go", "env", "GOMOD").Output()
	if err != nil {
		t.Fatal(err)
	}
	return filepath.Dir(strings.TrimSpace(string(out)))
}
