package httpwasm

import (
	"context"
	"errors"
	"fmt"

	"dhow.dev/dhow/wasmrt"
)

// Name is the module that guests import.
const Name = "http_handler"

// Module returns the ABI's host functions, for wasmrt.Options.Host or
// wasmrt.Engine.Provide.
func Module() wasmrt.HostModule {
	const i, l = wasmrt.I32, wasmrt.I64
	return wasmrt.HostModule{Name: Name, Functions: []wasmrt.HostFunction{
		function("enable_features", types(i), types(i), enableFeatures),
		function("get_config", types(i, i), types(i), getConfig),
		function("log", types(i, i, i), nil, logMessage),
		function("log_enabled", types(i), types(i), logEnabled),
		function("get_method", types(i, i), types(i), inRequest(getMethod)),
		function("set_method", types(i, i), nil, beforeNext(setMethod)),
		function("get_uri", types(i, i), types(i), inRequest(getURI)),
		function("set_uri", types(i, i), nil, beforeNext(setURI)),
		function("get_protocol_version", types(i, i), types(i), inRequest(getProtocolVersion)),
		function("get_source_addr", types(i, i), types(i), inRequest(getSourceAddr)),
		function("get_header_names", types(i, i, i), types(l), inRequest(getHeaderNames)),
		function("get_header_values", types(i, i, i, i, i), types(l), inRequest(getHeaderValues)),
		function("set_header_value", types(i, i, i, i, i), nil, inRequest(setHeaderValue)),
		function("add_header_value", types(i, i, i, i, i), nil, inRequest(addHeaderValue)),
		function("remove_header", types(i, i, i), nil, inRequest(removeHeader)),
		blocking(function("read_body", types(i, i, i), types(l), inRequest(readBody))),
		blocking(function("write_body", types(i, i, i), nil, inRequest(writeBody))),
		function("get_status_code", nil, types(i), inRequest(getStatusCode)),
		function("set_status_code", types(i), nil, inRequest(setStatusCode)),
	}}
}

func types(t ...wasmrt.ValueType) []wasmrt.ValueType { return t }

// call is one call of a host function by a guest.
type call struct {
	*exchange

	ctx    context.Context //nolint:containedctx // lives as long as the call
	caller wasmrt.Caller
	stack  []uint64 // parameters, then the result
}

func function(name string, params, results []wasmrt.ValueType, f func(call)) wasmrt.HostFunction {
	return wasmrt.HostFunction{
		Name: name, Params: params, Results: results,
		Call: func(ctx context.Context, c wasmrt.Caller, stack []uint64) {
			x, _ := ctx.Value(exchangeKey{}).(*exchange)
			if x == nil {
				c.Fail(errors.New(name + " was called by a guest that no httpwasm.Host runs"))
				return
			}
			f(call{exchange: x, ctx: ctx, caller: c, stack: stack})
		},
	}
}

// blocking marks a function that may wait for the network.
func blocking(f wasmrt.HostFunction) wasmrt.HostFunction {
	f.Blocks = true
	return f
}

// inRequest refuses a function while a guest is initialised.
func inRequest(f func(call)) func(call) {
	return func(k call) {
		if k.r == nil {
			k.fail(errors.New("there is no request while a guest is initialised"))
			return
		}
		f(k)
	}
}

// beforeNext refuses a function in handle_response.
func beforeNext(f func(call)) func(call) {
	return inRequest(func(k call) {
		if k.afterNext {
			k.fail(errors.New("a request cannot be changed after the next handler"))
			return
		}
		f(k)
	})
}

// fail ends the guest. The error is kept for the answer to the client.
func (k call) fail(err error) {
	k.failure = err
	k.caller.Fail(fmt.Errorf("%s: %w", Name, err))
}

// u32 is a parameter.
func (k call) u32(n int) uint32 { return uint32(k.stack[n]) } //nolint:gosec // an i32

// view is a part of the guest's memory.
func (k call) view(at, n uint32) []byte {
	if n == 0 {
		return nil
	}
	b, ok := k.caller.Memory().Read(at, n)
	if !ok {
		k.fail(fmt.Errorf("%d bytes at %d are not in the guest's memory", n, at))
	}
	return b
}

// text is the string that two parameters tell of.
func (k call) text(n int) string { return string(k.view(k.u32(n), k.u32(n+1))) }

// put writes a value where the first two parameters say, if it fits there, and
// returns its length.
func (k call) put(value string) {
	if at, limit := k.u32(0), k.u32(1); len(value) > 0 && uint64(len(value)) <= uint64(limit) {
		copy(k.view(at, uint32(len(value))), value) //nolint:gosec // at most limit
	}
	k.stack[0] = uint64(len(value))
}

// putAll writes strings, each ended by a NUL, where two parameters say, if
// they fit there, and returns their number and the length.
func (k call) putAll(n int, values []string) {
	var size int
	for _, v := range values {
		size += len(v) + 1
	}
	if at, limit := k.u32(n), k.u32(n+1); size > 0 && uint64(size) <= uint64(limit) {
		b := k.view(at, uint32(size)) //nolint:gosec // at most limit
		for _, v := range values {
			b = b[copy(b, v):]
			b[0] = 0
			b = b[1:]
		}
	}
	k.stack[0] = uint64(len(values))<<32 | uint64(size) //nolint:gosec // not negative
}
