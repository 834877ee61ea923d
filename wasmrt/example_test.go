package wasmrt_test

import (
	"context"
	"fmt"
	"log"
	"net/http"
	"os"
	"strings"
	"time"

	"dhow.dev/dhow/wasmrt"
)

// A command: compiled once, run as often as you like.
func Example() {
	ctx := context.Background()
	engine, err := wasmrt.NewEngine(ctx, wasmrt.Options{CacheDir: "/var/cache/example"})
	if err != nil {
		log.Fatal(err)
	}
	defer engine.Close()
	module, err := engine.CompileFile(ctx, "wordcount.wasm")
	if err != nil {
		log.Fatal(err)
	}
	defer module.Close()
	ctx, cancel := context.WithTimeout(ctx, time.Second) // interrupts the guest
	defer cancel()
	exit, err := module.Run(ctx, wasmrt.Config{
		Args:   []string{"wordcount"},
		Stdin:  strings.NewReader("one two two"),
		Stdout: os.Stdout,
		Stderr: os.Stderr,
		Limits: wasmrt.Limits{Memory: 32 << 20},
	})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(exit.Code, exit.Reason)
}

// A CGI program: one run for each request.
func ExampleNewCGI() {
	engine, err := wasmrt.NewEngine(context.Background(), wasmrt.Options{})
	if err != nil {
		log.Fatal(err)
	}
	defer engine.Close()
	module, err := engine.CompileFile(context.Background(), "hello.wasm")
	if err != nil {
		log.Fatal(err)
	}
	defer module.Close()
	http.Handle("/hello/", wasmrt.NewCGI(module, wasmrt.CGIConfig{Timeout: time.Second, MaxConcurrent: 8}))
}
