package wasmrt_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"dhow.dev/dhow/wasmrt"
	"dhow.dev/dhow/wasmrt/wasmtest"
)

func checkpoint(tb testing.TB, i *wasmrt.Instance) []byte {
	tb.Helper()
	var b bytes.Buffer
	if err := i.Checkpoint(context.Background(), &b); err != nil {
		tb.Fatal(err)
	}
	return b.Bytes()
}

func restore(tb testing.TB, m *wasmrt.Module, saved []byte) *wasmrt.Instance {
	tb.Helper()
	i, err := m.Restore(context.Background(), bytes.NewReader(saved), wasmrt.Config{})
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { _ = i.Close() })
	return i
}

func newInstance(tb testing.TB, m *wasmrt.Module) *wasmrt.Instance {
	tb.Helper()
	i, err := m.New(context.Background(), wasmrt.Config{})
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { _ = i.Close() })
	return i
}

// TestCheckpointOfLanguages: a restored guest goes on where it was saved, and
// so does the one that was saved.
func TestCheckpointOfLanguages(t *testing.T) {
	e := newEngine(t, wasmrt.Options{CacheDir: wasmtest.CodeDir(t)})
	for _, language := range []string{".go", ".c", ".rs"} {
		t.Run(language, func(t *testing.T) {
			m := reactor(t, e, states+language)
			for name, i := range map[string]*wasmrt.Instance{"plain": newInstance(t, m), "copy": clone(t, snapshot(t, m))} {
				call(t, i, "add", 40)
				saved := checkpoint(t, i)
				if got := call(t, i, "add", 2); got != 42 {
					t.Errorf("%s: the saved one has counted to %d", name, got)
				}
				r := restore(t, m, saved)
				if got := call(t, r, "add", 1); got != 41 {
					t.Errorf("%s: the restored one has counted to %d", name, got)
				}
				if got, want := call(t, r, "word", 500), call(t, i, "word", 500); got != want {
					t.Errorf("%s: word is %d and not %d", name, got, want)
				}
				t.Logf("%s: %d bytes", name, len(saved))
			}
		})
	}
}

// TestCheckpointOfGoroutines: goroutines, channels, garbage and timers of a Go
// guest go on.
func TestCheckpointOfGoroutines(t *testing.T) {
	e := newEngine(t, wasmrt.Options{CacheDir: wasmtest.CodeDir(t)})
	m := reactor(t, e, states+".go")
	i := newInstance(t, m)
	call(t, i, "work", 30)
	sum := call(t, i, "churn", 5000)
	r := restore(t, m, checkpoint(t, i))
	if got := call(t, r, "work", 12); got != 42 {
		t.Errorf("the goroutine's sum is %d", got)
	}
	if got := call(t, r, "churn", 0); got != sum {
		t.Errorf("what it kept sums up to %d and not %d", got, sum)
	}
	if got := time.Duration(call(t, r, "nap", uint64(time.Millisecond))); got < time.Millisecond {
		t.Errorf("it slept %v", got)
	}
}

// TestClockContinues: the restored guest's monotonic clock goes on from where
// it was, on whatever engine.
func TestClockContinues(t *testing.T) {
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	clock := func() time.Time { return now }
	m := reactor(t, newEngine(t, wasmrt.Options{CacheDir: wasmtest.CodeDir(t), Now: clock}), states+".go")
	i := newInstance(t, m)
	now = now.Add(time.Hour)
	saved := checkpoint(t, i)
	if got := time.Duration(call(t, i, "age")); got != time.Hour {
		t.Fatalf("it is %v old", got)
	}
	now = now.Add(24 * time.Hour)
	m = reactor(t, newEngine(t, wasmrt.Options{CacheDir: wasmtest.CodeDir(t), Now: clock}), states+".go")
	r := restore(t, m, saved)
	now = now.Add(time.Minute)
	if got := time.Duration(call(t, r, "age")); got != time.Hour+time.Minute {
		t.Errorf("it is %v old", got)
	}
	again := restore(t, m, checkpoint(t, r))
	if got := time.Duration(call(t, again, "age")); got != time.Hour+time.Minute {
		t.Errorf("restored again it is %v old", got)
	}
}

// TestRestoreInAnotherProcess runs this test's program again.
func TestRestoreInAnotherProcess(t *testing.T) {
	const variable = "DHOW_TEST_RESTORE"
	e := newEngine(t, wasmrt.Options{CacheDir: wasmtest.CodeDir(t)})
	m := reactor(t, e, states+".go")
	if path := os.Getenv(variable); path != "" {
		saved, err := os.ReadFile(path) //nolint:gosec // our own file
		if err != nil {
			t.Fatal(err)
		}
		r := restore(t, m, saved)
		if a, b := call(t, r, "add", 2), call(t, r, "work", 2); a != 42 || b != 43 {
			t.Errorf("it goes on with %d and %d", a, b)
		}
		return
	}
	i := newInstance(t, m)
	call(t, i, "add", 40)
	call(t, i, "work", 41)
	path := filepath.Join(t.TempDir(), "checkpoint")
	if err := os.WriteFile(path, checkpoint(t, i), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestRestoreInAnotherProcess$", "-test.v") //nolint:gosec // ourselves
	cmd.Env = append(os.Environ(), variable+"="+path)
	out, err := cmd.CombinedOutput()
	if err != nil || !strings.Contains(string(out), "PASS: TestRestoreInAnotherProcess") {
		t.Errorf("%v\n%s", err, out)
	}
}

// TestCheckpointRefuses what cannot be carried, by name.
func TestCheckpointRefuses(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "file"), []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	e := newEngine(t, wasmrt.Options{CacheDir: wasmtest.CodeDir(t)})
	m := reactor(t, e, states+".go")
	i, err := m.New(t.Context(), wasmrt.Config{Mounts: []wasmrt.Mount{{Host: dir, Guest: "/data"}}})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = i.Close() }()
	if call(t, i, "open") != 1 {
		t.Fatal("it cannot open the file")
	}
	var b bytes.Buffer
	err = i.Checkpoint(t.Context(), &b)
	if reason(err) != wasmrt.ReasonCannotCopy || !strings.Contains(err.Error(), "an open file") || b.Len() > 0 {
		t.Errorf("with an open file: %v, %d bytes", err, b.Len())
	}
	call(t, i, "shut")
	checkpoint(t, i)

	if _, err := i.Call(t.Context(), "fail"); err == nil {
		t.Fatal("it did not fail")
	}
	if _, ok := errors.AsType[*wasmrt.ExitError](i.Checkpoint(t.Context(), &b)); !ok {
		t.Error("after the end it can be saved")
	}
}

// TestCheckpointDuringACall: it says so.
func TestCheckpointDuringACall(t *testing.T) {
	e := newEngine(t, wasmrt.Options{CacheDir: wasmtest.CodeDir(t)})
	m := reactor(t, e, states+".c")
	in := make(chan error, 1)
	var i *wasmrt.Instance
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	i, err := m.New(ctx, wasmrt.Config{})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = i.Close() }()
	err = i.Checkpoint(ctx, writerFunc(func(p []byte) (int, error) {
		select {
		case in <- i.Checkpoint(ctx, &bytes.Buffer{}):
		default:
		}
		return len(p), nil
	}))
	if err != nil {
		t.Fatal(err)
	}
	if err := <-in; reason(err) != wasmrt.ReasonInUse {
		t.Errorf("a second one at the same time: %v", err)
	}
}

type writerFunc func([]byte) (int, error)

func (f writerFunc) Write(p []byte) (int, error) { return f(p) }

// TestRestoreRefuses what does not fit, and what is damaged.
func TestRestoreRefuses(t *testing.T) {
	e := newEngine(t, wasmrt.Options{CacheDir: wasmtest.CodeDir(t)})
	m, other := reactor(t, e, states+".c"), reactor(t, e, states+".rs")
	i := newInstance(t, m)
	call(t, i, "add", 1)
	saved := checkpoint(t, i)
	version := bytes.Clone(saved)
	version[8]++
	for name, c := range map[string]struct {
		m      *wasmrt.Module
		saved  []byte
		config wasmrt.Config
		want   string
	}{
		"another module":  {other, saved, wasmrt.Config{}, wasmrt.ReasonMismatch},
		"another version": {m, version, wasmrt.Config{}, wasmrt.ReasonMismatch},
		"empty":           {m, nil, wasmrt.Config{}, wasmrt.ReasonDamaged},
		"something else":  {m, []byte("something else, longer than the head"), wasmrt.Config{}, wasmrt.ReasonDamaged},
		"little memory":   {m, saved, wasmrt.Config{Limits: wasmrt.Limits{Memory: 64 << 10}}, wasmrt.ReasonMemoryLimit},
	} {
		if _, err := c.m.Restore(t.Context(), bytes.NewReader(c.saved), c.config); reason(err) != c.want {
			t.Errorf("%s: %v", name, err)
		}
	}
	running := e.Running()
	for at := 0; at < len(saved); at += 1 + at/300*250 { // the head, and some of the pages
		damaged := bytes.Clone(saved)
		damaged[at] ^= 0x10
		if r, err := m.Restore(t.Context(), bytes.NewReader(damaged), wasmrt.Config{}); err == nil {
			_ = r.Close()
			t.Fatalf("byte %d was damaged, and it was restored", at)
		}
		if at%7 == 0 {
			if _, err := m.Restore(t.Context(), bytes.NewReader(saved[:at]), wasmrt.Config{}); reason(err) != wasmrt.ReasonDamaged {
				t.Fatalf("cut off at %d: %v", at, err)
			}
		}
	}
	if n := e.Running(); n != running {
		t.Errorf("%d instances are left of attempts that failed", n-running)
	}
}

// sealed is a checkpoint of parts, with the sums that they should have.
func sealed(header, runs []byte) []byte {
	table := crc32.MakeTable(crc32.Castagnoli)
	b := append([]byte("dhowckp\n"), 1, 0, 0, 0)
	b = binary.LittleEndian.AppendUint32(b, uint32(len(header))) //nolint:gosec // a test's
	b = append(b, header...)
	b = binary.LittleEndian.AppendUint32(b, crc32.Checksum(b, table))
	b = append(b, runs...)
	return binary.LittleEndian.AppendUint32(b, crc32.Checksum(b, table))
}

// FuzzRestore: whatever bytes there are, also with the right sums, they are
// restored or refused, and a guest that was restored can be called.
func FuzzRestore(f *testing.F) {
	e := newEngine(f, wasmrt.Options{CacheDir: wasmtest.CodeDir(f)})
	m := reactor(f, e, states+".c")
	i := newInstance(f, m)
	whole := checkpoint(f, i)
	const head, sum = 16, 4
	size := binary.LittleEndian.Uint32(whole[head-4:])
	header, runs := whole[head:head+size], whole[head+size+sum:len(whole)-sum]
	if !bytes.Equal(sealed(header, runs), whole) {
		f.Fatal("the format is another")
	}
	end := make([]byte, 8)
	f.Add(header, runs)
	f.Add(header, end)
	f.Add(header, append(append([]byte{1, 0, 0, 0, 1, 0, 0, 0}, make([]byte, 4096)...), end...))
	f.Fuzz(func(t *testing.T, header, runs []byte) {
		c := wasmrt.Config{Limits: wasmrt.Limits{Memory: 16 << 20, Timeout: time.Second}}
		for _, saved := range [][]byte{sealed(header, runs), append(header, runs...)} {
			r, err := m.Restore(context.Background(), bytes.NewReader(saved), c)
			if err != nil {
				if reason(err) == "" {
					t.Fatalf("an error of another kind: %v", err)
				}
				continue
			}
			_, _ = r.Call(context.Background(), "add", 1)
			_ = r.Close()
		}
	})
}
