// Package httpwasm runs middleware written for the http-wasm http_handler ABI
// (https://http-wasm.io) in front of any http.Handler: a guest looks at a
// request before the next handler, changes it or answers it by itself, and may
// look at the answer afterwards.
//
// The room holds the ABI's host functions and the handler that calls guests;
// it runs them through package wasmrt and knows nothing else of dhow.
//
//	host := httpwasm.New(httpwasm.Config{Guest: []byte(`{"realm":"x"}`)})
//	engine, err := wasmrt.NewEngine(ctx, wasmrt.Options{Host: []wasmrt.HostModule{httpwasm.Module()}})
//	module, err := engine.CompileFile(ctx, "auth.wasm")
//	pool := wasmrt.NewPool(wasmrt.PoolConfig{New: func(ctx context.Context) (*wasmrt.Instance, error) {
//		return module.New(host.With(ctx), wasmrt.Config{})
//	}})
//	http.Handle("/", host.Handler(pool, next))
//
// # What is bounded
//
// A guest's calls take at most Config.Timeout each, the next handler's time not
// counted. Bodies that are kept (features BufferRequest and BufferResponse, and
// bodies that a guest writes for the next handler) are at most Config.MaxBody bytes;
// header fields that a guest sets at most Config.MaxHeader bytes a request. A guest
// that breaks the ABI's rules or a bound is ended on the spot.
//
// # What a failure means
//
// Nothing gets past a guest that failed: the next handler is not called, and the client
// gets a 502 (504 when the time was over, 503 when no instance was free, 413 when the request's
// body is larger than what is kept). When the answer is already on its way, the connection is cut.
package httpwasm
