// Package wasmrt runs WebAssembly modules inside a Go program: WASI preview 1
// commands, and commands as CGI programs behind HTTP. It is a library for
// anyone: it imports no other room of dhow, and is the only user of wazero.
//
// One Engine compiles modules once, keeps their machine code on disk, and runs
// any number of anonymous instances of them, each with its own arguments,
// environment, streams and memory limit:
//
//	engine, err := wasmrt.NewEngine(ctx, wasmrt.Options{CacheDir: dir})
//	module, err := engine.CompileFile(ctx, "app.wasm")
//	exit, err := module.Run(ctx, wasmrt.Config{Args: []string{"app", "-v"}, Stdout: os.Stdout})
//
// A guest sees the real clocks, real sleep and real randomness; it has no
// files and no network.
//
// # Stopping a guest
//
// Cancelling the context of a run interrupts the guest at its next loop head,
// sleep or read of its input, and the run returns with the reason Stopped. Memory is
// unmapped only after the guest has returned. The check at each loop head is
// wazero's own and costs: a tight loop takes 24 ns an iteration instead of 1,
// and loop-free recursion is not interrupted at all.
package wasmrt
