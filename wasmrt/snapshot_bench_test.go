package wasmrt_test

import (
	"bufio"
	"context"
	"os"
	"runtime"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"dhow.dev/dhow/wasmrt"
	"dhow.dev/dhow/wasmrt/wasmtest"
)

// BenchmarkCopy: an initialised guest, from its module's beginning and as a
// copy.
func BenchmarkCopy(b *testing.B) {
	e := newEngine(b, wasmrt.Options{CacheDir: wasmtest.CodeDir(b)})
	for _, language := range []string{"go", "c", "rs"} {
		m := reactor(b, e, states+"."+language)
		b.Run(language+"/plain", func(b *testing.B) { starts(b, m.New) })
		b.Run(language+"/copy", func(b *testing.B) { starts(b, snapshot(b, m).New) })
	}
}

func starts(b *testing.B, start func(context.Context, wasmrt.Config) (*wasmrt.Instance, error)) {
	b.Helper()
	took := make([]time.Duration, 0, b.N)
	for b.Loop() {
		t := time.Now()
		i, err := start(context.Background(), wasmrt.Config{})
		took = append(took, time.Since(t))
		if err != nil {
			b.Fatal(err)
		}
		if err := i.Close(); err != nil {
			b.Fatal(err)
		}
	}
	slices.Sort(took)
	b.ReportMetric(float64(took[len(took)/2].Nanoseconds())/1000, "p50-us")
	b.ReportMetric(float64(took[len(took)*99/100].Nanoseconds())/1000, "p99-us")
}

// BenchmarkIdleCopies: what idle copies hold, by their number.
func BenchmarkIdleCopies(b *testing.B) {
	e := newEngine(b, wasmrt.Options{CacheDir: wasmtest.CodeDir(b)})
	for _, c := range []struct {
		language string
		number   int
		calls    bool
	}{{"go", 1000, false}, {"go", 1000, true}, {"rs", 10000, false}, {"c", 10000, false}, {"c", 10000, true}} {
		name := c.language + "/" + strconv.Itoa(c.number)
		if c.calls {
			name += "/called"
		}
		m := reactor(b, e, states+"."+c.language)
		b.Run(name, func(b *testing.B) {
			s := snapshot(b, m)
			for b.Loop() {
				before := private(b)
				all := make([]*wasmrt.Instance, c.number)
				for n := range all {
					var err error
					if all[n], err = s.New(context.Background(), wasmrt.Config{}); err != nil {
						b.Fatal(err)
					}
					if c.calls {
						call(b, all[n], "add", 1)
					}
				}
				b.ReportMetric((private(b)-before)/float64(c.number), "KiB/instance")
				for _, i := range all {
					_ = i.Close()
				}
			}
		})
	}
}

// private is the process's private memory in KiB, without garbage.
func private(tb testing.TB) float64 {
	tb.Helper()
	runtime.GC()
	debug.FreeOSMemory()
	f, err := os.Open("/proc/self/smaps_rollup")
	if err != nil {
		tb.Skip(err)
	}
	defer func() { _ = f.Close() }()
	var sum float64
	for s := bufio.NewScanner(f); s.Scan(); {
		if fields := strings.Fields(s.Text()); strings.HasPrefix(fields[0], "Private_") {
			n, err := strconv.ParseFloat(fields[1], 64)
			if err != nil {
				tb.Fatal(err)
			}
			sum += n
		}
	}
	return sum
}
