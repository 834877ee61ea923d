package extism_test

import (
	"context"
	"fmt"
	"log"
	"net/http"
	"os"
	"time"

	"dhow.dev/dhow/wasmrt"
	"dhow.dev/dhow/wasmrt/extism"
)

// A plugin that many callers share: its instances begin as copies of one that
// is initialised, and are kept between calls.
func Example() {
	ctx := context.Background()
	engine, err := wasmrt.NewEngine(ctx, wasmrt.Options{Host: []wasmrt.HostModule{extism.Module()}})
	if err != nil {
		log.Fatal(err)
	}
	defer engine.Close()
	module, err := engine.CompileFile(ctx, "plugin.wasm")
	if err != nil {
		log.Fatal(err)
	}
	defer module.Close()

	plugins := extism.New(extism.Config{
		Config: map[string]string{"greeting": "ahoy"},
		Log: func(_ context.Context, l extism.Level, message string) {
			fmt.Fprintln(os.Stderr, l, message)
		},
	})
	config := wasmrt.Config{Limits: wasmrt.Limits{Memory: 64 << 20, Timeout: time.Second}}
	image, err := module.Snapshot(plugins.With(ctx), config)
	if err != nil {
		log.Fatal(err)
	}
	defer image.Close()
	pool := wasmrt.NewPool(wasmrt.PoolConfig{New: func(ctx context.Context) (*wasmrt.Instance, error) {
		return image.New(plugins.With(ctx), config)
	}})
	defer pool.Close()

	err = pool.Do(ctx, func(ctx context.Context, i *wasmrt.Instance) error {
		output, err := plugins.Call(ctx, i, "greet", []byte("you"))
		fmt.Println(string(output))
		return err
	})
	if err != nil {
		log.Fatal(err)
	}
}

// Plugins ask one host, over TLS, and no other.
func ExampleHTTP() {
	extism.New(extism.Config{HTTP: only("api.example.com")})
}

type only string

func (host only) Do(r *http.Request) (*http.Response, error) {
	if r.URL.Scheme != "https" || r.URL.Host != string(host) {
		return nil, fmt.Errorf("%s is not allowed", r.URL)
	}
	return http.DefaultTransport.RoundTrip(r) // follows no redirect
}
