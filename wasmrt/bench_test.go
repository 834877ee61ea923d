package wasmrt_test

import (
	"context"
	"crypto/rand"
	"net/http"
	"net/http/cgi"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/tetratelabs/wazero"
	wasi "github.com/tetratelabs/wazero/imports/wasi_snapshot_preview1"

	"dhow.dev/dhow/wasmrt"
	"dhow.dev/dhow/wasmrt/wasmtest"
)

var benchGuests = []string{"c/probe.c", "rust/probe.rs", "go/probe.go"}

// BenchmarkRun is a whole run of a command that exits at once: instantiate,
// _start, free. The peer is wazero by itself, with its own memory, a real
// clock and randomness, and no way to stop the guest. (With debug information,
// its default, each proc_exit would read the guest's line tables: 20 ms in C.)
func BenchmarkRun(b *testing.B) {
	for _, source := range benchGuests {
		b.Run(filepath.Dir(source)+"/wasmrt", func(b *testing.B) {
			m := load(b, newEngine(b, wasmrt.Options{CacheDir: wasmtest.CodeDir(b)}), source)
			for b.Loop() {
				if exit, err := m.Run(b.Context(), wasmrt.Config{Args: []string{"probe", "exit", "0"}}); err != nil || exit.Code != 0 {
					b.Fatal(exit, err)
				}
			}
		})
		b.Run(filepath.Dir(source)+"/wazero", func(b *testing.B) {
			ctx := b.Context()
			r := wazero.NewRuntimeWithConfig(ctx, wazero.NewRuntimeConfig().WithDebugInfoEnabled(false))
			defer r.Close(context.WithoutCancel(ctx))
			wasi.MustInstantiate(ctx, r)
			c, err := r.CompileModule(ctx, wasmtest.Bytes(b, source))
			if err != nil {
				b.Fatal(err)
			}
			config := wazero.NewModuleConfig().WithName("").WithArgs("probe", "exit", "0").WithSysWalltime().WithSysNanotime().WithRandSource(rand.Reader)
			for b.Loop() {
				m, err := r.InstantiateModule(ctx, c, config)
				if err != nil {
					b.Fatal(err)
				}
				if err := m.Close(ctx); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkStart is the time until a guest is instantiated and about to run.
func BenchmarkStart(b *testing.B) {
	for _, source := range benchGuests {
		b.Run(filepath.Dir(source), func(b *testing.B) {
			m := load(b, newEngine(b, wasmrt.Options{CacheDir: wasmtest.CodeDir(b)}), source)
			for b.Loop() {
				i, err := m.Start(b.Context(), wasmrt.Config{Args: []string{"probe", "exit", "0"}})
				if err != nil {
					b.Fatal(err)
				}
				b.StopTimer()
				i.Wait()
				b.StartTimer()
			}
		})
	}
}

// BenchmarkIdle starts 1,000 guests that print a line and then sleep, all at
// once: ms until all have printed, and resident bytes for each.
func BenchmarkIdle(b *testing.B) {
	const n = 1000
	for _, source := range benchGuests {
		b.Run(filepath.Dir(source), func(b *testing.B) {
			m := load(b, newEngine(b, wasmrt.Options{CacheDir: wasmtest.CodeDir(b)}), source)
			for b.Loop() {
				before := resident(b)
				all := make([]*wasmrt.Instance, n)
				printed := make(writes, n)
				var wg sync.WaitGroup
				for w := range runtime.GOMAXPROCS(0) * 2 {
					wg.Go(func() {
						for k := w; k < n; k += runtime.GOMAXPROCS(0) * 2 {
							i, err := m.Start(b.Context(), wasmrt.Config{Args: []string{"probe", "sleep", "3600000"}, Stdout: printed})
							if err != nil {
								b.Error(err)
								return
							}
							all[k] = i
						}
					})
				}
				for range n {
					<-printed
				}
				wg.Wait()
				b.StopTimer()
				runtime.GC()
				b.ReportMetric(float64(resident(b)-before)/n, "rss-B/instance")
				for _, i := range all {
					i.Stop()
				}
				for _, i := range all {
					i.Wait()
				}
				b.StartTimer()
			}
		})
	}
}

// resident is the process's resident memory.
func resident(b *testing.B) int64 {
	b.Helper()
	s, err := os.ReadFile("/proc/self/statm")
	if err != nil {
		b.Skip(err)
	}
	pages, err := strconv.ParseInt(strings.Fields(string(s))[1], 10, 64)
	if err != nil {
		b.Fatal(err)
	}
	return pages * int64(os.Getpagesize())
}

// BenchmarkCGI is one request through the handler. The peer is net/http/cgi
// with the same program, compiled for this machine.
func BenchmarkCGI(b *testing.B) {
	for _, source := range []string{"c/probe.c", "go/probe.go"} {
		b.Run(filepath.Dir(source)+"/wasmrt", func(b *testing.B) {
			m := load(b, newEngine(b, wasmrt.Options{CacheDir: wasmtest.CodeDir(b)}), source)
			benchHandler(b, wasmrt.NewCGI(m, wasmrt.CGIConfig{}))
		})
		b.Run(filepath.Dir(source)+"/native", func(b *testing.B) {
			benchHandler(b, &cgi.Handler{Path: native(b, source)})
		})
	}
}

func benchHandler(b *testing.B, h http.Handler) {
	b.Helper()
	b.RunParallel(func(p *testing.PB) {
		for p.Next() {
			w := httptest.NewRecorder()
			h.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/x", nil))
			if w.Code >= 300 {
				b.Error(w.Code, w.Body)
				return
			}
		}
	})
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "requests/s")
}

// native builds the guest for this machine.
func native(b *testing.B, source string) string {
	b.Helper()
	src := filepath.Join("testdata", source)
	out := filepath.Join(b.TempDir(), "probe")
	argv := []string{"clang", "-O2", "-w", "-o", out, src}
	if filepath.Ext(source) == ".go" {
		text, err := os.ReadFile(src)
		if err != nil {
			b.Fatal(err)
		}
		src = filepath.Join(b.TempDir(), "probe.go")
		if err := os.WriteFile(src, []byte(strings.Replace(string(text), "//go:build wasip1\n", "", 1)), 0o600); err != nil {
			b.Fatal(err)
		}
		argv = []string{"go", "build", "-ldflags=-s -w", "-o", out, src}
	}
	if msg, err := exec.CommandContext(b.Context(), argv[0], argv[1:]...).CombinedOutput(); err != nil {
		b.Fatalf("%v\n%s", err, msg)
	}
	return out
}
