package wasmrt_test

import (
	"context"
	"errors"
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

// Functions: an instance keeps its state between calls.
func Example_functions() {
	ctx := context.Background()
	engine, err := wasmrt.NewEngine(ctx, wasmrt.Options{Host: []wasmrt.HostModule{testHost(untilDone)}})
	if err != nil {
		log.Fatal(err)
	}
	defer engine.Close()
	module, err := engine.Compile(ctx, limitsWasm)
	if err != nil {
		log.Fatal(err)
	}
	defer module.Close()
	instance, err := module.New(ctx, wasmrt.Config{})
	if err != nil {
		log.Fatal(err)
	}
	defer instance.Close()
	for range 2 {
		results, err := instance.Call(ctx, "next")
		if err != nil {
			log.Fatal(err)
		}
		fmt.Println(results[0])
	}
	// Output:
	// 1
	// 2
}

// Limits: a guest that never ends of its own, and one that asks for too much.
func Example_limits() {
	ctx := context.Background()
	engine, err := wasmrt.NewEngine(ctx, wasmrt.Options{Host: []wasmrt.HostModule{testHost(untilDone)}})
	if err != nil {
		log.Fatal(err)
	}
	defer engine.Close()
	module, err := engine.Compile(ctx, limitsWasm)
	if err != nil {
		log.Fatal(err)
	}
	defer module.Close()
	for _, try := range []struct {
		function string
		limits   wasmrt.Limits
	}{
		{"spin", wasmrt.Limits{Timeout: 10 * time.Millisecond, CPU: 500, Weight: 50}},
		{"spin", wasmrt.Limits{Fuel: 1_000_000}},
		{"tail", wasmrt.Limits{Fuel: 1_000_000}},
		{"explode", wasmrt.Limits{Fuel: 1_000_000}},
	} {
		instance, err := module.New(ctx, wasmrt.Config{Limits: try.limits})
		if err != nil {
			log.Fatal(err)
		}
		_, err = instance.Call(ctx, try.function)
		if e, ok := errors.AsType[*wasmrt.ExitError](err); ok {
			fmt.Println(try.function, e.Exit.Reason, e.Exit.Code)
		}
		_ = instance.Close() // has ended already
	}
	// Output:
	// spin TimedOut 124
	// spin OutOfFuel 152
	// tail OutOfFuel 152
	// explode OutOfFuel 152
}

// A host module of one's own, which guests import by its name.
func ExampleEngine_Provide() {
	ctx := context.Background()
	engine, err := wasmrt.NewEngine(ctx, wasmrt.Options{})
	if err != nil {
		log.Fatal(err)
	}
	defer engine.Close()
	i64 := []wasmrt.ValueType{wasmrt.I64}
	err = engine.Provide(wasmrt.HostModule{Name: "test", Functions: []wasmrt.HostFunction{
		{Name: "twice", Params: i64, Results: i64, Call: func(_ context.Context, _ wasmrt.Caller, stack []uint64) { stack[0] *= 2 }},
		// It waits, so the guest's place on the CPU is for others meanwhile.
		{Name: "wait", Blocks: true, Call: func(ctx context.Context, c wasmrt.Caller, _ []uint64) {
			select {
			case <-time.After(time.Second):
			case <-ctx.Done(): // the guest is to end
			}
		}},
	}})
	if err != nil {
		log.Fatal(err)
	}
	module, err := engine.Compile(ctx, limitsWasm)
	if err != nil {
		log.Fatal(err)
	}
	defer module.Close()
	instance, err := module.New(ctx, wasmrt.Config{})
	if err != nil {
		log.Fatal(err)
	}
	defer instance.Close()
	results, err := instance.Call(ctx, "twice", 21)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(results[0])
	// Output: 42
}

// Usage, and limits that change while a guest runs.
func ExampleInstance_Usage() {
	ctx := context.Background()
	engine, err := wasmrt.NewEngine(ctx, wasmrt.Options{Host: []wasmrt.HostModule{testHost(untilDone)}})
	if err != nil {
		log.Fatal(err)
	}
	defer engine.Close()
	module, err := engine.Compile(ctx, limitsWasm)
	if err != nil {
		log.Fatal(err)
	}
	defer module.Close()
	instance, err := module.New(ctx, wasmrt.Config{Limits: wasmrt.Limits{CPU: 100}})
	if err != nil {
		log.Fatal(err)
	}
	defer instance.Close()
	instance.SetLimits(2000, 300) // two cores from now on, and three shares of them
	instance.Pause()
	instance.Resume()
	if _, err := instance.Call(ctx, "count", 1000); err != nil {
		log.Fatal(err)
	}
	usage := instance.Usage()
	fmt.Println(usage.Calls, usage.Fuel, usage.Memory)
	// Output: 1 8001 65536
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
