package wasmrt_test

import (
	"bytes"
	"context"
	"fmt"
	"log"

	"dhow.dev/dhow/wasmrt"
)

// counterWasm exports next, which counts in a global.
var counterWasm = []byte("\x00asm\x01\x00\x00\x00" +
	"\x01\x05\x01\x60\x00\x01\x7f" + "\x03\x02\x01\x00" + "\x05\x03\x01\x00\x01" + "\x06\x06\x01\x7f\x01\x41\x00\x0b" +
	"\x07\x11\x02\x04next\x00\x00\x06memory\x02\x00" +
	"\x0a\x0d\x01\x0b\x00\x23\x00\x41\x01\x6a\x24\x00\x23\x00\x0b")

// Copies: a guest is initialised once, and each use gets a copy of it.
func ExampleModule_Snapshot() {
	ctx := context.Background()
	engine, err := wasmrt.NewEngine(ctx, wasmrt.Options{})
	if err != nil {
		log.Fatal(err)
	}
	defer engine.Close()
	module, err := engine.Compile(ctx, counterWasm)
	if err != nil {
		log.Fatal(err)
	}
	defer module.Close()
	snapshot, err := module.Snapshot(ctx, wasmrt.Config{})
	if err != nil {
		log.Fatal(err)
	}
	defer snapshot.Close()
	pool := wasmrt.NewPool(wasmrt.PoolConfig{
		New:     func(ctx context.Context) (*wasmrt.Instance, error) { return snapshot.New(ctx, wasmrt.Config{}) },
		MaxUses: 1,
	})
	defer pool.Close()
	for range 2 {
		err := pool.Do(ctx, func(ctx context.Context, i *wasmrt.Instance) error {
			results, err := i.Call(ctx, "next")
			fmt.Println(results)
			return err
		})
		if err != nil {
			log.Fatal(err)
		}
	}
	// Output:
	// [1]
	// [1]
}

// A checkpoint: a guest goes on elsewhere, with the state that it has.
func ExampleInstance_Checkpoint() {
	ctx := context.Background()
	engine, err := wasmrt.NewEngine(ctx, wasmrt.Options{})
	if err != nil {
		log.Fatal(err)
	}
	defer engine.Close()
	module, err := engine.Compile(ctx, counterWasm)
	if err != nil {
		log.Fatal(err)
	}
	defer module.Close()
	instance, err := module.New(ctx, wasmrt.Config{})
	if err != nil {
		log.Fatal(err)
	}
	if _, err := instance.Call(ctx, "next"); err != nil {
		log.Fatal(err)
	}
	var file bytes.Buffer
	if err := instance.Checkpoint(ctx, &file); err != nil {
		log.Fatal(err)
	}
	_ = instance.Close()
	// The same module, in this process or another one.
	if instance, err = module.Restore(ctx, &file, wasmrt.Config{}); err != nil {
		log.Fatal(err)
	}
	results, err := instance.Call(ctx, "next")
	fmt.Println(results, err)
	// Output: [2] <nil>
}
