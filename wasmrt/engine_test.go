package wasmrt_test

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"dhow.dev/dhow/wasmrt"
	"dhow.dev/dhow/wasmrt/wasmtest"
)

const header = "\x00asm\x01\x00\x00\x00"

// section makes a section of a module.
func section(id byte, content string) string {
	return string([]byte{id, byte(len(content))}) + content
}

func str(s string) string { return string([]byte{byte(len(s))}) + s }

// Parts of small modules: one function type () -> (), a function of it, an
// exported memory, an exported _start, and the function's body.
var (
	types  = section(1, "\x01\x60\x00\x00")
	funcs  = section(3, "\x01\x00")
	memory = section(5, "\x01\x00\x01")
	start  = section(7, "\x02"+str("memory")+"\x02\x00"+str("_start")+"\x00\x00")
	body   = section(10, "\x01\x02\x00\x0b")
)

func imports(all ...string) string {
	s := string([]byte{byte(len(all))})
	for _, i := range all {
		module, name, _ := strings.Cut(i, "|")
		s += str(module) + str(name) + "\x00\x00"
	}
	return section(2, s)
}

func TestSmallestCommand(t *testing.T) {
	e := newEngine(t, wasmrt.Options{})
	m, err := e.Compile(t.Context(), []byte(header+types+funcs+memory+start+body))
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	if exit, err := m.Run(t.Context(), wasmrt.Config{}); err != nil || exit.Code != 0 {
		t.Errorf("%+v, %v", exit, err)
	}
}

// TestBadModules: each kind of bad file has a reason, and a message that says
// what it is.
func TestBadModules(t *testing.T) {
	e := newEngine(t, wasmrt.Options{MaxModuleBytes: 8 << 20})
	whole := wasmtest.Bytes(t, "c/probe.c")
	flipped := bytes.Clone(whole)
	for n := 12; n < 30; n++ { // in the types
		flipped[n] ^= 0x55
	}
	for name, c := range map[string]struct {
		wasm, reason string
		says         []string
	}{
		"empty":          {"", wasmrt.ReasonEmpty, []string{"empty"}},
		"four bytes":     {"\x00asm", wasmrt.ReasonTruncated, []string{"4 bytes"}},
		"half":           {string(whole[:len(whole)/2]), wasmrt.ReasonTruncated, []string{"cut off"}},
		"one byte less":  {string(whole[:len(whole)-1]), wasmrt.ReasonTruncated, []string{"cut off"}},
		"a script":       {"#!/bin/sh\necho", wasmrt.ReasonNotWasm, []string{"no WebAssembly module", "#!/bin/s"}},
		"text format":    {"(module)", wasmrt.ReasonNotWasm, []string{"wat2wasm"}},
		"native":         {"\x7fELF\x02\x01\x01", wasmrt.ReasonNotWasm, []string{"native program"}},
		"gzip":           {"\x1f\x8b\x08\x00", wasmrt.ReasonNotWasm, []string{"gzip"}},
		"version 2":      {"\x00asm\x02\x00\x00\x00", wasmrt.ReasonNotWasm, []string{"version 2"}},
		"component":      {"\x00asm\x0d\x00\x01\x00", wasmrt.ReasonComponent, []string{"component", "preview 2", "wasip1"}},
		"too large":      {string(make([]byte, 8<<20+1)), wasmrt.ReasonTooLarge, []string{"8388609", "8388608"}},
		"flipped bits":   {string(flipped), wasmrt.ReasonBroken, nil},
		"invalid code":   {header + types + funcs + memory + start + section(10, "\x01\x03\x00\x6a\x0b"), wasmrt.ReasonBroken, []string{"not valid"}},
		"no code":        {header + types + funcs + memory + start, wasmrt.ReasonBroken, nil},
		"import cut off": {header + section(2, "\x02"+str("a")), wasmrt.ReasonBroken, []string{"section 2"}},
		"wasi_unstable":  {header + types + imports("wasi_unstable|proc_exit"), wasmrt.ReasonUnstable, []string{"wasi_unstable", "preview 1"}},
		"unknown imports": {
			header + types + imports("env|log", "wasi_snapshot_preview1|sched_yield", "host|call", "wasi_snapshot_preview1|fd_dance"),
			wasmrt.ReasonUnknownImport,
			[]string{"env.log", "host.call", "wasi_snapshot_preview1.fd_dance"},
		},
		"imported memory":  {header + section(2, "\x01"+str("env")+str("memory")+"\x02\x00\x01"), wasmrt.ReasonUnknownImport, []string{"env.memory (memory)"}},
		"escape sequences": {header + types + imports("\x1b[2J|x"), wasmrt.ReasonUnknownImport, []string{`"\x1b[2J".x`}},
		"import of wrong type": {
			header + types + imports("wasi_snapshot_preview1|sched_yield") + funcs + memory + section(7, "\x02"+str("memory")+"\x02\x00"+str("_start")+"\x00\x01") + body,
			wasmrt.ReasonUnknownImport,
			[]string{"sched_yield", "parameters"},
		},
		"_start with parameters": {header + section(1, "\x01\x60\x01\x7f\x00") + funcs + memory + start + body, wasmrt.ReasonNoStart, []string{"parameters"}},
		"no memory":              {header + types + imports("wasi_snapshot_preview1|sched_yield") + funcs + section(7, "\x01"+str("_start")+"\x00\x01") + body, wasmrt.ReasonNoMemory, []string{"memory"}},
	} {
		m, err := e.Compile(t.Context(), []byte(c.wasm))
		if err == nil {
			m.Close()
			t.Errorf("%s: compiled", name)
			continue
		}
		got, ok := errors.AsType[*wasmrt.Error](err)
		if !ok || got.Reason != c.reason || !got.Permanent() {
			t.Errorf("%s: got %v, want %s", name, err, c.reason)
			continue
		}
		for _, s := range c.says {
			if !strings.Contains(err.Error(), s) {
				t.Errorf("%s: %q does not say %q", name, err, s)
			}
		}
		if strings.Contains(err.Error(), "unknown imports") && strings.Contains(err.Error(), "sched_yield") {
			t.Errorf("%s: names an import that there is: %v", name, err)
		}
	}
	_, err := e.CompileFile(t.Context(), filepath.Join(t.TempDir(), "none.wasm"))
	if got, ok := errors.AsType[*wasmrt.Error](err); !ok || got.Reason != wasmrt.ReasonUnreadable || got.Permanent() || !errors.Is(err, os.ErrNotExist) {
		t.Errorf("missing file: %v", err)
	}
	big := filepath.Join(t.TempDir(), "big.wasm")
	if err := os.WriteFile(big, make([]byte, 8<<20+1), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := e.CompileFile(t.Context(), big); err == nil || !strings.Contains(err.Error(), big) {
		t.Errorf("large file: %v", err)
	}
}

// TestNoCommand: a module without _start has functions to call, and cannot be
// run.
func TestNoCommand(t *testing.T) {
	e := newEngine(t, wasmrt.Options{})
	for name, c := range map[string]struct{ export, says string }{
		"no export": {"other", "_start"},
		"library":   {"_initialize", "reactor"},
	} {
		m, err := e.Compile(t.Context(), []byte(header+types+funcs+memory+section(7, "\x02"+str("memory")+"\x02\x00"+str(c.export)+"\x00\x00")+body))
		if err != nil {
			t.Fatal(err)
		}
		defer m.Close()
		_, err = m.Run(t.Context(), wasmrt.Config{})
		if got, ok := errors.AsType[*wasmrt.Error](err); !ok || got.Reason != wasmrt.ReasonNoStart || !strings.Contains(got.Message, c.says) {
			t.Errorf("%s: %v", name, err)
		}
		if _, err := m.Start(t.Context(), wasmrt.Config{}); err == nil {
			t.Errorf("%s: it starts", name)
		}
		i, err := m.New(t.Context(), wasmrt.Config{})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := i.Call(t.Context(), c.export); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if err := i.Close(); err != nil {
			t.Error(err)
		}
	}
}

func TestCompileOnceForMany(t *testing.T) {
	dir := t.TempDir()
	e := newEngine(t, wasmrt.Options{CacheDir: dir})
	wasm := wasmtest.Bytes(t, "c/probe.c")
	var wg sync.WaitGroup
	for n := range 16 {
		wg.Go(func() {
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			if n%4 == 3 {
				cancel() // who gives up does not stop the others
			}
			m, err := e.Compile(ctx, wasm)
			if err != nil {
				if n%4 != 3 || !errors.Is(err, context.Canceled) {
					t.Errorf("caller %d: %v", n, err)
				}
				return
			}
			defer m.Close()
			if exit, err := m.Run(t.Context(), wasmrt.Config{}); err != nil || exit.Code != 0 {
				t.Errorf("caller %d: %+v, %v", n, exit, err)
			}
		})
	}
	wg.Wait()
	if got := machineCode(t, dir); len(got) != 1 {
		t.Errorf("machine code of one module: %v", got)
	}
}

func TestCancelledCompile(t *testing.T) {
	e := newEngine(t, wasmrt.Options{})
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	wasm := wasmtest.Bytes(t, "c/probe.c")
	if _, err := e.Compile(ctx, wasm); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
	m, err := e.Compile(t.Context(), wasm) // is not harmed by it
	if err != nil {
		t.Fatal(err)
	}
	m.Close()
}

// machineCode lists the files of wazero's in a cache.
func machineCode(t *testing.T, dir string) []string {
	t.Helper()
	all, err := filepath.Glob(filepath.Join(dir, "wazero-*", "*"))
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// runFrom compiles and runs the C guest in a new engine on the cache.
func runFrom(t *testing.T, dir string, most int64, sources ...string) {
	t.Helper()
	e := newEngine(t, wasmrt.Options{CacheDir: dir, MaxCacheBytes: most})
	for _, s := range sources {
		m, err := e.CompileFile(t.Context(), wasmtest.Guest(t, s))
		if err != nil {
			t.Fatal(err)
		}
		if exit, err := m.Run(t.Context(), wasmrt.Config{Args: []string{"probe", "exit", "0"}}); err != nil || exit.Code != 0 {
			t.Errorf("%s: %+v, %v", s, exit, err)
		}
		m.Close()
	}
}

func TestCacheOnDisk(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "code")
	runFrom(t, dir, 0, "c/probe.c")
	if s, err := os.Stat(dir); err != nil || s.Mode().Perm() != 0o700 {
		t.Errorf("mode %v, %v", s.Mode(), err)
	}
	first := machineCode(t, dir)
	if len(first) != 1 {
		t.Fatalf("machine code: %v", first)
	}
	before, err := os.Stat(first[0])
	if err != nil {
		t.Fatal(err)
	}
	runFrom(t, dir, 0, "c/probe.c")
	if after, err := os.Stat(first[0]); err != nil || !os.SameFile(before, after) {
		t.Errorf("it was compiled again: %v", err)
	}

	// Whatever happens to the files, modules run, and the cache heals.
	damage := map[string]func(){
		"cut off":      func() { check(t, os.Truncate(first[0], 1000)) },
		"empty":        func() { check(t, os.Truncate(first[0], 0)) },
		"flipped bit":  func() { flip(t, first[0], 60) },
		"missing":      func() { check(t, os.Remove(first[0])) },
		"no entry":     func() { check(t, os.RemoveAll(filepath.Join(dir, "index"))) },
		"broken entry": func() { breakEntries(t, dir) },
		"other maker":  func() { otherMaker(t, dir) },
		"left over":    func() { check(t, os.WriteFile(first[0]+".123.tmp", []byte("x"), 0o600)) },
	}
	for name, f := range damage {
		f()
		runFrom(t, dir, 0, "c/probe.c")
		if got := machineCode(t, dir); len(got) != 1 || got[0] != first[0] {
			t.Errorf("%s: machine code is %v", name, got)
		}
		if s, err := os.Stat(first[0]); err != nil || s.Size() != before.Size() {
			t.Errorf("%s: not healed: %v", name, err)
		}
	}
}

// TestCacheDamagedWhileOpen: an engine whose directory vanishes goes on.
func TestCacheDamagedWhileOpen(t *testing.T) {
	dir := t.TempDir()
	e := newEngine(t, wasmrt.Options{CacheDir: dir, MaxIdleBytes: -1})
	for range 2 {
		m, err := e.CompileFile(t.Context(), wasmtest.Guest(t, "c/probe.c"))
		if err != nil {
			t.Fatal(err)
		}
		if exit, err := m.Run(t.Context(), wasmrt.Config{}); err != nil || exit.Code != 0 {
			t.Errorf("%+v, %v", exit, err)
		}
		m.Close()
		check(t, os.RemoveAll(dir))
	}
}

func TestCacheIsBounded(t *testing.T) {
	dir := t.TempDir()
	runFrom(t, dir, 0, "c/probe.c", "rust/probe.rs")
	if got := machineCode(t, dir); len(got) != 2 {
		t.Fatalf("machine code: %v", got)
	}
	var c int64
	for _, f := range machineCode(t, dir) {
		if s, err := os.Stat(f); err == nil && (c == 0 || s.Size() < c) {
			c = s.Size()
		}
	}
	runFrom(t, dir, 0, "rust/probe.rs", "c/probe.c") // C is the last used
	runFrom(t, dir, c)                               // room for it alone
	left := machineCode(t, dir)
	if len(left) != 1 {
		t.Fatalf("left: %v", left)
	}
	if s, err := os.Stat(left[0]); err != nil || s.Size() != c {
		t.Errorf("the wrong one is left: %v, %v", s.Size(), err)
	}
	runFrom(t, dir, c, "rust/probe.rs") // does not fit at all, and runs
}

func TestModulesInMemory(t *testing.T) {
	wasm := wasmtest.Bytes(t, "c/probe.c")
	for _, c := range []struct {
		idle int64
		kept bool
	}{{0, true}, {-1, false}, {1 << 10, false}} {
		e := newEngine(t, wasmrt.Options{MaxIdleBytes: c.idle})
		m, err := e.Compile(t.Context(), wasm)
		if err != nil {
			t.Fatal(err)
		}
		other, ok := e.Lookup(m.Digest())
		if !ok {
			t.Fatal("a module in use is not found")
		}
		i, err := other.Start(t.Context(), wasmrt.Config{Args: []string{"probe", "sleep", "3600000"}})
		if err != nil {
			t.Fatal(err)
		}
		m.Close()
		m.Close()
		other.Close()
		if _, err := m.Start(t.Context(), wasmrt.Config{}); err == nil {
			t.Error("a closed module starts")
		}
		again, ok := e.Lookup(m.Digest())
		if !ok {
			t.Error("a module that an instance uses is gone")
		} else {
			again.Close()
		}
		i.Stop()
		i.Wait()
		if _, ok := e.Lookup(m.Digest()); ok != c.kept {
			t.Errorf("MaxIdleBytes %d: kept is %v", c.idle, ok)
		}
	}
}

// TestCloseEndsAll: instances end, later verbs say that it is closed.
func TestCloseEndsAll(t *testing.T) {
	e := newEngine(t, wasmrt.Options{CacheDir: wasmtest.CodeDir(t)})
	m := load(t, e, "c/probe.c")
	var all []*wasmrt.Instance
	for _, what := range []string{"spin", "sleep", "spin"} {
		i, err := m.Start(t.Context(), wasmrt.Config{Args: []string{"probe", what, "3600000"}})
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, i)
	}
	check(t, e.Close())
	for _, i := range all {
		if got := i.Wait(); got.Reason != wasmrt.StoppedReason || i.Memory() != 0 {
			t.Errorf("exit is %+v with %d bytes", got, i.Memory())
		}
	}
	if e.Running() != 0 {
		t.Errorf("%d instances left", e.Running())
	}
	_, err := m.Start(t.Context(), wasmrt.Config{})
	_, err2 := e.Compile(t.Context(), wasmtest.Bytes(t, "c/probe.c"))
	for _, err := range []error{err, err2} {
		if got, ok := errors.AsType[*wasmrt.Error](err); !ok || got.Reason != wasmrt.ReasonClosed {
			t.Errorf("after Close: %v", err)
		}
	}
	check(t, e.Close())
}

func TestInterpreter(t *testing.T) {
	e := newEngine(t, wasmrt.Options{Interpret: true})
	m := load(t, e, "c/probe.c")
	if exit, out, _ := run(t, m, wasmrt.Config{}, "args", "x"); exit.Code != 0 || out != "probe\nargs\nx\n" {
		t.Errorf("%+v %q", exit, out)
	}
	w := lineWriter{make(chan struct{}, 1)}
	i, err := m.Start(t.Context(), wasmrt.Config{Args: []string{"probe", "spin"}, Stdout: w})
	if err != nil {
		t.Fatal(err)
	}
	<-w.wrote
	i.Stop()
	if got := i.Wait(); got.Reason != wasmrt.StoppedReason {
		t.Errorf("exit is %+v", got)
	}
}

func FuzzCompile(f *testing.F) {
	e := newEngine(f, wasmrt.Options{MaxIdleBytes: -1})
	f.Add([]byte(header + types + funcs + memory + start + body))
	f.Add([]byte(header + types + imports("env|log") + funcs + memory + start + body))
	f.Add([]byte("\x00asm\x0d\x00\x01\x00"))
	f.Fuzz(func(t *testing.T, wasm []byte) {
		m, err := e.Compile(t.Context(), wasm)
		if err != nil {
			if got, ok := errors.AsType[*wasmrt.Error](err); !ok || got.Reason == "" || got.Message == "" {
				t.Errorf("an error without a reason: %v", err)
			}
			return
		}
		m.Close()
	})
}

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func flip(t *testing.T, file string, at int64) {
	t.Helper()
	b, err := os.ReadFile(file)
	check(t, err)
	b[at] ^= 1
	check(t, os.WriteFile(file, b, 0o600))
}

// otherMaker is what an upgrade leaves.
func otherMaker(t *testing.T, dir string) {
	t.Helper()
	all, err := filepath.Glob(filepath.Join(dir, "index", "*"))
	check(t, err)
	for _, f := range all {
		b, err := os.ReadFile(f)
		check(t, err)
		check(t, os.WriteFile(f, bytes.Replace(b, []byte(`"maker":"`), []byte(`"maker":"old`), 1), 0o600))
	}
}

func breakEntries(t *testing.T, dir string) {
	t.Helper()
	all, err := filepath.Glob(filepath.Join(dir, "index", "*"))
	check(t, err)
	for _, f := range all {
		check(t, os.WriteFile(f, []byte(`{"file":"../../etc/passwd"}`), 0o600))
	}
}
