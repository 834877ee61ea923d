package wasmrt

import (
	"encoding/binary"
	"errors"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	"dhow.dev/dhow/wasmrt/wasmtest"
)

// FuzzWASI lets a guest call preview 1 with any numbers, and any bytes in its
// memory where they may point to. Whatever it does, the host does not fail, and
// nothing outside of the guest's mount changes.
func FuzzWASI(f *testing.F) {
	e, err := NewEngine(f.Context(), Options{CacheDir: wasmtest.CodeDir(f)})
	if err != nil {
		f.Fatal(err)
	}
	defer e.Close()
	source, err := filepath.Abs(filepath.Join("testdata", "reactor", "wasi.c"))
	if err != nil {
		f.Fatal(err)
	}
	m, err := e.CompileFile(f.Context(), wasmtest.Reactor(f, source))
	if err != nil {
		f.Fatal(err)
	}
	for _, s := range seedCalls() {
		f.Add(s.memory, s.calls)
	}
	f.Fuzz(func(t *testing.T, memory, calls []byte) {
		outside := t.TempDir()
		mount := filepath.Join(outside, "mount")
		if err := errors.Join(os.Mkdir(mount, 0o755), os.WriteFile(filepath.Join(mount, "file"), []byte("content"), 0o600), os.Symlink("../secret", filepath.Join(mount, "out")), os.WriteFile(filepath.Join(outside, "secret"), []byte("hidden"), 0o600)); err != nil {
			t.Fatal(err)
		}
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		i, err := m.New(t.Context(), Config{
			Mounts:    []Mount{{Host: mount, Guest: "/m", Writable: true}},
			Listeners: []net.Listener{l},
			Limits:    Limits{Timeout: 20 * time.Millisecond, Files: 8, Memory: 4 << 20},
		})
		if err != nil {
			t.Fatal(err)
		}
		callAll(t, i, memory, calls)
		if err := i.Close(); err != nil {
			t.Fatal(err)
		}
		if b, err := os.ReadFile(filepath.Join(outside, "secret")); err != nil || string(b) != "hidden" {
			t.Errorf("the file outside holds %q, %v", b, err)
		}
		if all, err := os.ReadDir(outside); err != nil || len(all) != 2 {
			t.Errorf("outside are %v, %v", all, err)
		}
	})
}

// A call in the fuzzer's bytes: the function, then nine parameters. A
// parameter below points says where in the guest's room; others are as they are.
const (
	callSize = 1 + 9*4
	points   = 1 << 31
)

func callAll(t *testing.T, i *Instance, memory, calls []byte) {
	t.Helper()
	at, err := i.Call(t.Context(), "room")
	if err != nil {
		t.Fatal(err)
	}
	room, ok := i.module.Memory().Read(uint32(at[0]), 1<<16)
	if !ok {
		t.Fatal("no room")
	}
	copy(room, memory)
	for ; len(calls) >= callSize; calls = calls[callSize:] {
		args := []uint64{uint64(calls[0] % 40)}
		for n := range 9 {
			v := binary.LittleEndian.Uint32(calls[1+4*n:])
			if v&points != 0 {
				v = uint32(at[0]) + v&(1<<16-1)
			}
			args = append(args, uint64(int64(int32(v)))) //nolint:gosec // any bits
		}
		if _, err := i.Call(t.Context(), "call", args...); err != nil {
			e, ok := errors.AsType[*ExitError](err)
			if !ok || e.Exit.Reason != TimedOutReason {
				t.Fatalf("function %d%v: %v", args[0], args[1:], err)
			}
			return
		}
	}
}

type seedCall struct{ memory, calls []byte }

// seedCalls are calls that do something: open, read, write, list, poll, accept.
func seedCalls() []seedCall {
	const at = points // of the room
	memory := make([]byte, 1024)
	copy(memory, "file\x00out\x00new")
	binary.LittleEndian.PutUint32(memory[64:], at+128) // an iovec
	binary.LittleEndian.PutUint32(memory[68:], 64)
	memory[200+8] = eventFdRead // a subscription to the listener
	memory[200+16] = 3
	memory[248+8] = eventClock
	call := func(f byte, args ...uint32) []byte {
		b := append([]byte{f}, make([]byte, callSize-1)...)
		for n, a := range args {
			binary.LittleEndian.PutUint32(b[1+4*n:], a)
		}
		return b
	}
	var all []seedCall
	for _, calls := range [][][]byte{
		{call(25, 4, 1, at, 4, 0, 0xffffffff, 0xffffffff, 0, at+400), call(14, 5, at+64, 1, at+404), call(17, 5, 0, 0, at+404), call(20, 5, at+64, 1, at+404), call(10, 5, at+64, 1, 3, at+404), call(2, 5)},
		{call(25, 4, 1, at+5, 3, 0, 0xffffffff, 0xffffffff, 0, at+400), call(24, 4, 0, at+5, 3, 4, at+9, 3), call(28, 4, at, 4, 4, at+9, 3), call(29, at+5, 3, 4, at+9, 3)},
		{call(15, 4, at+500, 200, 0, at+404), call(15, 4, at+500, 30, 1, at+404), call(12, 4, at+500, 2), call(11, 3, at+500)},
		{call(31, at+200, at+500, 2, at+404), call(33, 3, 4, at+404), call(5, 3, 4), call(33, 3, 4, at+404), call(34, 3, at+64, 1, 0, at+404, at+408)},
		{call(31, at+200, at+210, 2, at+204), call(32, 0, 0xffffffff), call(20, 1, at+64, 0x20000000, at), call(16, 4, 0), call(16, 1, 0xffffffff)},
		{call(21, 4, at+9, 3), call(22, 4, 1, at, 4, at+500), call(23, 4, 1, at, 4, 1, 1, 5), call(26, 4, at+5, 3, at+500, 100, at+404), call(27, 4, at+9, 3), call(30, 4, at, 4)},
	} {
		var flat []byte
		for _, c := range calls {
			flat = append(flat, c...)
		}
		all = append(all, seedCall{memory, flat})
	}
	return all
}
