package wasmrt_test

import (
	"context"
	"runtime"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/api"

	"dhow.dev/dhow/wasmrt"
)

// BenchmarkCall is one call of a small function on a warm instance. The peer is
// wazero's own call, without limits.
func BenchmarkCall(b *testing.B) {
	b.Run("wasmrt", func(b *testing.B) {
		i := instance(b, limited(b, wasmrt.Options{}), wasmrt.Config{})
		b.ReportAllocs()
		for b.Loop() {
			if _, err := i.Call(b.Context(), "add", 1, 2); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("timeout", func(b *testing.B) {
		i := instance(b, limited(b, wasmrt.Options{}), wasmrt.Config{Limits: wasmrt.Limits{Timeout: time.Minute, CPU: 4000}})
		for b.Loop() {
			if _, err := i.Call(b.Context(), "add", 1, 2); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("wazero", func(b *testing.B) {
		ctx := b.Context()
		r := wazero.NewRuntimeWithConfig(ctx, wazero.NewRuntimeConfig().WithCoreFeatures(api.CoreFeaturesV2|4<<30)) // all
		defer func() { _ = r.Close(ctx) }()
		m, err := r.Instantiate(ctx, []byte(header+section(1, "\x01\x60\x02\x7e\x7e\x01\x7e")+funcs+section(7, "\x01"+str("add")+"\x00\x00")+section(10, "\x01\x07\x00\x20\x00\x20\x01\x7c\x0b")))
		if err != nil {
			b.Fatal(err)
		}
		f := m.ExportedFunction("add")
		b.ReportAllocs()
		for b.Loop() {
			if _, err := f.Call(ctx, 1, 2); err != nil {
				b.Fatal(err)
			}
		}
	})
}

// BenchmarkSpinning is what others in the process feel while 64 guests spin, and
// without them: a collection from start to return, by how much a sleep of 1 ms
// is late, a call of another guest, and the time to stop all. Medians.
func BenchmarkSpinning(b *testing.B) {
	m := limited(b, wasmrt.Options{})
	for _, n := range []int{64, 0} {
		b.Run(strconv.Itoa(n), func(b *testing.B) {
			short := instance(b, m, wasmrt.Config{})
			figures := map[string][]time.Duration{}
			took := func(name string, f func()) {
				began := time.Now()
				f()
				figures[name] = append(figures[name], time.Since(began))
			}
			for b.Loop() {
				var spinning sync.WaitGroup
				all := make([]*wasmrt.Instance, n)
				for k := range all {
					all[k] = instance(b, m, wasmrt.Config{})
					spinning.Go(func() { _, _ = all[k].Call(context.Background(), "spin") })
				}
				for _, i := range all {
					for i.Usage().CPU == 0 {
						time.Sleep(time.Millisecond)
					}
				}
				took("gc-us", runtime.GC)
				for range 20 {
					took("sleep-us", func() { time.Sleep(time.Millisecond) })
					took("call-us", func() {
						if _, err := short.Call(b.Context(), "add", 1, 2); err != nil {
							b.Fatal(err)
						}
					})
				}
				took("stop-us", func() {
					for _, i := range all {
						i.Stop()
					}
					spinning.Wait()
				})
			}
			for name, all := range figures {
				slices.Sort(all)
				b.ReportMetric(float64(all[len(all)/2].Microseconds()), name)
			}
		})
	}
}

// BenchmarkQuota is the share of a core that a limit of 100m gives, alone and
// beside guests without limit.
func BenchmarkQuota(b *testing.B) {
	m := limited(b, wasmrt.Options{})
	for name, others := range map[string]int{"alone": 0, "beside": 4} {
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				for range others {
					i := instance(b, m, wasmrt.Config{})
					go func() { _, _ = i.Call(context.Background(), "spin") }()
					defer i.Stop()
				}
				i := instance(b, m, wasmrt.Config{Limits: wasmrt.Limits{CPU: 100, Timeout: 3 * time.Second}})
				began := time.Now()
				_, _ = i.Call(b.Context(), "spin")
				b.ReportMetric(i.Usage().CPU.Seconds()/time.Since(began).Seconds(), "cores")
			}
		})
	}
}
