package httpwasm_test

import (
	"context"
	"log"
	"net/http"

	"dhow.dev/dhow/wasmrt"
	"dhow.dev/dhow/wasmrt/httpwasm"
)

// Middleware in front of a file server.
func Example() {
	ctx := context.Background()
	engine, err := wasmrt.NewEngine(ctx, wasmrt.Options{Host: []wasmrt.HostModule{httpwasm.Module()}})
	if err != nil {
		log.Fatal(err)
	}
	defer engine.Close()
	module, err := engine.CompileFile(ctx, "auth.wasm")
	if err != nil {
		log.Fatal(err)
	}
	defer module.Close()
	if err := httpwasm.Check(module.Exports()); err != nil {
		log.Fatal(err)
	}

	host := httpwasm.New(httpwasm.Config{Guest: []byte(`{"realm": "files"}`)})
	guests := wasmrt.NewPool(wasmrt.PoolConfig{Max: 16, New: func(ctx context.Context) (*wasmrt.Instance, error) {
		return module.New(host.With(ctx), wasmrt.Config{Limits: wasmrt.Limits{Memory: 32 << 20}})
	}})
	defer guests.Close()
	http.Handle("/", host.Handler(guests, http.FileServer(http.Dir("/srv"))))
}
