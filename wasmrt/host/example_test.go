package host_test

import (
	"context"
	"fmt"
	"log"
	"os"
	"path/filepath"

	"dhow.dev/dhow/wasmrt"
	"dhow.dev/dhow/wasmrt/host"
	"dhow.dev/dhow/wasmrt/wasmtest"
)

// A guest with a store, a configuration value and a log, and with requests to
// one host.
func Example() {
	ctx := context.Background()
	engine, err := wasmrt.NewEngine(ctx, wasmrt.Options{Host: host.Modules()})
	if err != nil {
		log.Fatal(err)
	}
	defer engine.Close()
	module, err := engine.CompileFile(ctx, guest(ctx))
	if err != nil {
		log.Fatal(err)
	}
	defer module.Close()

	requests, err := host.NewHTTP(host.HTTPOptions{Allow: []string{"https://api.example.com"}})
	if err != nil {
		log.Fatal(err)
	}
	defer requests.Close()
	ctx = host.With(ctx, host.Policy{
		HTTP:   requests,
		Config: map[string]string{"greeting": "ahoy"},
		Store:  host.NewMemory(host.StoreLimits{Bytes: 1 << 20}),
		Log:    func(level host.Level, text string) { fmt.Println(level, text) },
	})
	_, err = module.Run(ctx, wasmrt.Config{
		Args: []string{
			"host", "config", "greeting", "",
			"log", "1", "under way",
			"add", "visits", "1",
			"http", "GET https://elsewhere.example/", "",
		},
		Stdout: os.Stdout,
	})
	if err != nil {
		log.Fatal(err)
	}
	// Output:
	// ahoy
	// info under way
	//
	// 1
	// -2 http_send: not allowed: https://elsewhere.example:443 is not on the list
}

// guest builds the guest testdata/host.c.
func guest(ctx context.Context) string {
	source, err := filepath.Abs(filepath.Join("testdata", "host.c"))
	if err != nil {
		log.Fatal(err)
	}
	path, err := wasmtest.Recipe{Source: source}.Module(ctx)
	if err != nil {
		log.Fatal(err)
	}
	return path
}
