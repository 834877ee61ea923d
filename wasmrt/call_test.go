package wasmrt_test

import (
	"context"
	_ "embed"
	"errors"
	"math"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"dhow.dev/dhow/wasmrt"
	"dhow.dev/dhow/wasmrt/meter"
)

//go:generate wat2wasm --enable-tail-call testdata/limits.wat -o testdata/limits.wasm
//go:embed testdata/limits.wasm
var limitsWasm []byte

// testHost is the host module of the guest for limits.
func testHost(wait func(context.Context)) wasmrt.HostModule {
	return wasmrt.HostModule{Name: "test", Functions: []wasmrt.HostFunction{
		{Name: "wait", Blocks: true, Call: func(ctx context.Context, _ wasmrt.Caller, _ []uint64) { wait(ctx) }},
		{
			Name: "twice", Params: []wasmrt.ValueType{wasmrt.I64}, Results: []wasmrt.ValueType{wasmrt.I64},
			Call: func(ctx context.Context, c wasmrt.Caller, stack []uint64) {
				sum, err := c.Call(ctx, "add", stack[0], stack[0])
				if err != nil {
					c.Fail(err)
				}
				stack[0] = sum[0]
			},
		},
	}}
}

func untilDone(ctx context.Context) { <-ctx.Done() }

// limited compiles the guest for limits.
func limited(tb testing.TB, o wasmrt.Options) *wasmrt.Module {
	tb.Helper()
	if o.Host == nil {
		o.Host = []wasmrt.HostModule{testHost(untilDone)}
	}
	m, err := newEngine(tb, o).Compile(tb.Context(), limitsWasm)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(m.Close)
	return m
}

func instance(tb testing.TB, m *wasmrt.Module, c wasmrt.Config) *wasmrt.Instance {
	tb.Helper()
	i, err := m.New(tb.Context(), c)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { _ = i.Close() })
	return i
}

// ended checks how a call ended the instance, and that it stays so.
func ended(t *testing.T, i *wasmrt.Instance, err error, reason string) wasmrt.Exit {
	t.Helper()
	e, ok := errors.AsType[*wasmrt.ExitError](err)
	if !ok || e.Exit.Reason != reason {
		t.Fatalf("got %v, want %s", err, reason)
	}
	if got := i.Wait(); got != e.Exit {
		t.Errorf("Wait gives %+v, the call %+v", got, e.Exit)
	}
	if _, err := i.Call(t.Context(), "add", 1, 2); !errors.As(err, &e) || e.Exit.Reason != reason {
		t.Errorf("a call after the end: %v", err)
	}
	if i.Memory() != 0 {
		t.Errorf("it holds %d bytes", i.Memory())
	}
	return e.Exit
}

// modes runs a test in each mode of the meter, and interpreted.
func modes(t *testing.T, f func(t *testing.T, o wasmrt.Options)) {
	t.Helper()
	for name, o := range map[string]wasmrt.Options{
		"exact": {}, "preempt": {Metering: meter.Preempt}, "interpreted": {Interpret: true},
	} {
		t.Run(name, func(t *testing.T) { f(t, o) })
	}
}

func TestCall(t *testing.T) {
	modes(t, func(t *testing.T, o wasmrt.Options) {
		i := instance(t, limited(t, o), wasmrt.Config{})
		for range 3 {
			if got, err := i.Call(t.Context(), "add", 40, 2); err != nil || !slices.Equal(got, []uint64{42}) {
				t.Errorf("add: %v, %v", got, err)
			}
		}
		if got, err := i.Call(t.Context(), "two"); err != nil || len(got) != 2 || got[0] != 7 || math.Float64frombits(got[1]) != 2.5 {
			t.Errorf("two: %v, %v", got, err)
		}
		for want := range uint64(3) {
			if got, err := i.Call(t.Context(), "next"); err != nil || got[0] != want+1 {
				t.Errorf("state: %v, %v", got, err)
			}
		}
		if got, err := i.Call(t.Context(), "twice", 21); err != nil || got[0] != 42 {
			t.Errorf("a host function that calls back: %v, %v", got, err)
		}
		if n := i.Usage().Calls; n != 8 {
			t.Errorf("%d calls", n)
		}
	})
}

func TestBadCalls(t *testing.T) {
	i := instance(t, limited(t, wasmrt.Options{}), wasmrt.Config{})
	for _, c := range []struct {
		name, reason, says string
		args               []uint64
	}{
		{"none", wasmrt.ReasonNoExport, "add", nil},
		{"\x1b[2J", wasmrt.ReasonNoExport, `"\x1b[2J"`, nil},
		{"memory", wasmrt.ReasonNoExport, "add", nil},
		{"dhow.shape.0", wasmrt.ReasonNoExport, "add", nil},
		{"add", wasmrt.ReasonBadCall, "2 parameters", []uint64{1}},
		{"add", wasmrt.ReasonBadCall, "2 parameters", []uint64{1, 2, 3}},
	} {
		_, err := i.Call(t.Context(), c.name, c.args...)
		if e, ok := errors.AsType[*wasmrt.Error](err); !ok || e.Reason != c.reason || !strings.Contains(err.Error(), c.says) || strings.Contains(err.Error(), "dhow:") {
			t.Errorf("%s: %v", c.name, err)
		}
	}
	if got, err := i.Call(t.Context(), "add", 1, 2); err != nil || got[0] != 3 {
		t.Errorf("after bad calls: %v, %v", got, err)
	}
}

func TestExportsAndImports(t *testing.T) {
	m := limited(t, wasmrt.Options{})
	var names []string
	for _, e := range m.Exports() {
		names = append(names, e.Name)
		if e.Name == "two" && (len(e.Params) != 0 || !slices.Equal(e.Results, []wasmrt.ValueType{wasmrt.I32, wasmrt.F64})) {
			t.Errorf("two is %+v", e)
		}
	}
	if !slices.IsSorted(names) || !slices.Contains(names, "add") || slices.ContainsFunc(names, func(n string) bool { return strings.HasPrefix(n, "dhow") }) {
		t.Errorf("exports: %v", names)
	}
	imports := m.Imports()
	if len(imports) != 3 || imports[2].Module != "test" || imports[2].Name != "twice" || !slices.Equal(imports[2].Params, []wasmrt.ValueType{wasmrt.I64}) {
		t.Errorf("imports: %+v", imports)
	}
}

// TestEndlessGuestsEnd: whatever a guest does without end, its call ends, and
// says why.
func TestEndlessGuestsEnd(t *testing.T) {
	modes(t, func(t *testing.T, o wasmrt.Options) {
		m := limited(t, o)
		for _, name := range []string{"spin", "tail", "explode"} {
			i := instance(t, m, wasmrt.Config{Limits: wasmrt.Limits{Timeout: 20 * time.Millisecond}})
			_, err := i.Call(t.Context(), name)
			if e := ended(t, i, err, wasmrt.TimedOutReason); e.Code != wasmrt.TimedOutCode {
				t.Errorf("%s: %+v", name, e)
			}

			i = instance(t, m, wasmrt.Config{})
			ctx, cancel := context.WithCancel(t.Context())
			onceComputing(i, cancel)
			_, err = i.Call(ctx, name)
			ended(t, i, err, wasmrt.StoppedReason)

			i = instance(t, m, wasmrt.Config{})
			late := expiring{t.Context(), make(chan struct{})}
			onceComputing(i, func() { close(late.done) })
			_, err = i.Call(late, name)
			ended(t, i, err, wasmrt.TimedOutReason)

			i = instance(t, m, wasmrt.Config{Limits: wasmrt.Limits{Fuel: 3_000_000}})
			_, err = i.Call(t.Context(), name)
			if e := ended(t, i, err, wasmrt.OutOfFuelReason); e.Code != wasmrt.OutOfFuelCode {
				t.Errorf("%s: %+v", name, e)
			}

			i = instance(t, m, wasmrt.Config{})
			onceComputing(i, func() { _ = i.Close() })
			_, err = i.Call(t.Context(), name)
			ended(t, i, err, wasmrt.StoppedReason)
		}
		i := instance(t, m, wasmrt.Config{})
		_, err := i.Call(t.Context(), "recurse", 1)
		ended(t, i, err, wasmrt.StackReason)
		i, err = m.Start(t.Context(), wasmrt.Config{Limits: wasmrt.Limits{Timeout: 5 * time.Millisecond}})
		if err != nil {
			t.Fatal(err)
		}
		if e := i.Wait(); e.Reason != wasmrt.TimedOutReason {
			t.Errorf("a run: %+v", e)
		}
	})
}

// onceComputing does something when the guest has computed a little.
func onceComputing(i *wasmrt.Instance, f func()) {
	go func() {
		for i.Usage().Fuel == 0 {
			runtime.Gosched()
		}
		f()
	}()
}

// expiring is a context whose deadline has passed when done is closed.
type expiring struct {
	context.Context
	done chan struct{}
}

func (e expiring) Done() <-chan struct{} { return e.done }

func (e expiring) Err() error {
	select {
	case <-e.done:
		return context.DeadlineExceeded
	default:
		return nil
	}
}

func TestEndsOfCalls(t *testing.T) {
	m := limited(t, wasmrt.Options{})
	i := instance(t, m, wasmrt.Config{})
	_, err := i.Call(t.Context(), "trap")
	if e := ended(t, i, err, wasmrt.TrappedReason); e.Code != wasmrt.TrappedCode || !strings.Contains(e.Message, "unreachable") {
		t.Errorf("a trap: %+v", e)
	}
	for _, code := range []uint32{0, 7, math.MaxUint32} {
		i = instance(t, m, wasmrt.Config{})
		_, err = i.Call(t.Context(), "exit", uint64(code))
		if e := ended(t, i, err, wasmrt.ExitedReason); e.Code != code {
			t.Errorf("exit %d: %+v", code, e)
		}
	}
	i = instance(t, m, wasmrt.Config{})
	i.Stop()
	_, err = i.Call(t.Context(), "add", 1, 2)
	ended(t, i, err, wasmrt.StoppedReason)
}

func TestHostFunctionsEndGuests(t *testing.T) {
	broken := errors.New("broken")
	for name, c := range map[string]struct {
		f       func(context.Context, wasmrt.Caller)
		reason  string
		code    uint32
		message string
	}{
		"exit":  {func(_ context.Context, c wasmrt.Caller) { c.Exit(9) }, wasmrt.ExitedReason, 9, ""},
		"fail":  {func(_ context.Context, c wasmrt.Caller) { c.Fail(broken) }, wasmrt.TrappedReason, wasmrt.TrappedCode, "broken"},
		"panic": {func(context.Context, wasmrt.Caller) { panic("oh") }, wasmrt.TrappedReason, wasmrt.TrappedCode, "oh"},
		"bug":   {func(_ context.Context, c wasmrt.Caller) { _ = []int{}[c.Memory().Size()] }, wasmrt.TrappedReason, wasmrt.TrappedCode, "out of range"},
		"stop":  {func(_ context.Context, c wasmrt.Caller) { c.Instance().Stop() }, wasmrt.StoppedReason, wasmrt.StoppedCode, "stopped"},
		"exit in a nested call": {
			func(ctx context.Context, c wasmrt.Caller) {
				_, _ = c.Call(ctx, "exit", 5)
				t.Error("the guest has exited, and the host goes on")
			}, wasmrt.ExitedReason, 5, "",
		},
		"trap in a nested call": {
			func(ctx context.Context, c wasmrt.Caller) {
				if _, err := c.Call(ctx, "trap"); err != nil {
					c.Fail(err)
				}
			}, wasmrt.TrappedReason, wasmrt.TrappedCode, "unreachable",
		},
	} {
		for _, blocks := range []bool{false, true} {
			h := testHost(untilDone)
			h.Functions[0] = wasmrt.HostFunction{Name: "wait", Blocks: blocks, Call: func(ctx context.Context, caller wasmrt.Caller, _ []uint64) { c.f(ctx, caller) }}
			i := instance(t, limited(t, wasmrt.Options{Host: []wasmrt.HostModule{h}}), wasmrt.Config{})
			_, err := i.Call(t.Context(), "wait")
			if name == "stop" && !blocks && err == nil { // it returned before it looked
				i.Wait()
				continue
			}
			e := ended(t, i, err, c.reason)
			if e.Code != c.code || !strings.Contains(e.Message, c.message) || strings.Contains(e.Message, "goroutine") {
				t.Errorf("%s: %+v", name, e)
			}
			if name == "fail" && !errors.Is(err, broken) {
				t.Errorf("the host function's error is lost: %v", err)
			}
		}
	}
}

// TestSlowHostFunctions: a guest that only calls host functions asks for fuel in
// time all the same.
func TestSlowHostFunctions(t *testing.T) {
	for _, blocks := range []bool{false, true} {
		calls := 0
		h := testHost(untilDone)
		h.Functions[0].Blocks = blocks
		h.Functions[0].Call = func(_ context.Context, c wasmrt.Caller, _ []uint64) {
			for began := time.Now(); time.Since(began) < 2*time.Millisecond; {
			}
			c.Instance().Stop()
			calls++
		}
		i := instance(t, limited(t, wasmrt.Options{Host: []wasmrt.HostModule{h}}), wasmrt.Config{})
		_, err := i.Call(t.Context(), "calls")
		ended(t, i, err, wasmrt.StoppedReason)
		if calls != 1 {
			t.Errorf("after it was stopped it made %d calls", calls-1)
		}
	}
}

type key struct{}

// TestContextReachesHostFunctions: its values, its end, and its deadline.
func TestContextReachesHostFunctions(t *testing.T) {
	var got any
	var deadline bool
	m := limited(t, wasmrt.Options{Host: []wasmrt.HostModule{testHost(func(ctx context.Context) {
		got = ctx.Value(key{})
		_, deadline = ctx.Deadline()
		if derived, cancel := context.WithCancel(ctx); got == "wait" {
			<-derived.Done()
			cancel()
		} else {
			cancel()
		}
	})}})
	i := instance(t, m, wasmrt.Config{})
	if _, err := i.Call(context.WithValue(t.Context(), key{}, "value"), "wait"); err != nil || got != "value" || deadline {
		t.Errorf("got %v, %v, %v", got, deadline, err)
	}
	wait := context.WithValue(t.Context(), key{}, "wait")
	for name, end := range map[string]func(*wasmrt.Instance, context.CancelFunc){
		"context": func(_ *wasmrt.Instance, cancel context.CancelFunc) { cancel() },
		"stop":    func(i *wasmrt.Instance, _ context.CancelFunc) { i.Stop() },
		"close":   func(i *wasmrt.Instance, _ context.CancelFunc) { _ = i.Close() },
	} {
		i := instance(t, m, wasmrt.Config{})
		ctx, cancel := context.WithCancel(wait)
		calls := i.Usage().Calls
		go func() {
			for i.Usage().Calls == calls {
				runtime.Gosched()
			}
			end(i, cancel)
		}()
		_, err := i.Call(ctx, "wait")
		cancel()
		if e, ok := errors.AsType[*wasmrt.ExitError](err); !ok || e.Exit.Reason != wasmrt.StoppedReason {
			t.Errorf("%s: %v", name, err)
		}
	}
	i = instance(t, m, wasmrt.Config{Limits: wasmrt.Limits{Timeout: 5 * time.Millisecond}})
	_, err := i.Call(wait, "wait")
	ended(t, i, err, wasmrt.TimedOutReason)
	if !deadline {
		t.Error("the host function saw no deadline")
	}
}

// TestOneCallAtATime: a second call is refused, also from inside.
func TestOneCallAtATime(t *testing.T) {
	in, out := make(chan struct{}), make(chan struct{})
	m := limited(t, wasmrt.Options{Host: []wasmrt.HostModule{testHost(func(context.Context) { close(in); <-out })}})
	i := instance(t, m, wasmrt.Config{})
	done := make(chan error)
	go func() {
		_, err := i.Call(t.Context(), "wait")
		done <- err
	}()
	<-in
	_, err := i.Call(t.Context(), "add", 1, 2)
	if e, ok := errors.AsType[*wasmrt.Error](err); !ok || e.Reason != wasmrt.ReasonInUse {
		t.Errorf("got %v", err)
	}
	close(out)
	if err := <-done; err != nil {
		t.Error(err)
	}
	if got, err := i.Call(t.Context(), "add", 1, 2); err != nil || got[0] != 3 {
		t.Errorf("after it: %v, %v", got, err)
	}
}

// TestCancelledBeforeItBegan: the guest has not run, so the instance lives on.
func TestCancelledBeforeItBegan(t *testing.T) {
	m := limited(t, wasmrt.Options{MaxParallel: 1})
	i, other := instance(t, m, wasmrt.Config{}), instance(t, m, wasmrt.Config{})
	other.Pause()
	ctx, cancel := context.WithCancel(t.Context())
	time.AfterFunc(time.Millisecond, cancel)
	if _, err := other.Call(ctx, "add", 1, 2); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
	other.Resume()
	if got, err := other.Call(t.Context(), "add", 1, 2); err != nil || got[0] != 3 {
		t.Errorf("after it: %v, %v", got, err)
	}
	if got, err := i.Call(t.Context(), "add", 1, 2); err != nil || got[0] != 3 {
		t.Errorf("another one: %v, %v", got, err)
	}
}

// TestCloseDuringCalls, from many sides: no crash, no race, and all ends.
func TestCloseDuringCalls(t *testing.T) {
	m := limited(t, wasmrt.Options{})
	before := runtime.NumGoroutine()
	var wg sync.WaitGroup
	var calls atomic.Int64
	for n := range 50 {
		i, err := m.New(t.Context(), wasmrt.Config{})
		if err != nil {
			t.Fatal(err)
		}
		for range 2 {
			wg.Go(func() {
				for {
					_, err := i.Call(t.Context(), []string{"add", "count"}[n%2], []uint64{1, 2}[:2-n%2]...)
					if _, ok := errors.AsType[*wasmrt.ExitError](err); ok {
						return
					}
					calls.Add(1)
				}
			})
		}
		wg.Go(func() {
			for calls.Load() < int64(n) {
				runtime.Gosched()
			}
			_ = i.Close()
			_ = i.Close()
		})
	}
	wg.Wait()
	for runtime.NumGoroutine() > before { // or the test never ends
		runtime.Gosched()
	}
}
