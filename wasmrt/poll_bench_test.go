package wasmrt_test

import (
	"net/http"
	"syscall"
	"testing"
	"time"

	"dhow.dev/dhow/wasmrt"
	"dhow.dev/dhow/wasmrt/wasmtest"
)

// BenchmarkIdleService tells how much of a core a service takes that nobody
// calls, after it has served a request on a connection that stays open.
func BenchmarkIdleService(b *testing.B) {
	e := newEngine(b, wasmrt.Options{CacheDir: wasmtest.CodeDir(b)})
	m := load(b, e, "go/service.go")
	_, at := service(b, m, wasmrt.Config{})
	get(b, http.DefaultClient, "http://"+at+"/")
	const span = 3 * time.Second
	var used time.Duration
	b.ResetTimer()
	for b.Loop() {
		before := cpu(b)
		time.Sleep(span)
		used += cpu(b) - before
	}
	b.ReportMetric(100*used.Seconds()/(span.Seconds()*float64(b.N)), "%core")
}

func cpu(tb testing.TB) time.Duration {
	tb.Helper()
	var r syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &r); err != nil {
		tb.Fatal(err)
	}
	return time.Duration(r.Utime.Nano() + r.Stime.Nano())
}
