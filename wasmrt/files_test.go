package wasmrt_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"dhow.dev/dhow/wasmrt"
	"dhow.dev/dhow/wasmrt/wasmtest"
)

// tree makes files of a directory: name to content; a name that ends in / is a
// directory, a content that begins with "-> " a symbolic link.
func tree(t *testing.T, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, content := range files {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		var err error
		if to, ok := strings.CutPrefix(content, "-> "); ok {
			err = os.Symlink(to, path)
		} else if strings.HasSuffix(name, "/") {
			err = os.MkdirAll(path, 0o755)
		} else {
			err = os.WriteFile(path, []byte(content), 0o644)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// operate runs operations of the guest c/files.c, and returns a line for each.
func operate(t *testing.T, m *wasmrt.Module, c wasmrt.Config, operations ...string) []string {
	t.Helper()
	var args []string
	for _, o := range operations {
		args = append(args, strings.Split(o, " ")...)
	}
	exit, out, stderr := run(t, m, c, args...)
	if exit.Code != 0 {
		t.Fatalf("exit is %+v: %s%s", exit, out, stderr)
	}
	return strings.Split(strings.TrimSuffix(out, "\n"), "\n")
}

// expect runs operations, each with the line that it is to print.
func expect(t *testing.T, m *wasmrt.Module, c wasmrt.Config, want ...[2]string) {
	t.Helper()
	var operations []string
	for _, w := range want {
		operations = append(operations, w[0])
	}
	got := operate(t, m, c, operations...)
	for n, w := range want {
		if n >= len(got) || got[n] != w[1] {
			t.Errorf("%s: got %q, want %q", w[0], got[min(n, len(got)-1)], w[1])
		}
	}
}

func filesGuest(t *testing.T) *wasmrt.Module {
	t.Helper()
	return load(t, newEngine(t, wasmrt.Options{CacheDir: wasmtest.CodeDir(t)}), "c/files.c")
}

func TestMounts(t *testing.T) {
	m := filesGuest(t)
	many := map[string]string{"a": "alpha", "d/b": "beta", "link": "-> d/b"}
	for n := range 1000 {
		many[fmt.Sprintf("many/%d", n)] = ""
	}
	c := wasmrt.Config{Mounts: []wasmrt.Mount{
		{Host: tree(t, many), Guest: "/data"},
		{Host: tree(t, map[string]string{"old": "x", "sub/": ""}), Guest: "/rw", Writable: true},
	}}
	expect(t, m, c,
		[2]string{"cat /data/a", "alpha"},
		[2]string{"cat /data/link", "beta"},
		[2]string{"cat-nofollow /data/link", "Symbolic link loop"},
		[2]string{"readlink /data/link", "d/b"},
		[2]string{"cat /data/./d/../a", "alpha"},
		[2]string{"from /data/d b", "beta"},
		[2]string{"ls /data", "6: . .. a d link many"},
		[2]string{"ls /data/many", "1002: . .. 0 1 10 100 101 102"},
		[2]string{"stat /data/d", "dir 4096"},
		[2]string{"stat /data/a", "file 5"},
		[2]string{"cat /data/none", "No such file or directory"},
		[2]string{"cat /data/a/b", "Not a directory"},
		[2]string{"cat /data/a/", "Not a directory"},
		[2]string{"cat /data/d", "Is a directory"},
		[2]string{"cat /etc/passwd", "Capabilities insufficient"},

		[2]string{"create /rw/new hello", "ok"},
		[2]string{"append /rw/new world", "ok"},
		[2]string{"cat /rw/new", "helloworld"},
		[2]string{"seek /rw/new", "8 ell 1 8"},
		[2]string{"cat /rw/new", "Xelloworld"},
		[2]string{"rewrite /rw/new J", "ok"},
		[2]string{"truncate /rw/new 3", "ok"},
		[2]string{"cat /rw/new", "Jel"},
		[2]string{"exclusive /rw/new x", "File exists"},
		[2]string{"touch /rw/new", "1000 2000"},
		[2]string{"touch-open /rw/new", "4000.7"},
		[2]string{"mkdir /rw/dir", "ok"},
		[2]string{"mkdir /rw/dir", "File exists"},
		[2]string{"mv /rw/new /rw/dir/moved", "ok"},
		[2]string{"ln /rw/dir/moved /rw/second", "ok"},
		[2]string{"cat /rw/second", "Jel"},
		[2]string{"rmdir /rw/dir", "Directory not empty"},
		[2]string{"rm /rw/dir", "Is a directory"},
		[2]string{"rmdir /rw/second", "Not a directory"},
		[2]string{"rm /rw/dir/moved", "ok"},
		[2]string{"rmdir /rw/dir", "ok"},
		[2]string{"symlink old /rw/to", "ok"},
		[2]string{"cat /rw/to", "x"},
		[2]string{"rm /rw/to", "ok"},
		[2]string{"ls /rw", "5: . .. old second sub"},
	)
}

// TestMountIsReadOnly: nothing changes a mount that is not said to be writable,
// not even by way of one that is.
func TestMountIsReadOnly(t *testing.T) {
	m := filesGuest(t)
	host := tree(t, map[string]string{"a": "alpha", "d/": ""})
	c := wasmrt.Config{Mounts: []wasmrt.Mount{{Host: host, Guest: "/ro"}, {Host: t.TempDir(), Guest: "/rw", Writable: true}}}
	const refused = "Read-only file system"
	expect(t, m, c,
		[2]string{"create /ro/new x", refused},
		[2]string{"create /ro/a x", refused},
		[2]string{"append /ro/a x", refused},
		[2]string{"rewrite /ro/a x", refused},
		[2]string{"truncate /ro/a 0", refused},
		[2]string{"touch /ro/a", refused},
		[2]string{"mkdir /ro/e", refused},
		[2]string{"rmdir /ro/d", refused},
		[2]string{"rm /ro/a", refused},
		[2]string{"mv /ro/a /ro/b", refused},
		[2]string{"mv /ro/a /rw/a", refused},
		[2]string{"ln /ro/a /rw/a", refused},
		[2]string{"ln /ro/a /ro/b", refused},
		[2]string{"symlink a /ro/l", refused},
		[2]string{"ls /rw", "2: . .."},
		[2]string{"cat /ro/a", "alpha"},
	)
	if b, err := os.ReadFile(filepath.Join(host, "a")); err != nil || string(b) != "alpha" {
		t.Errorf("the file holds %q (%v)", b, err)
	}
}

// TestNoWayOut tries the ways out of a mount.
func TestNoWayOut(t *testing.T) {
	m := filesGuest(t)
	outside := tree(t, map[string]string{"secret": "hidden"})
	host := tree(t, map[string]string{
		"absolute":    "-> " + outside + "/secret",
		"directory":   "-> " + outside,
		"up":          "-> ../../../../../../../../../etc",
		"sub/relate":  "-> ../../" + filepath.Base(outside) + "/secret",
		"sub/deep/x":  "",
		"proc":        "-> /proc/self/root",
		"loop":        "-> loop",
		"inside/link": "-> ../sub/deep",
	})
	if err := syscall.Mkfifo(filepath.Join(host, "pipe"), 0o644); err != nil {
		t.Fatal(err)
	}
	c := wasmrt.Config{Mounts: []wasmrt.Mount{{Host: host, Guest: "/m", Writable: true}, {Host: t.TempDir(), Guest: "/other", Writable: true}}}
	const refused = "Operation not permitted"
	expect(t, m, c,
		[2]string{"cat /m/absolute", refused},
		[2]string{"cat /m/directory/secret", refused},
		[2]string{"cat /m/up/passwd", refused},
		[2]string{"cat /m/sub/relate", refused},
		[2]string{"cat /m/proc/etc/passwd", refused},
		[2]string{"cat /m/../../../../../../etc/passwd", refused},
		[2]string{"cat /m/sub/../../x", refused},
		[2]string{"from /m/sub ../sub/deep/x", refused},
		[2]string{"from /m ../" + filepath.Base(outside) + "/secret", refused},
		[2]string{"ls /m/directory", refused},
		[2]string{"create /m/absolute overwritten", refused},
		[2]string{"create /m/directory/new x", refused},
		[2]string{"mkdir /m/directory/new", refused},
		[2]string{"rm /m/directory/secret", refused},
		[2]string{"mv /m/directory/secret /m/mine", refused},
		[2]string{"ln /m/directory/secret /m/mine", refused},
		[2]string{"mv /m/directory/secret /other/mine", refused},
		[2]string{"ln /m/directory/secret /other/mine", refused},
		[2]string{"stat /m/absolute", refused},
		[2]string{"truncate /m/absolute 0", refused},
		[2]string{"touch /m/absolute", refused},
		[2]string{"cat /m/loop", "Symbolic link loop"},
		[2]string{"symlink /etc/passwd /m/p", refused},
		[2]string{"symlink ../../etc/passwd /m/sub/p", refused},
		[2]string{"symlink ../inside/link /m/sub/fine", "ok"},
		[2]string{"ln /m/absolute /m/second", "ok"}, // of the link itself
		[2]string{"cat /m/second", refused},
		[2]string{"mv /m/absolute /other/moved", "ok"}, // the link itself
		[2]string{"cat /other/moved", refused},
		[2]string{"cat /m/pipe", "Permission denied"}, // and does not wait
	)
	if b, err := os.ReadFile(filepath.Join(outside, "secret")); err != nil || string(b) != "hidden" {
		t.Errorf("the file outside holds %q (%v)", b, err)
	}
	for _, kernel := range []string{"/proc", "/proc/self", "/sys"} {
		_, err := m.Run(t.Context(), wasmrt.Config{Mounts: []wasmrt.Mount{{Host: kernel, Guest: "/k"}}})
		if err == nil {
			t.Errorf("%s can be mounted", kernel)
		}
	}
	expect(t, m, wasmrt.Config{Mounts: []wasmrt.Mount{{Host: "/", Guest: "/root"}}},
		[2]string{"cat /root/proc/self/environ", "Permission denied"},
		[2]string{"ls /root/proc/self", "Permission denied"},
		[2]string{"cat /root/proc/self/root/etc/passwd", refused},
		[2]string{"cat /root/dev/null", "Permission denied"},
	)
}

// TestNoWayOutWhilePathsChange: a directory that the guest looks through turns
// into a link to the outside and back all the time.
func TestNoWayOutWhilePathsChange(t *testing.T) {
	m := filesGuest(t)
	outside := tree(t, map[string]string{"file": "hidden"})
	host := tree(t, map[string]string{"real/file": "visible", "evil": "-> " + outside})
	stop, stopped := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(stopped)
		at := func(name string) string { return filepath.Join(host, name) }
		for {
			for _, from := range []string{"real", "evil"} {
				_ = os.Rename(at(from), at("d"))
				_ = os.Rename(at("d"), at(from))
			}
			select {
			case <-stop:
				return
			default:
			}
		}
	}()
	got := operate(t, m, wasmrt.Config{Mounts: []wasmrt.Mount{{Host: host, Guest: "/m"}}}, "race /m/d/file 20000 hidden")
	close(stop)
	<-stopped
	if got[0] != "leaked 0" {
		t.Error(got[0])
	}
}

func TestFileLimit(t *testing.T) {
	m := filesGuest(t)
	mounts := []wasmrt.Mount{{Host: tree(t, map[string]string{"a": "alpha"}), Guest: "/m"}}
	expect(t, m, wasmrt.Config{Mounts: mounts, Limits: wasmrt.Limits{Files: 10}}, [2]string{"many /m/a 100", "10 No file descriptors available"})
	expect(t, m, wasmrt.Config{Mounts: mounts}, [2]string{"many /m/a 1000", "256 No file descriptors available"})
}

func TestBadMounts(t *testing.T) {
	m := filesGuest(t)
	file := filepath.Join(tree(t, map[string]string{"a": "alpha"}), "a")
	for name, mount := range map[string]wasmrt.Mount{
		"no such directory": {Host: "/no/such/directory", Guest: "/m"},
		"a file":            {Host: file, Guest: "/m"},
		"a relative path":   {Host: t.TempDir(), Guest: "m"},
		"no path":           {Host: t.TempDir()},
	} {
		_, err := m.Run(t.Context(), wasmrt.Config{Mounts: []wasmrt.Mount{mount}})
		if reason(err) != wasmrt.ReasonBadConfig {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func reason(err error) string {
	if e, ok := errors.AsType[*wasmrt.Error](err); ok {
		return e.Reason
	}
	return ""
}

func TestFileLimitIsNoticed(t *testing.T) {
	m := filesGuest(t)
	var notices []wasmrt.Notice
	c := wasmrt.Config{
		Mounts: []wasmrt.Mount{{Host: tree(t, map[string]string{"a": "alpha"}), Guest: "/m"}},
		Limits: wasmrt.Limits{Files: 10},
		Notify: func(n wasmrt.Notice) { notices = append(notices, n) },
	}
	operate(t, m, c, "many /m/a 100", "many /m/a 100")
	if len(notices) != 1 || notices[0].Reason != wasmrt.NoticeFileLimit {
		t.Errorf("notices are %v", notices)
	}
}
