package extism

import (
	"context"
	_ "embed" // the kernel
	"fmt"

	"dhow.dev/dhow/wasmrt"
)

// Name is the module that plugins import.
const Name = "extism:host/env"

//go:generate wat2wasm kernel.wat -o kernel.wasm
//go:embed kernel.wasm
var kernel []byte

// Module returns Extism's host functions, for wasmrt.Options.Host or
// wasmrt.Engine.Provide.
func Module() wasmrt.HostModule {
	const i, l = wasmrt.I32, wasmrt.I64
	return wasmrt.HostModule{Name: Name, Kernel: kernel, Functions: []wasmrt.HostFunction{
		function("alloc", types(l), types(l), alloc),
		function("free", types(l), nil, free),
		function("length", types(l), types(l), length),
		function("length_unsafe", types(l), types(l), length),
		function("input_set", types(l, l), nil, inputSet),
		function("output_set", types(l, l), nil, outputSet),
		function("output_offset", nil, types(l), outputOffset),
		function("output_length", nil, types(l), outputLength),
		function("error_set", types(l), nil, errorSet),
		function("error_get", nil, types(l), errorGet),
		function("memory_bytes", nil, types(l), memoryBytes),
		function("reset", nil, nil, reset),
		function("config_get", types(l), types(l), configGet),
		function("var_get", types(l), types(l), varGet),
		function("var_set", types(l, l), nil, varSet),
		blocking(function("http_request", types(l, l), types(l), httpRequest)),
		function("http_status_code", nil, types(i), httpStatusCode),
		function("http_headers", nil, types(l), httpHeaders),
		function("log_trace", types(l), nil, logAt(Trace)),
		function("log_debug", types(l), nil, logAt(Debug)),
		function("log_info", types(l), nil, logAt(Info)),
		function("log_warn", types(l), nil, logAt(Warn)),
		function("log_error", types(l), nil, logAt(Error)),
		function("get_log_level", nil, types(i), getLogLevel),
	}}
}

func types(t ...wasmrt.ValueType) []wasmrt.ValueType { return t }

// call is one call of a host function by a plugin.
type call struct {
	*session

	host   *Host
	ctx    context.Context //nolint:containedctx // lives as long as the call
	caller wasmrt.Caller
	memory wasmrt.Memory // the Extism memory
	stack  []uint64      // parameters, then the result
}

func function(name string, params, results []wasmrt.ValueType, f func(call)) wasmrt.HostFunction {
	return wasmrt.HostFunction{
		Name: name, Params: params, Results: results,
		Call: func(ctx context.Context, c wasmrt.Caller, stack []uint64) {
			h, _ := ctx.Value(hostKey{}).(*Host)
			s := sessionOf(c.Instance())
			if h == nil || s == nil {
				c.Fail(fmt.Errorf("%s.%s: %w", Name, name, errNoPlugin))
				return
			}
			s.arena.most = h.c.MaxMemory
			f(call{session: s, host: h, ctx: ctx, caller: c, memory: s.kernel.Memory(), stack: stack})
		},
	}
}

// blocking marks a function that may wait for the network.
func blocking(f wasmrt.HostFunction) wasmrt.HostFunction {
	f.Blocks = true
	return f
}

// fail ends the plugin. It does not return.
func (k call) fail(format string, args ...any) {
	k.caller.Fail(fmt.Errorf("extism: "+format, args...))
}

// take returns a copy of at most most bytes of the block that a parameter names.
func (k call) take(n, most int) []byte {
	b, err := k.copyOf(k.memory, k.stack[n], most)
	if err != nil {
		k.fail("%w", err)
	}
	return b
}

// consume is take of a whole block that now belongs to the host, which frees it.
func (k call) consume(n int) []byte {
	b := k.take(n, maxInt)
	k.arena.release(k.stack[n])
	return b
}

// give returns bytes in a new block.
func (k call) give(b []byte) {
	at, err := k.put(k.memory, b)
	if err != nil {
		k.fail("%w", err)
	}
	k.stack[0] = at
}
