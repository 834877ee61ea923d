package wasm

import (
	"context"
	"errors"
	"net/http"

	"dhow.dev/dhow/node/runtime"
	dhowv1 "dhow.dev/dhow/proto/dhow/v1"
	"dhow.dev/dhow/wasmrt"
	"dhow.dev/dhow/wasmrt/extism"
	"dhow.dev/dhow/wasmrt/host"
)

// plugin is an Extism plugin: functions on bytes, called by name.
type plugin struct {
	*pooled
	host     *extism.Host
	all      []wasmrt.Export
	standard string
	with     func(context.Context) context.Context
}

func newPlugin(ctx context.Context, t *run, c wasmrt.Config) (*plugin, error) {
	conf := extism.Config{
		Config: t.policy.Config,
		Log: func(_ context.Context, l extism.Level, message string) {
			if l >= extism.Debug {
				t.log(extismLevel(l), message)
			}
		},
		LogLevel: extism.Debug,
	}
	if t.policy.HTTP != nil {
		conf.HTTP = t.policy.HTTP
	}
	p := &plugin{host: extism.New(conf), standard: t.task.Spec.GetWasm().GetFunction()}
	p.all = callable(dhowv1.Trigger_TRIGGER_EXTISM, t.module.Exports())
	p.with = func(ctx context.Context) context.Context { return p.host.With(t.with(ctx)) }
	var err error
	p.pooled, err = newPooled(ctx, t, c, p.with)
	return p, err
}

func (p *plugin) call(ctx context.Context, c runtime.Call) (out runtime.CallResult, err error) {
	f, err := pick(c.Function, p.standard, p.all)
	if err != nil {
		return runtime.CallResult{}, err
	}
	if len(c.Args) > 0 {
		return runtime.CallResult{}, badArguments("an Extism plugin's functions take data, and no arguments")
	}
	err = p.Do(p.with(ctx), func(ctx context.Context, i *wasmrt.Instance) error {
		out.Data, err = p.host.Call(ctx, i, f.Name, c.Data)
		return err
	})
	if failed, ok := errors.AsType[*extism.Failure](err); ok && (failed.Ended == nil || failed.Ended.Exit.Reason == wasmrt.ExitedReason) {
		return runtime.CallResult{}, &runtime.Error{Reason: runtime.ReasonFunctionFailed, Err: failed}
	}
	if err == nil && len(out.Data) > runtime.MaxCallBytes {
		err = tooLarge("the result", len(out.Data))
	}
	return out, callError(err)
}

func (p *plugin) functions() []runtime.Function {
	all := make([]runtime.Function, len(p.all))
	for n, x := range p.all {
		all[n] = runtime.Function{Name: x.Name}
	}
	return all
}

// ServeHTTP calls POST /FUNCTION.
func (p *plugin) ServeHTTP(w http.ResponseWriter, r *http.Request) { serveCall(p, w, r) }

// extismLevel is the host package's word for Extism's.
func extismLevel(l extism.Level) host.Level {
	switch {
	case l <= extism.Debug:
		return host.Debug
	case l == extism.Warn:
		return host.Warn
	case l >= extism.Error:
		return host.Error
	}
	return host.Info
}
