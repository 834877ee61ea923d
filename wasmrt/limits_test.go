package wasmrt_test

import (
	"context"
	"errors"
	"math"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"dhow.dev/dhow/wasmrt"
	"dhow.dev/dhow/wasmrt/meter"
)

// TestFuelIsExact: what a guest uses does not depend on the size of slices, of
// which a call has many or a part; with exactly as much as it needs it ends
// well, and with one unit less it does not.
func TestFuelIsExact(t *testing.T) {
	modes(t, func(t *testing.T, o wasmrt.Options) {
		m := limited(t, o)
		used := func(n uint64, calls int) uint64 {
			i := instance(t, m, wasmrt.Config{})
			for range calls {
				if _, err := i.Call(t.Context(), "count", n); err != nil {
					t.Fatal(err)
				}
			}
			return i.Usage().Fuel
		}
		for _, n := range []uint64{1, 10, 1000, 500_000} {
			one := used(n, 1)
			if again, many := used(n, 1), used(n, 5); one == 0 || again != one || many != 5*one {
				t.Errorf("count %d used %d, then %d, and 5 times %d", n, one, again, many)
			}
			i := instance(t, m, wasmrt.Config{Limits: wasmrt.Limits{Fuel: one}})
			if _, err := i.Call(t.Context(), "count", n); err != nil || i.Usage().Fuel != one {
				t.Errorf("with the fuel it needs: %v; it used %d of %d", err, i.Usage().Fuel, one)
			}
			i = instance(t, m, wasmrt.Config{Limits: wasmrt.Limits{Fuel: one - 1}})
			if one == 1 {
				continue // no fuel is no limit
			}
			_, err := i.Call(t.Context(), "count", n)
			ended(t, i, err, wasmrt.OutOfFuelReason)
			if got := i.Usage().Fuel; got >= one {
				t.Errorf("it used %d of %d", got, one-1)
			}
		}
		// A life's limit counts all calls.
		one := used(1000, 1)
		i := instance(t, m, wasmrt.Config{Limits: wasmrt.Limits{Fuel: 3*one + one/2}})
		for range 3 {
			if _, err := i.Call(t.Context(), "count", 1000); err != nil {
				t.Fatal(err)
			}
		}
		_, err := i.Call(t.Context(), "count", 1000)
		ended(t, i, err, wasmrt.OutOfFuelReason)
		i = instance(t, m, wasmrt.Config{Limits: wasmrt.Limits{Fuel: math.MaxUint64}})
		if _, err := i.Call(t.Context(), "count", 1000); err != nil {
			t.Error(err)
		}
	})
}

// TestFuelOfModes: preemption alone counts no more, and each loop.
func TestFuelOfModes(t *testing.T) {
	used := map[meter.Mode]uint64{}
	for _, mode := range []meter.Mode{meter.Exact, meter.Preempt} {
		i := instance(t, limited(t, wasmrt.Options{Metering: mode}), wasmrt.Config{})
		if _, err := i.Call(t.Context(), "count", 1000); err != nil {
			t.Fatal(err)
		}
		used[mode] = i.Usage().Fuel
	}
	if used[meter.Preempt] > used[meter.Exact] || used[meter.Preempt] < 1000 {
		t.Errorf("used %v", used)
	}
}

func TestStackLimit(t *testing.T) {
	modes(t, func(t *testing.T, o wasmrt.Options) {
		m := limited(t, o)
		deep := func(stack, n uint64) error {
			_, err := instance(t, m, wasmrt.Config{Limits: wasmrt.Limits{Stack: stack}}).Call(t.Context(), "depth", n)
			return err
		}
		if err := deep(64<<10, 100); err != nil {
			t.Errorf("100 calls in 64 KiB: %v", err)
		}
		for _, c := range []struct{ stack, n uint64 }{{64 << 10, 100_000}, {0, 10_000_000}} {
			if e, ok := errors.AsType[*wasmrt.ExitError](deep(c.stack, c.n)); !ok || e.Exit.Reason != wasmrt.StackReason || e.Exit.Code != wasmrt.StackCode {
				t.Errorf("%d calls in a stack of %d: %v", c.n, c.stack, e)
			}
		}
		// The interpreter has a bound of its own, of 2,000 calls.
		if err := deep(0, 10_000); err != nil && !o.Interpret {
			t.Errorf("10,000 calls: %v", err)
		}
	})
}

// notices collects those of an instance.
type notices struct {
	mu  sync.Mutex
	all []wasmrt.Notice
}

func (n *notices) add(one wasmrt.Notice) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.all = append(n.all, one)
}

// once checks that there was one notice of a reason.
func (n *notices) once(t *testing.T, reason string) {
	t.Helper()
	n.mu.Lock()
	defer n.mu.Unlock()
	if len(n.all) != 1 || n.all[0].Reason != reason || n.all[0].Message == "" {
		t.Errorf("notices are %+v, want one %s", n.all, reason)
	}
}

// TestMemoryGrowth: it fails as the specification says, the guest goes on, and
// the owner is told once.
func TestMemoryGrowth(t *testing.T) {
	modes(t, func(t *testing.T, o wasmrt.Options) {
		var told notices
		i := instance(t, limited(t, o), wasmrt.Config{Limits: wasmrt.Limits{Memory: 4 << 16}, Notify: told.add})
		for _, c := range []struct{ pages, want uint64 }{{3, 1}, {0, 4}, {1, math.MaxUint32}, {65535, math.MaxUint32}, {0, 4}} {
			if got, err := i.Call(t.Context(), "grow", c.pages); err != nil || got[0] != c.want {
				t.Errorf("growing by %d: %v, %v", c.pages, got, err)
			}
		}
		told.once(t, wasmrt.NoticeMemoryLimit)
		if u := i.Usage(); u.Memory != 4<<16 || u.PeakMemory != 4<<16 {
			t.Errorf("usage is %+v", u)
		}
		_ = i.Close()
		if u := i.Usage(); u.Memory != 0 || u.PeakMemory != 4<<16 {
			t.Errorf("usage after the end is %+v", u)
		}
	})
}

func TestTablesNeededAtTheStart(t *testing.T) {
	e := newEngine(t, wasmrt.Options{})
	table := func(n string) []byte {
		return []byte(header + types + funcs + section(4, "\x01\x70\x00"+n) + section(7, "\x01"+str("f")+"\x00\x00") + body)
	}
	for n, ok := range map[string]bool{"\x0a": true, "\x80\x80\xc0\x00": true, "\x81\x80\xc0\x00": false, "\x80\x80\x80\x40": false} {
		m, err := e.Compile(t.Context(), table(n))
		if err != nil {
			t.Fatal(err)
		}
		defer m.Close()
		i, err := m.New(t.Context(), wasmrt.Config{})
		if ok && err != nil {
			t.Errorf("%q: %v", n, err)
		}
		if e, is := errors.AsType[*wasmrt.Error](err); !ok && (!is || e.Reason != wasmrt.ReasonTableLimit || !e.Permanent()) {
			t.Errorf("%q: %v", n, err)
		}
		if err == nil {
			_ = i.Close()
		}
	}
}

// TestTableGrowth: it fails beyond the limit as the specification says, the
// guest goes on, and the owner is told once.
func TestTableGrowth(t *testing.T) {
	modes(t, func(t *testing.T, o wasmrt.Options) {
		var told notices
		i := instance(t, limited(t, o), wasmrt.Config{Limits: wasmrt.Limits{Tables: 10}, Notify: told.add})
		for _, c := range []struct{ more, want uint64 }{
			{4, 1}, {5, 5}, {0, 10}, {1, math.MaxUint32}, {math.MaxUint32, math.MaxUint32}, {0, 10},
		} {
			if got, err := i.Call(t.Context(), "grow_table", c.more); err != nil || got[0] != c.want {
				t.Errorf("growing by %d: %v, %v", c.more, got, err)
			}
		}
		if got, err := i.Call(t.Context(), "grow_refs", 1); err != nil || got[0] != math.MaxUint32 {
			t.Errorf("another table: %v, %v", got, err)
		}
		told.once(t, wasmrt.NoticeTableLimit)
		i = instance(t, limited(t, o), wasmrt.Config{Limits: wasmrt.Limits{Tables: 10}})
		for _, c := range []struct {
			name string
			more uint64
			want uint64
		}{{"grow_refs", 7, 0}, {"grow_table", 3, math.MaxUint32}, {"grow_table", 2, 1}, {"grow_refs", 1, math.MaxUint32}, {"grow_refs", 0, 7}} {
			if got, err := i.Call(t.Context(), c.name, c.more); err != nil || got[0] != c.want {
				t.Errorf("%s by %d: %v, %v", c.name, c.more, got, err)
			}
		}
		i = instance(t, limited(t, o), wasmrt.Config{})
		for _, c := range []struct{ more, want uint64 }{{1<<20 - 1, 1}, {1, math.MaxUint32}} {
			if got, err := i.Call(t.Context(), "grow_table", c.more); err != nil || got[0] != c.want {
				t.Errorf("growing by %d: %v, %v", c.more, got, err)
			}
		}
	})
}

// TestPause: a paused guest uses no CPU, a resumed one goes on where it was,
// and one can be stopped while paused.
func TestPause(t *testing.T) {
	m := limited(t, wasmrt.Options{})
	for _, end := range []string{"resume", "stop"} {
		i := instance(t, m, wasmrt.Config{})
		done := make(chan error, 1)
		go func() {
			_, err := i.Call(t.Context(), "count", 1<<40)
			done <- err
		}()
		for i.Usage().Fuel == 0 {
			runtime.Gosched()
		}
		i.Pause()
		settled(i)
		before := i.Usage()
		other := instance(t, m, wasmrt.Config{})
		if _, err := other.Call(t.Context(), "count", 1_000_000); err != nil {
			t.Error(err)
		}
		if after := i.Usage(); after.CPU != before.CPU || after.Fuel != before.Fuel {
			t.Errorf("a paused guest went from %+v to %+v", before, after)
		}
		if end == "resume" {
			i.Resume()
			for i.Usage().Fuel == before.Fuel {
				runtime.Gosched()
			}
		}
		i.Stop()
		ended(t, i, <-done, wasmrt.StoppedReason)
	}
}

// settled returns when a paused guest computes no more.
func settled(i *wasmrt.Instance) {
	for {
		a := i.Usage().CPU
		time.Sleep(time.Millisecond)
		if i.Usage().CPU == a {
			return
		}
	}
}

// TestThrottled: a guest beyond its CPU limit waits, its owner is told once that
// was more than a second, and
// it goes on at once when the limit is lifted.
func TestThrottled(t *testing.T) {
	var told notices
	i := instance(t, limited(t, wasmrt.Options{}), wasmrt.Config{Limits: wasmrt.Limits{CPU: 1}, Notify: told.add})
	done := make(chan error, 1)
	go func() {
		_, err := i.Call(t.Context(), "count", 1<<24)
		done <- err
	}()
	for {
		told.mu.Lock()
		n := len(told.all)
		told.mu.Unlock()
		if n > 0 {
			break
		}
		runtime.Gosched()
	}
	i.SetLimits(0, 0) // at one thousandth of a core it would take half a minute
	if err := <-done; err != nil {
		t.Error(err)
	}
	told.once(t, wasmrt.NoticeCPUThrottled)
	if d := i.Usage().Throttled; d < time.Second {
		t.Errorf("its owner was told after %v", d)
	}
}

// TestWeights: of two that always want the only place on the CPU, the one with
// the weight of 300 gets three times as much.
func TestWeights(t *testing.T) {
	m := limited(t, wasmrt.Options{MaxParallel: 1})
	light := instance(t, m, wasmrt.Config{})
	heavy := instance(t, m, wasmrt.Config{Limits: wasmrt.Limits{Weight: 100}})
	heavy.SetLimits(0, 300)
	for _, i := range []*wasmrt.Instance{light, heavy} {
		go func() { _, _ = i.Call(t.Context(), "spin") }()
	}
	for heavy.Usage().CPU < 300*time.Millisecond {
		time.Sleep(time.Millisecond)
	}
	ratio := heavy.Usage().CPU.Seconds() / light.Usage().CPU.Seconds()
	if ratio < 2.5 || ratio > 3.6 {
		t.Errorf("the ratio is %.2f", ratio)
	}
}

// TestCollectorRunsWhileGuestsSpin, and so does everyone else; all can be
// stopped.
func TestCollectorRunsWhileGuestsSpin(t *testing.T) {
	m := limited(t, wasmrt.Options{})
	var spinning sync.WaitGroup
	all := make([]*wasmrt.Instance, 64)
	for n := range all {
		all[n] = instance(t, m, wasmrt.Config{})
		spinning.Go(func() {
			_, err := all[n].Call(context.Background(), []string{"spin", "tail", "explode"}[n%3])
			if e, ok := errors.AsType[*wasmrt.ExitError](err); !ok || e.Exit.Reason != wasmrt.StoppedReason {
				t.Error(err)
			}
		})
	}
	for _, i := range all {
		for i.Usage().CPU == 0 { // each has its turn
			runtime.Gosched()
		}
	}
	runtime.GC()
	short := instance(t, m, wasmrt.Config{})
	for range 100 {
		if _, err := short.Call(t.Context(), "add", 1, 2); err != nil {
			t.Fatal(err)
		}
	}
	for _, i := range all {
		i.Stop()
	}
	spinning.Wait()
}

// TestPlacesAreLent: a host function that waits without saying so keeps others
// from the CPU only for a moment.
func TestPlacesAreLent(t *testing.T) {
	in, out := make(chan struct{}), make(chan struct{})
	h := testHost(func(context.Context) { close(in); <-out })
	h.Functions[0].Blocks = false
	m := limited(t, wasmrt.Options{MaxParallel: 1, Host: []wasmrt.HostModule{h}})
	done := make(chan error)
	go func() {
		_, err := instance(t, m, wasmrt.Config{}).Call(t.Context(), "wait")
		done <- err
	}()
	<-in
	if _, err := instance(t, m, wasmrt.Config{}).Call(t.Context(), "count", 1_000_000); err != nil {
		t.Error(err)
	}
	close(out)
	if err := <-done; err != nil {
		t.Error(err)
	}
	if _, err := instance(t, m, wasmrt.Config{}).Call(t.Context(), "count", 1_000_000); err != nil {
		t.Error(err)
	}
}

// TestBlockedGuestsGiveTheirPlace: with one place, any number may wait in host
// functions, and computing guests go on.
func TestBlockedGuestsGiveTheirPlace(t *testing.T) {
	var in sync.WaitGroup
	m := limited(t, wasmrt.Options{MaxParallel: 1, Host: []wasmrt.HostModule{testHost(func(ctx context.Context) { in.Done(); <-ctx.Done() })}})
	var all []*wasmrt.Instance
	var waiting sync.WaitGroup
	for range 20 {
		i := instance(t, m, wasmrt.Config{})
		all = append(all, i)
		in.Add(1)
		waiting.Go(func() { _, _ = i.Call(t.Context(), "wait") })
	}
	in.Wait()
	if _, err := instance(t, m, wasmrt.Config{}).Call(t.Context(), "count", 1000); err != nil {
		t.Error(err)
	}
	for _, i := range all {
		if cpu := i.Usage().CPU; cpu > time.Second {
			t.Errorf("waiting counts as %v", cpu)
		}
		_ = i.Close()
	}
	waiting.Wait()
}

func TestProvide(t *testing.T) {
	e := newEngine(t, wasmrt.Options{})
	f := wasmrt.HostFunction{Name: "f", Call: func(context.Context, wasmrt.Caller, []uint64) {}}
	if _, err := e.Compile(t.Context(), limitsWasm); err == nil || !strings.Contains(err.Error(), "test.wait") {
		t.Errorf("an unknown host module: %v", err)
	}
	for name, m := range map[string]wasmrt.HostModule{
		"no name":      {Functions: []wasmrt.HostFunction{f}},
		"no functions": {Name: "a"},
		"no body":      {Name: "a", Functions: []wasmrt.HostFunction{{Name: "f"}}},
		"twice":        {Name: "a", Functions: []wasmrt.HostFunction{f, f}},
		"WASI":         {Name: "wasi_snapshot_preview1", Functions: []wasmrt.HostFunction{f}},
		"the meter":    {Name: meter.Namespace, Functions: []wasmrt.HostFunction{f}},
	} {
		if e, ok := errors.AsType[*wasmrt.Error](e.Provide(m)); !ok || e.Reason != wasmrt.ReasonBadConfig {
			t.Errorf("%s: %v", name, e)
		}
	}
	if err := e.Provide(testHost(untilDone)); err != nil {
		t.Fatal(err)
	}
	if err := e.Provide(testHost(untilDone)); err == nil {
		t.Error("the same name twice")
	}
	m, err := e.Compile(t.Context(), limitsWasm)
	if err != nil {
		t.Fatal(err)
	}
	m.Close()
	wrong := testHost(untilDone)
	wrong.Functions[0].Params = []wasmrt.ValueType{wasmrt.I32}
	if _, err := newEngine(t, wasmrt.Options{Host: []wasmrt.HostModule{wrong}}).Compile(t.Context(), limitsWasm); err == nil || !strings.Contains(err.Error(), "test.wait") {
		t.Errorf("other parameters: %v", err)
	}
	if _, err := wasmrt.NewEngine(t.Context(), wasmrt.Options{Host: []wasmrt.HostModule{{}}}); err == nil {
		t.Error("an engine with a broken host module")
	}
}

// TestHostSeesMemory: reads, writes, and their bounds.
func TestHostSeesMemory(t *testing.T) {
	h := testHost(untilDone)
	h.Functions[0].Call = func(_ context.Context, c wasmrt.Caller, _ []uint64) {
		m := c.Memory()
		if m.Size() != 1<<16 || !m.Write(100, []byte("hello")) {
			t.Error("no memory")
		}
		if b, ok := m.Read(100, 5); !ok || string(b) != "hello" {
			t.Errorf("read %q", b)
		}
		if _, ok := m.Read(1<<16-1, 2); ok || m.Write(1<<16-1, []byte("ab")) || m.Write(math.MaxUint32, []byte("ab")) {
			t.Error("beyond the memory")
		}
	}
	if _, err := instance(t, limited(t, wasmrt.Options{Host: []wasmrt.HostModule{h}}), wasmrt.Config{}).Call(t.Context(), "wait"); err != nil {
		t.Error(err)
	}
}
