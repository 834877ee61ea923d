package wasm_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"

	"dhow.dev/dhow/node/runtime"
	"dhow.dev/dhow/node/runtime/wasm"
	dhowv1 "dhow.dev/dhow/proto/dhow/v1"
	"dhow.dev/dhow/wasmrt/wasmtest"
)

// reactor builds a guest of this package's testdata.
func reactor(tb testing.TB, source string, flags ...string) string {
	tb.Helper()
	path, err := filepath.Abs(filepath.Join("testdata", source))
	if err != nil {
		tb.Fatal(err)
	}
	module, err := wasmtest.Recipe{Source: path, Reactor: true, Flags: flags}.Module(tb.Context())
	if err != nil {
		tb.Fatal(err)
	}
	return module
}

func function(digest string, change ...func(*dhowv1.WasmSource)) *dhowv1.Task {
	w := &dhowv1.WasmSource{
		Artifact: digest, File: "f.wasm",
		Pool:   &dhowv1.Pool{Concurrency: 4, Queue: proto.Uint32(64)},
		Limits: &dhowv1.WasmLimits{Timeout: durationpb.New(30 * time.Second)},
	}
	for _, c := range change {
		c(w)
	}
	return &dhowv1.Task{Name: "main", Source: &dhowv1.Task_Wasm{Wasm: w}, Ports: []*dhowv1.Port{{Name: "http"}}}
}

// deployed is a function that runs.
type deployed struct {
	r    *wasm.Runtime
	task *runtime.Task
	base string // of its URLs

	mu      sync.Mutex
	notices []string
}

func deploy(tb testing.TB, module string, change ...func(*dhowv1.WasmSource)) *deployed {
	tb.Helper()
	a := &shelf{}
	r := newRuntime(tb, a)
	tb.Cleanup(func() {
		if err := r.Close(); err != nil {
			tb.Error(err)
		}
	})
	return deployOn(tb, r, "w", function(a.add(tb, module), change...))
}

func deployOn(tb testing.TB, r *wasm.Runtime, workload string, spec *dhowv1.Task) *deployed {
	tb.Helper()
	d := &deployed{r: r, task: newTask(tb, spec)}
	d.task.ID.Instance, d.task.Workload = "uid-"+workload, workload
	d.task.Notify = func(n runtime.Notice) {
		d.mu.Lock()
		defer d.mu.Unlock()
		d.notices = append(d.notices, n.Reason)
	}
	d.base = "http://" + start(tb, r, d.task).Ports[0].GetAddress()
	return d
}

func (d *deployed) told(reason string) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return slices.Contains(d.notices, reason)
}

func (d *deployed) call(ctx context.Context, c runtime.Call) (runtime.CallResult, string) {
	got, err := d.r.Call(ctx, d.task.ID, c)
	if e, ok := errors.AsType[*runtime.Error](err); ok {
		return got, e.Reason + ": " + e.Error()
	}
	if err != nil {
		return got, err.Error()
	}
	return got, ""
}

func (d *deployed) post(t *testing.T, path, body string) (status int, reason, answer string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, d.base+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return res.StatusCode, res.Header.Get(wasm.ReasonHeader), string(b)
}

// TestTypedFunctions: exports with scalars are called by name, through Call
// and HTTP, and their faults are told apart.
func TestTypedFunctions(t *testing.T) {
	d := deploy(t, reactor(t, "numbers.c"))
	for _, c := range []struct {
		function, args, want, why string
	}{
		{"add", "1 2", "3", ""},
		{"add", "-5 2", "-3", ""},
		{"half", "5", "2.5", ""},
		{"spin", "", "", "TimedOut: "},
		{"divide", "1 0", "", "Trapped: "},
		{"add", "1", "", "BadArguments: "},
		{"add", "1 x", "", "BadArguments: "},
		{"nothing", "", "", "NoSuchFunction: there is no function \"nothing\"; there are: add, burn, count, divide, half, spin"},
		{"", "", "", "NoSuchFunction: there are several"},
	} {
		if c.function == "spin" {
			continue // below, with a time limit of its own
		}
		got, why := d.call(t.Context(), runtime.Call{Function: c.function, Args: strings.Fields(c.args)})
		if strings.Join(got.Values, " ") != c.want || !strings.HasPrefix(why, c.why) || (why == "") != (c.why == "") {
			t.Errorf("%s %s: got %v, %q", c.function, c.args, got.Values, why)
		}
	}
	all, err := d.r.Functions(t.Context(), d.task.ID)
	if err != nil || len(all) != 6 || all[0].String() != "add(i32, i32) -> i32" {
		t.Errorf("functions are %v, %v", all, err)
	}
	for _, c := range []struct {
		path, body string
		status     int
		reason     string
		answer     string
	}{
		{"/add?arg=20&arg=22", "", 200, "", "42\n"},
		{"/add?arg=20", "", 400, "BadArguments", ""},
		{"/nothing", "", 404, "NoSuchFunction", ""},
		{"/divide?arg=1&arg=0", "", 502, "Trapped", "the function ended: Trapped\n"},
	} {
		status, reason, answer := d.post(t, c.path, c.body)
		if status != c.status || reason != c.reason || c.answer != "" && answer != c.answer {
			t.Errorf("POST %s: got %d %s %q", c.path, status, reason, answer)
		}
	}
	if res, body, err := get(t, d.base+"/"); err != nil || res.StatusCode != 200 || !strings.Contains(body, "half(f64) -> f64\n") {
		t.Errorf("GET / answers %v %q %v", res, body, err)
	}
	if res, _, err := get(t, d.base+"/add"); err != nil || res.StatusCode != http.StatusMethodNotAllowed {
		t.Errorf("GET /add answers %v %v", res, err)
	}
}

// TestFunctionsTimeOut: a call that takes too long ends, in the time that the
// manifest gives it, and its copy is replaced.
func TestFunctionsTimeOut(t *testing.T) {
	d := deploy(t, reactor(t, "numbers.c"), func(w *dhowv1.WasmSource) {
		w.Limits.Timeout = durationpb.New(30 * time.Millisecond)
		w.Pool.Concurrency = 1
	})
	if _, why := d.call(t.Context(), runtime.Call{Function: "spin"}); !strings.HasPrefix(why, "TimedOut: ") {
		t.Errorf("got %q", why)
	}
	if status, reason, _ := d.post(t, "/spin", ""); status != http.StatusGatewayTimeout || reason != "TimedOut" {
		t.Errorf("got %d %s", status, reason)
	}
	if got, why := d.call(t.Context(), runtime.Call{Function: "add", Args: []string{"1", "1"}}); why != "" || got.Values[0] != "2" {
		t.Errorf("after it: %v %q", got, why)
	}
	if s, err := d.r.Stats(t.Context(), d.task.ID); err != nil || s.CPU < 30*time.Millisecond || s.Fuel == 0 || s.Calls != 3 || s.Failed != 2 {
		t.Errorf("stats are %+v, %v", s, err)
	}
}

// TestPluginsInHTTP: an Extism plugin is recognised and called by POST.
func TestPluginsInHTTP(t *testing.T) {
	d := deploy(t, reactor(t, "plugin.c", "-DMORE"))
	big := string(bytes.Repeat([]byte("x"), 1<<20))
	for _, body := range []string{"", "hello", big} {
		if status, _, answer := d.post(t, "/echo", body); status != 200 || answer != body {
			t.Errorf("echo of %d bytes: %d, %d bytes", len(body), status, len(answer))
		}
	}
	if status, reason, answer := d.post(t, "/fail", ""); status != 500 || reason != "FunctionFailed" || answer != "it was told to\n" {
		t.Errorf("fail: %d %s %q", status, reason, answer)
	}
	if status, reason, _ := d.post(t, "/echo", string(make([]byte, runtime.MaxCallBytes+1))); status != 413 || reason != "TooLarge" {
		t.Errorf("too much: %d %s", status, reason)
	}
	if status, reason, _ := d.post(t, "/trap", ""); status != 502 || reason != "Trapped" {
		t.Errorf("trap: %d %s", status, reason)
	}
	if _, why := d.call(t.Context(), runtime.Call{Function: "echo", Args: []string{"1"}}); !strings.HasPrefix(why, "BadArguments: ") {
		t.Errorf("with arguments: %q", why)
	}
}

// TestPoolsAreBounded: calls beyond concurrency and queue are refused, the
// others wait; max_calls replaces copies, as does a fuel limit.
func TestPoolsAreBounded(t *testing.T) {
	d := deploy(t, reactor(t, "plugin.c"), func(w *dhowv1.WasmSource) { w.Pool.Concurrency, w.Pool.Queue = 1, proto.Uint32(0) })
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan string, 1)
	go func() {
		for {
			_, why := d.call(ctx, runtime.Call{Function: "wait"})
			if !strings.HasPrefix(why, "Busy: ") { // an echo was faster
				done <- why
				return
			}
		}
	}()
	for { // until the call is there
		_, why := d.call(t.Context(), runtime.Call{Function: "echo"})
		if strings.HasPrefix(why, "Busy: ") {
			break
		}
		if why != "" {
			t.Fatal(why)
		}
	}
	if status, reason, _ := d.post(t, "/echo", ""); status != 503 || reason != "Busy" {
		t.Errorf("over HTTP: %d %s", status, reason)
	}
	cancel()
	if why := <-done; why != context.Canceled.Error() {
		t.Errorf("the interrupted call: %q", why)
	}
	if _, why := d.call(t.Context(), runtime.Call{Function: "echo"}); why != "" {
		t.Error(why)
	}

	for name, c := range map[string]struct {
		change func(*dhowv1.WasmSource)
		want   string
	}{
		"kept":   {func(w *dhowv1.WasmSource) { w.Pool.Concurrency = 1 }, "123"},
		"twice":  {func(w *dhowv1.WasmSource) { w.Pool.Concurrency, w.Pool.MaxCalls = 1, 2 }, "121"},
		"fueled": {func(w *dhowv1.WasmSource) { w.Pool.Concurrency, w.Limits.Fuel = 1, 1_000_000 }, "111"},
	} {
		d := deploy(t, reactor(t, "plugin.c", "-DMORE"), c.change)
		all := ""
		for range 3 {
			got, why := d.call(t.Context(), runtime.Call{Function: "count"})
			all += string(got.Data) + why
		}
		if all != c.want {
			t.Errorf("%s: the calls' counts are %s, want %s", name, all, c.want)
		}
	}
}

// TestFunctionLimits: fuel, memory and CPU are bounded; what is refused is
// told.
func TestFunctionLimits(t *testing.T) {
	d := deploy(t, reactor(t, "numbers.c"), func(w *dhowv1.WasmSource) { w.Limits.Fuel = 100_000 })
	if _, why := d.call(t.Context(), runtime.Call{Function: "burn", Args: []string{"1000"}}); why != "" {
		t.Error(why)
	}
	if _, why := d.call(t.Context(), runtime.Call{Function: "burn", Args: []string{"1000000"}}); !strings.HasPrefix(why, "OutOfFuel: ") {
		t.Errorf("burn: %q", why)
	}

	a := &shelf{}
	r := newRuntime(t, a)
	defer r.Close()
	spec := function(a.add(t, reactor(t, "plugin.c", "-DMORE")))
	spec.Resources = &dhowv1.Resources{Limits: &dhowv1.ResourceList{Memory: 4 << 20}}
	d = deployOn(t, r, "w", spec)
	if _, why := d.call(t.Context(), runtime.Call{Function: "grow"}); why != "" {
		t.Errorf("growth to the limit: %q", why)
	}
	if s, err := r.Stats(t.Context(), d.task.ID); err != nil || s.PeakMemory == 0 || s.PeakMemory > 4<<20 {
		t.Errorf("stats are %+v, %v", s, err)
	}
	if !d.told("MemoryLimit") {
		t.Error("nobody was told that memory was refused")
	}
}

// TestCopiesShareTheCPULimit: several calls at a time have together what one
// has alone.
func TestCopiesShareTheCPULimit(t *testing.T) {
	a := &shelf{}
	r := newRuntime(t, a)
	defer r.Close()
	spec := function(a.add(t, reactor(t, "numbers.c")), func(w *dhowv1.WasmSource) {
		w.Limits.Timeout = durationpb.New(2 * time.Second)
		w.Limits.Fuel = 0
	})
	spec.Resources = &dhowv1.Resources{Limits: &dhowv1.ResourceList{Cpu: 100}}
	d := deployOn(t, r, "w", spec)
	begun := time.Now()
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			if _, why := d.call(t.Context(), runtime.Call{Function: "spin"}); !strings.HasPrefix(why, "TimedOut: ") {
				t.Errorf("spin: %q", why)
			}
		})
	}
	wg.Wait()
	s, err := r.Stats(t.Context(), d.task.ID)
	// Each could have used as much alone; a slow machine only makes it less.
	if share := s.CPU.Seconds() / time.Since(begun).Seconds(); err != nil || share > 0.2 || s.Throttled == 0 {
		t.Errorf("four calls used %.3f of a core, and the limit is 0.1: %+v, %v", share, s, err)
	}
	if !d.told("CPUThrottled") {
		t.Error("nobody was told that the limit slows it down")
	}
}

// TestHTTPWasm: a handler is recognised, gets its configuration, and answers
// requests and calls.
func TestHTTPWasm(t *testing.T) {
	d := deploy(t, reactor(t, "handler.c"), func(w *dhowv1.WasmSource) {
		w.Host = &dhowv1.HostPolicy{Config: map[string]string{"a": "b"}}
	})
	want := `{"a":"b"}` + "body"
	if status, _, answer := d.post(t, "/x", "body"); status != 200 || answer != want {
		t.Errorf("got %d %q", status, answer)
	}
	got, why := d.call(t.Context(), runtime.Call{Function: "x", Data: []byte("body")})
	if why != "" || got.Status != 200 || string(got.Data) != want || got.Header["X-Guest"][0] != "yes" {
		t.Errorf("called: %+v %q", got, why)
	}
	if got, why := d.call(t.Context(), runtime.Call{Function: "fail"}); why != "" || got.Status != 500 {
		t.Errorf("fail: %+v %q", got, why)
	}
	if s, err := d.r.Stats(t.Context(), d.task.ID); err != nil || s.Calls != 3 || s.Failed != 1 {
		t.Errorf("stats are %+v, %v", s, err)
	}
}

// TestCommandFunctions: each call is a run of its own.
func TestCommandFunctions(t *testing.T) {
	d := deploy(t, wasmtest.Guest(t, "c/probe.c"))
	got, why := d.call(t.Context(), runtime.Call{Args: []string{"cat"}, Data: []byte("through it")})
	if why != "" || string(got.Data) != "through it" {
		t.Errorf("cat: %q %q", got.Data, why)
	}
	if _, why := d.call(t.Context(), runtime.Call{Args: []string{"exit", "3"}}); why != "FunctionFailed: the function ended with code 3" {
		t.Errorf("exit 3: %q", why)
	}
	if _, why := d.call(t.Context(), runtime.Call{Args: []string{"exit", "0"}}); why != "" {
		t.Errorf("exit 0: %q", why)
	}
}

// TestFunctionsDrain: a call in flight may end, and no new one begins.
func TestFunctionsDrain(t *testing.T) {
	d := deploy(t, reactor(t, "plugin.c"), func(w *dhowv1.WasmSource) {
		w.Limits.Timeout = durationpb.New(time.Hour) // only the end of the task ends the call
	})
	done := make(chan string, 1)
	go func() {
		_, why := d.call(t.Context(), runtime.Call{Function: "wait"})
		done <- why
	}()
	for {
		if s, err := d.r.Stats(t.Context(), d.task.ID); err != nil {
			t.Fatal(err)
		} else if s.CPU > 0 {
			break
		}
		select {
		case why := <-done:
			t.Fatalf("the call ended: %q", why)
		default:
		}
	}
	if err := d.r.Stop(t.Context(), d.task.ID, 10*time.Millisecond); err != nil {
		t.Fatal(err)
	}
	if why := <-done; !strings.HasPrefix(why, "NotRunning: ") {
		t.Errorf("the call in flight: %q", why)
	}
	if e, err := d.r.Wait(t.Context(), d.task.ID); err != nil || e.Reason != "Killed" {
		t.Errorf("exit is %+v, %v", e, err)
	}
	if _, why := d.call(t.Context(), runtime.Call{Function: "echo"}); !strings.HasPrefix(why, "NotRunning: ") {
		t.Errorf("after the end: %q", why)
	}
	if s, err := d.r.Stats(t.Context(), d.task.ID); err != nil || s.Memory != 0 {
		t.Errorf("after the end: %+v, %v", s, err)
	}
}

// TestBeginnings: what goes wrong while a function starts has its reason.
func TestBeginnings(t *testing.T) {
	a := &shelf{}
	r := newRuntime(t, a)
	defer r.Close()
	command := a.add(t, wasmtest.Guest(t, "c/probe.c"))
	for name, c := range map[string]struct {
		digest, reason string
		change         func(*dhowv1.WasmSource)
	}{
		"trap":  {a.add(t, reactor(t, "plugin.c", "-DBEGIN=__builtin_trap()")), "Trapped", func(*dhowv1.WasmSource) {}},
		"loop":  {a.add(t, reactor(t, "plugin.c", "-DBEGIN=for(;;)beginning++")), "TimedOut", func(w *dhowv1.WasmSource) { w.Limits.Timeout = durationpb.New(20 * time.Millisecond) }},
		"kind":  {command, "NoEntryPoint", func(w *dhowv1.WasmSource) { w.Trigger = dhowv1.Trigger_TRIGGER_EXTISM }},
		"http":  {command, "NoEntryPoint", func(w *dhowv1.WasmSource) { w.Trigger = dhowv1.Trigger_TRIGGER_HTTP_WASM }},
		"start": {a.add(t, reactor(t, "numbers.c")), "NoEntryPoint", func(w *dhowv1.WasmSource) { w.Trigger = dhowv1.Trigger_TRIGGER_COMMAND }},
		"hosts": {command, "BadHostPolicy", func(w *dhowv1.WasmSource) { w.Host = &dhowv1.HostPolicy{Http: []string{"not a host"}} }},
		"store": {command, "NoStore", func(w *dhowv1.WasmSource) { w.Host = &dhowv1.HostPolicy{Kv: &dhowv1.KeyValue{Store: "../x"}} }},
	} {
		task := newTask(t, function(c.digest, c.change))
		task.ID.Instance = name
		err := r.Prepare(t.Context(), task)
		if err == nil {
			_, err = r.Start(t.Context(), task)
		}
		if e, ok := errors.AsType[*runtime.Error](err); !ok || e.Reason != c.reason {
			t.Errorf("%s: got %v, want %s", name, err, c.reason)
		}
	}
}
