package store_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"

	"dhow.dev/dhow/control/store"
	dhowv1 "dhow.dev/dhow/proto/dhow/v1"
	"dhow.dev/dhow/proto/spec"
)

func TestStateIsThereAgain(t *testing.T) {
	dir := t.TempDir()
	n := open(t, dir, store.Options{ClusterID: "c"})
	n.do(put(workload("web", 1)), put(instance("web", "i", "n1")))
	hash := n.hash()
	if err := n.Close(); err != nil {
		t.Fatal(err)
	}
	n = open(t, dir, store.Options{ClusterID: "c"})
	defer n.Close()
	if n.hash() != hash || n.Revision() != 1 {
		t.Errorf("revision %d, another state", n.Revision())
	}
	if _, err := n.Watch(0); spec.CodeOf(err) != spec.CodeTooOld {
		t.Errorf("a watch from before the start: %v", err)
	}
}

// After a crash the state is one it has been in, and the entries after it,
// applied again, lead to the same.
func TestCrashLosesOnlyWhatTheLogHas(t *testing.T) {
	fs := vfs.NewCrashableMem()
	n := open(t, "data", store.Options{FS: fs})
	for i := range 50 {
		n.do(put(artifact(fmt.Sprint(i), "f")))
		if i == 20 {
			if err := n.Checkpoint("data/ckpt"); err != nil {
				t.Fatal(err)
			}
		}
		if err := n.Log().Append(uint64(i+1), [][]byte{fmt.Append(nil, i)}); err != nil {
			t.Fatal(err)
		}
	}
	hash := n.hash()
	after := fs.CrashClone(vfs.CrashCloneCfg{})
	_ = n.Close()

	m := open(t, "data", store.Options{FS: after})
	defer m.Close()
	if r := m.Revision(); r < 21 || r > 50 {
		t.Fatalf("recovered at %d", r)
	}
	if last, _ := m.Log().Last(); last != 50 {
		t.Errorf("the synced log ends at %d", last)
	}
	for i := m.Revision(); i < 50; i++ {
		m.do(put(artifact(fmt.Sprint(i), "f")))
	}
	if m.hash() != hash {
		t.Error("applied again, the state is another")
	}
}

func TestRestore(t *testing.T) {
	n := fresh(t)
	n.do(put(workload("web", 1)), put(artifact("a", "f")))
	hash, rev := n.hash(), n.index
	ckpt := filepath.Join(t.TempDir(), "ckpt")
	if err := n.Checkpoint(ckpt); err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	m := open(t, dir, store.Options{})
	m.do(put(workload("other", 1)))
	old := m.View()
	w, err := m.Watch(1)
	if err != nil {
		t.Fatal(err)
	}
	for range 2 { // Twice, since the first leaves other names behind.
		if err := m.Restore(ckpt); err != nil {
			t.Fatal(err)
		}
		if m.hash() != hash || m.Revision() != rev {
			t.Errorf("restored to another state, at %d", m.Revision())
		}
	}
	if _, err := old.Get(ref(kindWorkload, "default", "other")); err != nil {
		t.Errorf("a view from before: %v", err)
	}
	old.Close()
	if _, _, err := w.Next(t.Context()); spec.CodeOf(err) != spec.CodeTooOld {
		t.Errorf("a watcher from before: %v", err)
	}
	if got := states(t, dir); len(got) != 1 {
		t.Errorf("directories left: %v", got)
	}
	m.index = rev
	m.do(put(workload("more", 1)))
	if err := m.Restore(t.TempDir()); err == nil {
		t.Error("an empty directory was restored")
	}
	hash = m.hash()
	if err := m.Close(); err != nil {
		t.Fatal(err)
	}
	m = open(t, dir, store.Options{})
	defer m.Close()
	if m.hash() != hash {
		t.Error("after a restart the state is another")
	}
}

func states(t *testing.T, dir string) []string {
	t.Helper()
	l, err := filepath.Glob(filepath.Join(dir, "state-*"))
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// A crash after any of the file operations of a restore leaves the old state
// or the new.
func TestCrashDuringRestore(t *testing.T) {
	src := fresh(t)
	src.do(put(workload("new", 1)))
	src.do(put(workload("new", 2)))
	newHash := src.hash()

	for stop := int64(1); ; stop++ {
		fs := vfs.NewCrashableMem()
		n := open(t, "data", store.Options{FS: fs})
		n.do(put(workload("old", 1)))
		if err := n.Checkpoint("old"); err != nil { // Makes it durable.
			t.Fatal(err)
		}
		oldHash := n.hash()
		if err := n.Close(); err != nil {
			t.Fatal(err)
		}
		// The new checkpoint, on the same file system.
		s := open(t, "src", store.Options{FS: fs})
		s.do(put(workload("new", 1)))
		s.do(put(workload("new", 2)))
		if err := s.Checkpoint("ckpt"); err != nil {
			t.Fatal(err)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		var count atomic.Int64
		var clone atomic.Pointer[vfs.MemFS] // background work writes, too
		inj := errorfs.InjectorFunc(func(op errorfs.Op) error {
			if op.Kind.ReadOrWrite() == errorfs.OpIsWrite && count.Add(1) == stop {
				clone.Store(fs.CrashClone(vfs.CrashCloneCfg{}))
			}
			return nil
		})
		n = open(t, "data", store.Options{FS: fs})
		if err := n.Close(); err != nil {
			t.Fatal(err)
		}
		n = open(t, "data", store.Options{FS: errorfs.Wrap(fs, inj)})
		count.Store(0)
		clone.Store(nil)
		if err := n.Restore("ckpt"); err != nil {
			t.Fatal(err)
		}
		_ = n.Close()
		if clone.Load() == nil {
			if stop < 10 {
				t.Errorf("only %d crashes were tried", stop)
			}
			return
		}
		m := open(t, "data", store.Options{FS: clone.Load()})
		if h := m.hash(); h != oldHash && h != newHash {
			t.Errorf("crash %d left another state", stop)
		}
		if err := m.Close(); err != nil {
			t.Errorf("crash %d: %v", stop, err)
		}
	}
}

func TestDirectoryOfAnother(t *testing.T) {
	dir := t.TempDir()
	n := open(t, dir, store.Options{ClusterID: "mine"})
	n.do(put(workload("web", 1)))
	hash := n.hash()
	if _, err := store.Open(dir, store.Options{ClusterID: "mine"}); spec.CodeOf(err) != spec.CodeUnavailable || !strings.Contains(err.Error(), "in use") {
		t.Errorf("opened twice: %v", err)
	}
	if err := n.Close(); err != nil {
		t.Fatal(err)
	}
	_, err := store.Open(dir, store.Options{ClusterID: "theirs"})
	if spec.CodeOf(err) != spec.CodeInvalid || !strings.Contains(err.Error(), "mine") || !strings.Contains(err.Error(), "theirs") {
		t.Errorf("another cluster's: %v", err)
	}
	format := filepath.Join(dir, "FORMAT")
	good, err := os.ReadFile(format)
	if err != nil {
		t.Fatal(err)
	}
	for text, want := range map[string]string{
		`{"format":2,"cluster":"mine"}`: "newer version",
		`{"format":0}`:                  "broken",
		`garbage`:                       "broken",
	} {
		if err := os.WriteFile(format, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := store.Open(dir, store.Options{ClusterID: "mine"}); spec.CodeOf(err) != spec.CodeInvalid || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", text, err)
		}
	}
	if err := os.Remove(format); err != nil {
		t.Fatal(err)
	}
	if _, err := store.Open(dir, store.Options{ClusterID: "mine"}); spec.CodeOf(err) != spec.CodeInvalid {
		t.Errorf("without FORMAT: %v", err)
	}
	if err := os.WriteFile(format, good, 0o600); err != nil {
		t.Fatal(err)
	}
	n = open(t, dir, store.Options{})
	defer n.Close()
	if n.hash() != hash || n.ClusterID() != "mine" {
		t.Error("something was lost")
	}
}

// failing makes writes to the file system fail while it is on.
func failing(fs vfs.FS, on *atomic.Bool, err error) vfs.FS {
	return errorfs.Wrap(fs, errorfs.InjectorFunc(func(op errorfs.Op) error {
		if on.Load() && op.Kind.ReadOrWrite() == errorfs.OpIsWrite {
			return &os.PathError{Op: "write", Path: op.Path, Err: err}
		}
		return nil
	}))
}

func TestReadOnlyDirectory(t *testing.T) {
	fs := vfs.NewMem()
	n := open(t, "data", store.Options{FS: fs})
	n.do(put(workload("web", 1)))
	hash := n.hash()
	if err := n.Close(); err != nil {
		t.Fatal(err)
	}
	var on atomic.Bool
	on.Store(true)
	for _, e := range []error{syscall.EROFS, syscall.EACCES} {
		_, err := store.Open("data", store.Options{FS: failing(fs, &on, e)})
		if spec.CodeOf(err) != spec.CodeDenied || !strings.Contains(err.Error(), "data") {
			t.Errorf("%v: %v", e, err)
		}
	}
	n = open(t, "data", store.Options{FS: fs})
	defer n.Close()
	if n.hash() != hash {
		t.Error("something was lost")
	}
}

// A write that the disk refuses is an error, and the store says that it has
// failed; after a restart all that was acknowledged is there.
func TestDiskFullDuringWrite(t *testing.T) {
	fs := vfs.NewCrashableMem()
	var on atomic.Bool
	n := open(t, "data", store.Options{FS: failing(fs, &on, syscall.ENOSPC)})
	n.do(put(workload("web", 1)))
	if err := n.Checkpoint("ckpt"); err != nil {
		t.Fatal(err)
	}
	hash := n.hash()
	if err := n.Log().Append(1, [][]byte{[]byte("kept")}); err != nil {
		t.Fatal(err)
	}
	on.Store(true)
	err := n.Log().Append(2, [][]byte{[]byte("lost")})
	if spec.CodeOf(err) != spec.CodeExhausted || !strings.Contains(err.Error(), "disk is full") {
		t.Errorf("append: %v", err)
	}
	<-n.Failed()
	if _, err := n.Store.Propose(t.Context(), proposal(put(workload("x", 1)))); spec.CodeOf(err) != spec.CodeExhausted {
		t.Errorf("propose: %v", err)
	}
	if r := n.Apply(9, 1, nil); len(r) != 1 || r[0].GetCode() == "" {
		t.Errorf("apply: %v", r)
	}
	if err := n.Checkpoint("ckpt2"); err == nil {
		t.Error("a failed store made a checkpoint")
	}
	if err := n.Close(); err == nil {
		t.Error("close told nothing")
	}
	m := open(t, "data", store.Options{FS: fs.CrashClone(vfs.CrashCloneCfg{})})
	defer m.Close()
	if got, err := m.Log().Get(1); string(got) != "kept" || err != nil {
		t.Errorf("entry 1: %q %v", got, err)
	}
	if m.hash() != hash {
		t.Error("the state is another")
	}
}

// The same for the state's background work: a flush that fails ends the store,
// not the process.
func TestDiskFullDuringFlush(t *testing.T) {
	fs := vfs.NewMem()
	var on atomic.Bool
	n := open(t, "data", store.Options{FS: failing(fs, &on, syscall.ENOSPC)})
	n.do(put(workload("web", 1)))
	on.Store(true)
	if err := n.Checkpoint("ckpt"); spec.CodeOf(err) != spec.CodeExhausted {
		t.Errorf("checkpoint: %v", err)
	}
	<-n.Failed()
	if spec.CodeOf(n.Err()) != spec.CodeExhausted {
		t.Errorf("failed with %v", n.Err())
	}
}

// nearlyFull reports little room.
type nearlyFull struct {
	vfs.FS
	free *atomic.Uint64
}

func (f nearlyFull) GetDiskUsage(string) (vfs.DiskUsage, error) {
	return vfs.DiskUsage{AvailBytes: f.free.Load(), TotalBytes: 1 << 40}, nil
}

func TestNearlyFullDiskRefuses(t *testing.T) {
	var free atomic.Uint64
	free.Store(20 << 20)
	n := open(t, "data", store.Options{FS: nearlyFull{vfs.NewMem(), &free}})
	defer n.Close()
	write := func() error {
		_, err := n.Store.Propose(t.Context(), proposal(put(workload("web", 1))))
		return err
	}
	if err := write(); spec.CodeOf(err) != spec.CodeExhausted || !strings.Contains(err.Error(), "make room") {
		t.Errorf("with 20 MiB: %v", err)
	}
	// The log has some room left for what the servers themselves must write.
	if err := n.Log().Append(1, [][]byte{{1}}); err != nil {
		t.Error(err)
	}
	free.Store(1 << 20)
	if err := n.Log().Append(2, [][]byte{{1}}); spec.CodeOf(err) != spec.CodeExhausted {
		t.Errorf("with 1 MiB: %v", err)
	}
	free.Store(1 << 30)
	if err := errors.Join(write(), n.Log().Append(2, [][]byte{{1}}), n.Err()); err != nil {
		t.Errorf("with room again: %v", err)
	}
}

// Restore without room leaves the old state.
func TestRestoreFails(t *testing.T) {
	fs := vfs.NewMem()
	var on atomic.Bool
	n := open(t, "data", store.Options{FS: failing(fs, &on, syscall.ENOSPC)})
	n.do(put(workload("web", 1)))
	if err := n.Checkpoint("ckpt"); err != nil {
		t.Fatal(err)
	}
	n.do(put(workload("web", 2)))
	hash := n.hash()
	on.Store(true)
	if err := n.Restore("ckpt"); spec.CodeOf(err) != spec.CodeExhausted {
		t.Errorf("restore: %v", err)
	}
	on.Store(false)
	if n.Err() == nil && n.hash() != hash {
		t.Error("the old state is gone")
	}
}

func TestLog(t *testing.T) {
	dir := t.TempDir()
	n := open(t, dir, store.Options{})
	l := n.Log()
	check := func(first, last uint64) {
		t.Helper()
		f, err := l.First()
		g, err2 := l.Last()
		if f != first || g != last || err != nil || err2 != nil {
			t.Errorf("log is %d to %d (%v, %v), want %d to %d", f, g, err, err2, first, last)
		}
	}
	check(0, 0)
	if err := l.Append(0, [][]byte{{1}}); err == nil {
		t.Error("index 0 was taken")
	}
	var es [][]byte
	for i := range 10 {
		es = append(es, fmt.Append(nil, i+1))
	}
	if err := errors.Join(l.Append(1, es), l.StableSet([]byte("term"), []byte("5"))); err != nil {
		t.Fatal(err)
	}
	check(1, 10)
	if err := l.DeleteRange(8, 10); err != nil {
		t.Fatal(err)
	}
	check(1, 7)
	if err := l.DeleteRange(1, 3); err != nil {
		t.Fatal(err)
	}
	check(4, 7)
	if err := l.Append(20, es); err != nil { // A gap, as a snapshot leaves.
		t.Fatal(err)
	}
	if err := l.DeleteRange(20, 29); err != nil {
		t.Fatal(err)
	}
	check(4, 7)
	if err := n.Close(); err != nil {
		t.Fatal(err)
	}
	n = open(t, dir, store.Options{})
	defer n.Close()
	l = n.Log()
	check(4, 7)
	if got, err := l.Get(5); string(got) != "5" || err != nil {
		t.Errorf("entry 5: %q %v", got, err)
	}
	if got, err := l.Get(8); got != nil || err != nil {
		t.Errorf("entry 8: %q %v", got, err)
	}
	if got, err := l.StableGet([]byte("term")); string(got) != "5" || err != nil {
		t.Errorf("stable: %q %v", got, err)
	}
	if got, err := l.StableGet([]byte("none")); got != nil || err != nil {
		t.Errorf("stable: %q %v", got, err)
	}
	if err := l.DeleteRange(1, 100); err != nil {
		t.Fatal(err)
	}
	check(0, 0)
}

// A log whose tail a crash has cut opens without it; one with a hole in what
// was synced says that it is damaged. Neither panics.
func TestDamagedFiles(t *testing.T) {
	dir := t.TempDir()
	n := open(t, dir, store.Options{})
	n.do(put(workload("web", 1)))
	for i := range 100 {
		if err := n.Log().Append(uint64(i+1), [][]byte{[]byte(strings.Repeat("x", 1000))}); err != nil {
			t.Fatal(err)
		}
	}
	if err := n.Close(); err != nil {
		t.Fatal(err)
	}
	wals, err := filepath.Glob(filepath.Join(dir, "log", "*.log"))
	if err != nil || len(wals) == 0 {
		t.Fatal(wals, err)
	}
	wal := slices.Max(wals)
	raw, err := os.ReadFile(wal)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(wal, raw[:len(raw)*3/4], 0o600); err != nil {
		t.Fatal(err)
	}
	n = open(t, dir, store.Options{})
	last, err := n.Log().Last()
	if err != nil || last == 0 || last > 100 {
		t.Errorf("a cut log ends at %d, %v", last, err)
	}
	if err := n.Close(); err != nil {
		t.Fatal(err)
	}
	for _, pattern := range []string{"log/MANIFEST-*", "state-1/MANIFEST-*"} {
		files, _ := filepath.Glob(filepath.Join(dir, pattern))
		if len(files) == 0 {
			t.Fatal("no ", pattern)
		}
		for _, f := range files {
			if err := os.WriteFile(f, []byte("garbage"), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		_, err := store.Open(dir, store.Options{})
		if spec.CodeOf(err) != spec.CodeInternal || !strings.Contains(err.Error(), filepath.Dir(files[0])) && !strings.Contains(err.Error(), dir) {
			t.Errorf("%s: %v", pattern, err)
		}
	}
	var none *dhowv1.Object
	if spec.MetaOf(none) != nil {
		t.Error("meta of nothing")
	}
}
