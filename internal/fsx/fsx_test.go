package fsx

import (
	"bytes"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"dhow.dev/dhow/proto/spec"
)

func TestWriteFileReplaces(t *testing.T) {
	path := filepath.Join(t.TempDir(), "f")
	for _, content := range []string{"one", "", "three"} {
		if err := WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		got, err := os.ReadFile(path)
		if err != nil || string(got) != content {
			t.Errorf("got %q, %v", got, err)
		}
	}
	if st, err := os.Stat(path); err != nil || st.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, %v", st.Mode(), err)
	}
	if err := os.Mkdir(path+"d", 0o700); err != nil {
		t.Fatal(err)
	}
	if err := WriteFile(path+"d", nil, 0o600); err == nil {
		t.Error("replaced a directory")
	}
	if err := WriteFile(filepath.Join(path, "x"), nil, 0o600); err == nil {
		t.Error("wrote below a file")
	}
	entries, err := os.ReadDir(filepath.Dir(path))
	if err != nil || len(entries) != 2 {
		t.Errorf("left behind: %v, %v", entries, err)
	}
}

func TestFullAndReadOnlyDisks(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("needs root, to mount a small disk")
	}
	dir := t.TempDir()
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size=64k"); err != nil {
		t.Skipf("cannot mount a small disk here: %v", err)
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(dir, 0); err != nil {
			t.Error(err)
		}
	})
	path := filepath.Join(dir, "f")
	if err := WriteFile(path, []byte("old"), 0o600); err != nil {
		t.Fatal(err)
	}
	err := WriteFile(path, bytes.Repeat([]byte("x"), 100_000), 0o600)
	if spec.CodeOf(err) != spec.CodeExhausted || !Full(err) || !strings.Contains(err.Error(), "free some") {
		t.Errorf("full: %v", err)
	}
	check := func() {
		t.Helper()
		got, err := os.ReadFile(path)
		entries, derr := os.ReadDir(dir)
		if err != nil || derr != nil || string(got) != "old" || len(entries) != 1 {
			t.Errorf("old content %q, %v; files %v, %v", got, err, entries, derr)
		}
	}
	check()
	if err := syscall.Mount("", dir, "", syscall.MS_REMOUNT|syscall.MS_RDONLY, ""); err != nil {
		t.Skipf("cannot remount: %v", err)
	}
	err = WriteFile(path, []byte("new"), 0o600)
	if spec.CodeOf(err) != spec.CodeInvalid || !strings.Contains(err.Error(), "read-only") {
		t.Errorf("read-only: %v", err)
	}
	if _, err := LockDir(dir); spec.CodeOf(err) != spec.CodeInvalid || !strings.Contains(err.Error(), "read-only") {
		t.Errorf("lock on a read-only disk: %v", err)
	}
	if err := MkdirAll(filepath.Join(dir, "sub"), 0o700); spec.CodeOf(err) != spec.CodeInvalid {
		t.Errorf("directory on a read-only disk: %v", err)
	}
	check()
}

func TestMkdirAll(t *testing.T) {
	dir := t.TempDir()
	deep := filepath.Join(dir, "a", "b", "c")
	for range 2 {
		if err := MkdirAll(deep, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := MkdirAll(file, 0o700); spec.CodeOf(err) != spec.CodeInvalid || !strings.Contains(err.Error(), "is no directory") {
		t.Errorf("a file in the way: %v", err)
	}
}

func TestRemoveAndRename(t *testing.T) {
	path := filepath.Join(t.TempDir(), "f")
	for range 2 {
		if err := Remove(path); err != nil {
			t.Fatal(err)
		}
	}
	if err := Rename(path, path+"2"); spec.CodeOf(err) != spec.CodeNotFound {
		t.Errorf("got %v", err)
	}
	if err := WriteFile(path, []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := Rename(path, path+"2"); err != nil {
		t.Fatal(err)
	}
	if err := Remove(path + "2"); err != nil {
		t.Fatal(err)
	}
}

func TestLockDirIsForOne(t *testing.T) {
	dir := t.TempDir()
	l, err := LockDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := LockDir(dir); spec.CodeOf(err) != spec.CodeUnavailable || !strings.Contains(err.Error(), "in use by process") {
		t.Errorf("taken twice: %v", err)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	l, err = LockDir(dir)
	if err != nil {
		t.Fatalf("after it was let go: %v", err)
	}
	defer l.Close()
	if _, err := LockDir(filepath.Join(dir, "missing")); spec.CodeOf(err) != spec.CodeNotFound {
		t.Errorf("no directory: %v", err)
	}
}

// A process that is killed holds nothing.
func TestLockDirEndsWithTheProcess(t *testing.T) {
	dir := t.TempDir()
	if os.Getenv("FSX_LOCK") != "" {
		if _, err := LockDir(os.Getenv("FSX_LOCK")); err != nil {
			t.Fatal(err)
		}
		_, _ = os.Stdout.WriteString("locked\n")
		_, _ = io.Copy(io.Discard, os.Stdin) // until the parent ends, too
		return
	}
	cmd := exec.Command(os.Args[0], "-test.run=^TestLockDirEndsWithTheProcess$")
	cmd.Env = append(os.Environ(), "FSX_LOCK="+dir)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	if _, err := out.Read(make([]byte, 100)); err != nil {
		t.Fatal(err)
	}
	if _, err := LockDir(dir); spec.CodeOf(err) != spec.CodeUnavailable {
		t.Errorf("while the other process lives: %v", err)
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait()
	l, err := LockDir(dir)
	if err != nil {
		t.Fatalf("after it was killed: %v", err)
	}
	_ = l.Close()
}
