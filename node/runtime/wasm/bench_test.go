package wasm_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	goruntime "runtime"
	"runtime/debug"
	"strconv"
	"sync"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"dhow.dev/dhow/node/runtime"
	"dhow.dev/dhow/node/runtime/wasm"
	dhowv1 "dhow.dev/dhow/proto/dhow/v1"
	"dhow.dev/dhow/wasmrt/wasmtest"
)

// resident is this process's memory in bytes.
func resident(tb testing.TB) int {
	tb.Helper()
	b, err := os.ReadFile("/proc/self/statm")
	if err != nil {
		tb.Skip(err)
	}
	pages, err := strconv.Atoi(string(bytes.Fields(b)[1]))
	if err != nil {
		tb.Fatal(err)
	}
	return pages * os.Getpagesize()
}

// BenchmarkIdle is what idle small instances of one node hold each, with all
// that the runtime keeps of a run: commands that sleep, and functions that were
// called once.
func BenchmarkIdle(b *testing.B) {
	a := &shelf{}
	r := newRuntime(b, a)
	defer r.Close()
	sleeper := command(a.add(b, wasmtest.Guest(b, "c/probe.c")), "sleep", "3600000")
	called := function(a.add(b, reactor(b, "numbers.c")))
	b.Run("commands", func(b *testing.B) { idle(b, r, 10000, sleeper, func(runtime.ID) error { return nil }) })
	b.Run("functions", func(b *testing.B) {
		idle(b, r, 4000, called, func(id runtime.ID) error { // each has a port, and so a file
			_, err := r.Call(b.Context(), id, runtime.Call{Function: "add", Args: []string{"1", "2"}})
			return err
		})
	})
}

func idle(b *testing.B, r *wasm.Runtime, n int, spec *dhowv1.Task, use func(runtime.ID) error) {
	b.Helper()
	for b.Loop() {
		debug.FreeOSMemory()
		var was, is goruntime.MemStats
		goruntime.ReadMemStats(&was)
		before := resident(b)
		ids := make([]runtime.ID, n)
		for i := range n {
			task := newTask(b, spec)
			task.ID.Instance = fmt.Sprint("idle-", i)
			ids[i] = task.ID
			start(b, r, task)
			if err := use(task.ID); err != nil {
				b.Fatal(err)
			}
		}
		if all, err := r.List(b.Context()); err != nil || len(all) != n || !all[0].Running {
			b.Fatalf("%d of %d run: %v", len(all), n, err)
		}
		<-time.After(3 * time.Second) // guests that wait for one give pages back
		debug.FreeOSMemory()
		b.ReportMetric(float64(resident(b)-before)/float64(n)/1024, "KiB/instance")
		goruntime.ReadMemStats(&is)
		b.ReportMetric(float64(is.HeapAlloc-was.HeapAlloc)/float64(n)/1024, "heap-KiB/instance")
		b.ReportMetric(float64(is.StackInuse-was.StackInuse)/float64(n)/1024, "stacks-KiB/instance")
		for _, id := range ids {
			if err := errors.Join(r.Stop(b.Context(), id, 0), r.Remove(b.Context(), id)); err != nil {
				b.Fatal(err)
			}
		}
	}
}

// BenchmarkHTTP is requests through the node's port: an http-wasm handler, and
// a plugin's echo, against native handlers that do the same.
func BenchmarkHTTP(b *testing.B) {
	body := bytes.Repeat([]byte("x"), 1<<10)
	native := http.NewServeMux()
	native.HandleFunc("POST /echo", func(w http.ResponseWriter, r *http.Request) {
		got, err := io.ReadAll(r.Body)
		if err != nil {
			b.Error(err)
		}
		_, _ = w.Write(got)
	})
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	s := &http.Server{Handler: native}
	go func() { _ = s.Serve(l) }()
	defer s.Close()
	wide := func(w *dhowv1.WasmSource) {
		w.Pool.Concurrency, w.Pool.Queue = uint32(4*goruntime.GOMAXPROCS(0)), proto.Uint32(1000)
	}
	b.Run("native", func(b *testing.B) { load(b, "http://"+l.Addr().String()+"/echo", body) })
	b.Run("handler", func(b *testing.B) { load(b, deploy(b, reactor(b, "handler.c"), wide).base+"/echo", body) })
	b.Run("plugin", func(b *testing.B) { load(b, deploy(b, reactor(b, "plugin.c"), wide).base+"/echo", body) })
}

// load posts with 16 clients at a time.
func load(b *testing.B, url string, body []byte) {
	client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 16}}
	defer client.CloseIdleConnections()
	next := make(chan struct{})
	var wg sync.WaitGroup
	for range 16 {
		wg.Go(func() {
			for range next {
				res, err := client.Post(url, "application/octet-stream", bytes.NewReader(body))
				if err != nil {
					b.Error(err)
					continue
				}
				_, _ = io.Copy(io.Discard, res.Body)
				_ = res.Body.Close()
				if res.StatusCode != http.StatusOK {
					b.Errorf("status %d", res.StatusCode)
				}
			}
		})
	}
	for b.Loop() {
		next <- struct{}{}
	}
	close(next)
	wg.Wait()
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "requests/s")
}
