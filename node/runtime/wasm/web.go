package wasm

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"

	"dhow.dev/dhow/node/runtime"
	"dhow.dev/dhow/wasmrt"
	"dhow.dev/dhow/wasmrt/host"
	"dhow.dev/dhow/wasmrt/httpwasm"
)

// web answers HTTP requests; a call is one too.
type web struct{ http.Handler }

func (w web) call(ctx context.Context, c runtime.Call) (runtime.CallResult, error) {
	return callHandler(ctx, w.Handler, c)
}

func (w web) functions() []runtime.Function { return []runtime.Function{{Name: "/"}} }

// cgi is a guest that is run once for each request.
type cgi struct {
	web
	cgi *wasmrt.CGI
}

func newCGI(t *run, c wasmrt.Config) *cgi {
	g := &cgi{}
	pool, own := poolConfig(t.task.Spec.GetWasm()), c.Limits
	own.Timeout = 0 // CGI has its own
	g.cgi = wasmrt.NewCGI(t.module, wasmrt.CGIConfig{
		Args: c.Args, Env: c.Env, Stderr: c.Stderr, Limits: own, Mounts: c.Mounts, Notify: c.Notify,
		Timeout: c.Limits.Timeout, MaxConcurrent: pool.Max, MaxQueue: pool.Queue, Now: t.r.c.Now,
	})
	g.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		g.cgi.ServeHTTP(w, r.WithContext(t.with(r.Context())))
	})
	return g
}

func (g *cgi) usage() runtime.Stats {
	return stats(g.cgi.Usage())
}

func (g *cgi) close() {}

// handler is an http-wasm guest that answers requests by itself.
type handler struct {
	web
	*pooled
}

func newHandler(ctx context.Context, t *run, c wasmrt.Config) (*handler, error) {
	config, err := json.Marshal(t.policy.Config)
	if err != nil {
		return nil, fmt.Errorf("the handler's configuration: %w", err)
	}
	h := httpwasm.New(httpwasm.Config{
		Guest: config, Timeout: c.Limits.Timeout,
		Log: func(_ context.Context, l httpwasm.Level, message string) { t.log(level(l), message) },
	})
	p, err := newPooled(ctx, t, c, func(ctx context.Context) context.Context { return h.With(t.with(ctx)) })
	if err != nil {
		return nil, err
	}
	serve := h.Handler(p, nil)
	return &handler{web{http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		serve.ServeHTTP(w, r.WithContext(t.with(r.Context())))
	})}, p}, nil
}

// level is the host package's word for http-wasm's.
func level(l httpwasm.Level) host.Level {
	switch l {
	case httpwasm.Debug:
		return host.Debug
	case httpwasm.Warn:
		return host.Warn
	case httpwasm.Error:
		return host.Error
	default:
		return host.Info
	}
}
