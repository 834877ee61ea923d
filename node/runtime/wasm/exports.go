package wasm

import (
	"context"
	"net/http"

	"dhow.dev/dhow/node/runtime"
	dhowv1 "dhow.dev/dhow/proto/dhow/v1"
	"dhow.dev/dhow/wasmrt"
)

// exports are functions with typed scalars, called by name.
type exports struct {
	*pooled
	all      []wasmrt.Export
	standard string
	with     func(context.Context) context.Context
}

func newExports(ctx context.Context, t *run, c wasmrt.Config) (*exports, error) {
	p, err := newPooled(ctx, t, c, t.with)
	if err != nil {
		return nil, err
	}
	w := t.task.Spec.GetWasm()
	return &exports{p, callable(dhowv1.Trigger_TRIGGER_CALL, t.module.Exports()), w.GetFunction(), t.with}, nil
}

func (e *exports) call(ctx context.Context, c runtime.Call) (runtime.CallResult, error) {
	f, err := pick(c.Function, e.standard, e.all)
	if err != nil {
		return runtime.CallResult{}, err
	}
	args, err := f.ParseArgs(c.Args)
	if err != nil {
		return runtime.CallResult{}, callError(err)
	}
	var out runtime.CallResult
	err = e.Do(e.with(ctx), func(ctx context.Context, i *wasmrt.Instance) error {
		results, err := i.Call(ctx, f.Name, args...)
		if err == nil {
			out.Values, err = f.FormatResults(results)
		}
		return err
	})
	return out, callError(err)
}

func (e *exports) functions() []runtime.Function {
	all := make([]runtime.Function, len(e.all))
	for n, x := range e.all {
		all[n] = runtime.Function{Name: x.Name, Params: names(x.Params), Results: names(x.Results)}
	}
	return all
}

func names(types []wasmrt.ValueType) []string {
	all := make([]string, len(types))
	for n, t := range types {
		all[n] = t.String()
	}
	return all
}

// ServeHTTP calls POST /FUNCTION?arg=1&arg=2.
func (e *exports) ServeHTTP(w http.ResponseWriter, r *http.Request) { serveCall(e, w, r) }
