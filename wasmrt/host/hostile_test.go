package host_test

import (
	"context"
	"encoding/binary"
	"errors"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"dhow.dev/dhow/wasmrt"
	"dhow.dev/dhow/wasmrt/host"
	"dhow.dev/dhow/wasmrt/wasmtest"
)

// raw is a guest that calls the functions with any numbers.
type raw struct {
	tb   testing.TB
	ctx  context.Context
	i    *wasmrt.Instance
	room uint32
}

func newRaw(tb testing.TB, m *wasmrt.Module, p host.Policy) *raw {
	tb.Helper()
	ctx := host.With(tb.Context(), p)
	i, err := m.New(ctx, wasmrt.Config{Limits: wasmrt.Limits{Memory: 4 << 20}})
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { _ = i.Close() })
	r := &raw{tb, ctx, i, 0}
	r.room = uint32(r.do("room"))
	return r
}

func rawModule(tb testing.TB) *wasmrt.Module {
	tb.Helper()
	source, err := filepath.Abs("testdata/raw.c")
	if err != nil {
		tb.Fatal(err)
	}
	m, err := newEngine(tb).CompileFile(tb.Context(), wasmtest.Reactor(tb, source))
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(m.Close)
	return m
}

func (r *raw) do(name string, args ...uint64) uint64 {
	r.tb.Helper()
	out, err := r.i.Call(r.ctx, name, args...)
	if err != nil {
		r.tb.Fatal(name, args, err)
	}
	if len(out) == 0 {
		return 0
	}
	return out[0]
}

// put copies text to the beginning of the room, and returns where it is.
func (r *raw) put(text string) (at, size uint64) {
	r.tb.Helper()
	b := append([]byte(text), make([]byte, 8)...)
	for n := 0; n < len(text); n += 8 {
		r.do("put", uint64(n), binary.LittleEndian.Uint64(b[n:]))
	}
	return uint64(r.room), uint64(len(text))
}

// call calls a function by its place in host.Modules.
func (r *raw) call(name string, args ...uint64) int32 {
	r.tb.Helper()
	for n, f := range host.Modules()[0].Functions {
		if f.Name == name {
			all := append([]uint64{uint64(n)}, args...)
			return int32(uint32(r.do("call", append(all, make([]uint64, 7-len(all))...)...)))
		}
	}
	r.tb.Fatal("no function ", name)
	return 0
}

const (
	notFound = -1
	denied   = -2
	invalid  = -3
	tooLarge = -4
	busy     = -7
	fault    = -8
)

// TestHostileCalls: pointers outside, huge lengths, overlaps and broken text
// are errors, and nothing more.
func TestHostileCalls(t *testing.T) {
	m := rawModule(t)
	r := newRaw(t, m, host.Policy{Store: host.NewMemory(host.StoreLimits{}), Invoker: echo{}, Config: map[string]string{"k": "value"}})
	const far, huge = 0xfffffff0, 0xffffffff
	at, _ := r.put("k\xff\x00echo")
	for _, c := range []struct {
		name string
		args []uint64
		want int32
	}{
		{"log", []uint64{0, far, 100}, fault},
		{"config_get", []uint64{far, 100, at, 10}, fault},
		{"config_get", []uint64{at, huge, at, 10}, tooLarge},
		{"config_get", []uint64{at, 2, at, 10}, invalid}, // no UTF-8
		{"config_get", []uint64{at, 0, at, 10}, invalid},
		{"config_get", []uint64{at, 1, far, 10}, fault},
		{"config_get", []uint64{at, 1, at, 4}, 5},      // no room: how much it takes
		{"config_get", []uint64{at, 1, at + 16, 5}, 5}, // just enough
		{"config_get", []uint64{at, 1, at + 16, huge}, 5},
		{"config_get", []uint64{at, 1, 0, 0}, 5},
		{"kv_set", []uint64{at, 3, at, 1}, invalid}, // no UTF-8
		{"kv_set", []uint64{at + 2, 2, at, 1}, invalid},
		{"kv_set", []uint64{at, 1, at, huge}, tooLarge},
		{"kv_set", []uint64{at, 1, far, 100}, fault},
		{"kv_set", []uint64{at, 1, at, 1}, 0}, // key and value are the same bytes
		{"kv_get", []uint64{at, 1, at, 1}, 1}, // and the buffer
		{"kv_add", []uint64{at + 3, 1, 1, far}, fault},
		{"kv_get", []uint64{at + 3, 1, at, 1}, notFound}, // nothing was added
		{"kv_list", []uint64{at, huge, at, 1, at, 10}, tooLarge},
		{"kv_list", []uint64{at, 1, at, 0, far, 100}, fault},
		{"http_send", []uint64{far, 100, 0, 0}, denied},
		{"invoke", []uint64{at + 3, 4, far, 100}, fault},
		{"invoke", []uint64{at + 3, 4, at, huge}, tooLarge},
		{"invoke", []uint64{at + 3, 4, at, 1}, 1},
		{"invoke", []uint64{at + 3, 4, at, 1}, 2},
		{"invoke", []uint64{at + 3, 4, at, 1}, 3},
		{"invoke", []uint64{at + 3, 4, at, 1}, 4},
		{"invoke", []uint64{at + 3, 4, at, 1}, busy},
		{"result_size", []uint64{0}, invalid},
		{"result_size", []uint64{5}, invalid},
		{"result_size", []uint64{huge}, invalid},
		{"result_read", []uint64{2, far, 100}, fault},
		{"result_read", []uint64{2, at, huge}, fault},
		{"result_read", []uint64{2, at, 0}, 0},
		{"result_read", []uint64{2, at + 64, 1024}, 7},
		{"result_read", []uint64{2, at + 64, 1024}, 0},
		{"result_close", []uint64{2}, 0},
		{"result_close", []uint64{2}, invalid},
		{"result_read", []uint64{2, at, 1}, invalid},
		{"invoke", []uint64{at + 3, 4, at, 1}, 2}, // there is room again
		{"http_status", []uint64{1}, 0},
		{"http_header", []uint64{1, at, 1, at, 1}, notFound},
		{"last_error", []uint64{far, 100}, fault},
	} {
		if got := r.call(c.name, c.args...); got != c.want {
			t.Errorf("%s%x: got %d, want %d", c.name, c.args, got, c.want)
		}
	}
	other := newRaw(t, m, host.Policy{})
	if got := other.call("result_size", 1); got != invalid {
		t.Errorf("another guest sees the result: %d", got)
	}
}

// TestLogFlood: messages are cut and counted, and are UTF-8 whatever the guest
// wrote.
func TestLogFlood(t *testing.T) {
	now := time.Unix(1000, 0)
	var got []string
	r := newRaw(t, rawModule(t), host.Policy{
		MaxLogs: 10, Now: func() time.Time { return now },
		Log: func(_ host.Level, text string) { got = append(got, text) },
	})
	r.put(strings.Repeat("\xc3", 100))
	r.do("flood", 1000)
	now = now.Add(time.Second)
	r.do("flood", 5)
	if len(got) != 16 || got[10] != "990 messages were dropped: more than 10 in a second" {
		t.Errorf("%d messages, then %.60q", len(got), got[min(10, len(got)-1)])
	}
	for _, text := range got {
		if len(text) > host.MaxMessage || !utf8.ValidString(text) {
			t.Errorf("a message of %d bytes: %.20q", len(text), text)
		}
	}
}

// TestStopDuringHostFunction: guests end while the host waits for others on
// their behalf.
func TestStopDuringHostFunction(t *testing.T) {
	arrived, release := make(chan struct{}), make(chan struct{})
	server := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
		arrived <- struct{}{}
		<-release
	}))
	defer server.Close()
	defer close(release)
	requests, err := host.NewHTTP(host.HTTPOptions{Allow: []string{server.URL}, Timeout: time.Hour})
	if err != nil {
		t.Fatal(err)
	}
	defer requests.Close()
	p := host.Policy{HTTP: requests, Invoker: hanging{arrived}}
	m := load(t, newEngine(t), "host.c")
	for _, args := range [][]string{{"http", "GET " + server.URL, ""}, {"invoke", "x", ""}} {
		i, err := m.Start(host.With(t.Context(), p), wasmrt.Config{Args: append([]string{"host"}, args...)})
		if err != nil {
			t.Fatal(err)
		}
		<-arrived
		i.Stop()
		if exit := i.Wait(); exit.Reason != wasmrt.StoppedReason {
			t.Errorf("%s: exit is %+v", args[0], exit)
		}
	}
}

type hanging struct{ arrived chan struct{} }

func (h hanging) Invoke(ctx context.Context, _ string, _ []byte) ([]byte, error) {
	h.arrived <- struct{}{}
	<-ctx.Done()
	return nil, ctx.Err()
}

// FuzzHost calls the functions with any numbers and any bytes: the host never
// fails.
func FuzzHost(f *testing.F) {
	m := rawModule(f)
	requests, err := host.NewHTTP(host.HTTPOptions{})
	if err != nil {
		f.Fatal(err)
	}
	f.Add("key\x00echo GET https://example.com/\nA: b\n", []byte{5, 0, 3, 0, 3, 4, 0, 3, 8, 8, 13, 4, 4, 0, 3, 15, 1, 9, 9, 0, 9, 9, 30, 0, 0})
	f.Fuzz(func(t *testing.T, memory string, calls []byte) {
		r := newRaw(t, m, host.Policy{HTTP: requests, Store: host.NewMemory(host.StoreLimits{Bytes: 1 << 16}), Invoker: echo{}, Config: map[string]string{"key": "value"}, Log: func(host.Level, string) {}})
		r.put(memory[:min(len(memory), 4096)])
		functions := host.Modules()[0].Functions
		for ; len(calls) >= 7; calls = calls[7:] {
			args := []uint64{uint64(int(calls[0]) % len(functions))}
			for n, b := range calls[1:7] {
				switch {
				case b >= 0xf0:
					args = append(args, 0xfffffff0+uint64(b&15)) // far outside
				case n%2 == 0 && b >= 8:
					args = append(args, uint64(r.room)+uint64(b))
				default:
					args = append(args, uint64(b))
				}
			}
			if _, err := r.i.Call(r.ctx, "call", args...); err != nil {
				if e, ok := errors.AsType[*wasmrt.ExitError](err); ok {
					t.Fatalf("%s%v: %v", functions[args[0]].Name, args[1:], e)
				}
				t.Fatal(err)
			}
		}
	})
}
