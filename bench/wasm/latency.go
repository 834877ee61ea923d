package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/cgi"
	"net/http/httptest"
	"os"
	"path/filepath"
	"runtime"
	"time"

	sdk "github.com/extism/go-sdk"

	"dhow.dev/dhow/wasmrt"
	"dhow.dev/dhow/wasmrt/extism"
)

// alternate calls each of the contenders in turns, in this process, and gives
// the durations of all but the first calls.
func alternate(rounds, calls int, contenders ...func() error) ([][]time.Duration, error) {
	all := make([][]time.Duration, len(contenders))
	for round := range rounds + 1 {
		for n, call := range contenders {
			for range calls {
				begin := time.Now()
				if err := call(); err != nil {
					return nil, err
				}
				if round > 0 { // else it warms up
					all[n] = append(all[n], time.Since(begin))
				}
			}
		}
	}
	return all, nil
}

// benchCGI has CGI programs in C and Rust answer requests in process, next to
// the C program as a native one that net/http/cgi starts.
func benchCGI(ctx context.Context, o options, t *table, details io.Writer) error {
	dir, err := os.MkdirTemp("", "dhow-cgi-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	program := filepath.Join(dir, "cgi")
	if err := native(ctx, "cgi.c", program); err != nil {
		return err
	}
	e, err := wasmrt.NewEngine(ctx, wasmrt.Options{})
	if err != nil {
		return err
	}
	defer e.Close()
	for _, source := range []string{"cgi.c", "cgi.rs"} {
		path, err := command(ctx, source)
		if err != nil {
			return err
		}
		m, err := e.CompileFile(ctx, path)
		if err != nil {
			return err
		}
		all, err := alternate(o.rounds, 200, asks(wasmrt.NewCGI(m, wasmrt.CGIConfig{})), asks(&cgi.Handler{Path: program}))
		if err != nil {
			return err
		}
		ours, processes := in(us, all[0]), in(us, all[1])
		fmt.Fprintf(details, "%s: p99 %.0f us\n", source, quantile(ours, 0.99))
		t.add(bounded("CGI request, in process, "+source+", p50", median(ours), "us", 100, 40).against("net/http/cgi, the C program as a process", median(processes)))
	}
	return nil
}

// asks is one request to a handler.
func asks(h http.Handler) func() error {
	return func() error {
		w := httptest.NewRecorder()
		h.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/ports", nil))
		if w.Code != http.StatusOK || w.Body.String() != "GET /ports\n" {
			return fmt.Errorf("the answer is %d %q", w.Code, w.Body)
		}
		return nil
	}
}

// benchExtism echoes 1 KiB through a plugin from a pool, next to the same plugin
// with Extism's own SDK, which keeps one instance.
func benchExtism(ctx context.Context, o options, t *table, details io.Writer) error {
	_, self, _, _ := runtime.Caller(0)
	r := recipe("guests", "")
	r.Source, r.Reactor = filepath.Join(filepath.Dir(self), "../../wasmrt/extism/testdata/plugin.c"), true
	path, err := r.Module(ctx)
	if err != nil {
		return err
	}
	input := bytes.Repeat([]byte("dhow"), 256)
	ours, end, err := echoOnEngine(ctx, path, input)
	if err != nil {
		return err
	}
	defer end()
	theirs, err := echoOnSDK(ctx, path, input)
	if err != nil {
		return err
	}
	all, err := alternate(o.rounds, 2000, ours, theirs)
	if err != nil {
		return err
	}
	fmt.Fprintf(details, "Extism echo: p99 %.1f us\n", quantile(in(us, all[0]), 0.99))
	t.add(bounded("pooled function call, Extism echo of 1 KiB, p50", median(in(us, all[0])), "us", 20, 5).
		against("extism/go-sdk 1.7.1, one instance, nothing stops it", median(in(us, all[1]))))
	return nil
}

func echoOnEngine(ctx context.Context, path string, input []byte) (call func() error, end func(), err error) {
	e, err := wasmrt.NewEngine(ctx, wasmrt.Options{Host: []wasmrt.HostModule{extism.Module()}})
	if err != nil {
		return nil, nil, err
	}
	m, err := e.CompileFile(ctx, path)
	if err != nil {
		return nil, nil, err
	}
	h := extism.New(extism.Config{})
	s, err := m.Snapshot(h.With(ctx), wasmrt.Config{})
	if err != nil {
		return nil, nil, err
	}
	pool := wasmrt.NewPool(wasmrt.PoolConfig{New: func(ctx context.Context) (*wasmrt.Instance, error) {
		return s.New(h.With(ctx), wasmrt.Config{})
	}})
	return func() error {
		return pool.Do(ctx, func(ctx context.Context, i *wasmrt.Instance) error {
			out, err := h.Call(ctx, i, "echo", input)
			return echoed(input, out, err)
		})
	}, func() { pool.Close(); s.Close(); _ = e.Close() }, nil
}

func echoOnSDK(ctx context.Context, path string, input []byte) (func() error, error) {
	manifest := sdk.Manifest{Wasm: []sdk.Wasm{sdk.WasmFile{Path: path}}}
	p, err := sdk.NewPlugin(ctx, manifest, sdk.PluginConfig{EnableWasi: true}, nil)
	if err != nil {
		return nil, err
	}
	return func() error {
		_, out, err := p.Call("echo", input)
		return echoed(input, out, err)
	}, nil
}

func echoed(in, out []byte, err error) error {
	if err == nil && !bytes.Equal(in, out) {
		err = fmt.Errorf("the echo of %d bytes is %d bytes", len(in), len(out))
	}
	return err
}
