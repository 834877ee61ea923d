// Package wasmrt runs WebAssembly modules that nobody trusts inside a Go program
// that lives long: WASI preview 1 commands, functions to be called, CGI programs
// behind HTTP, services on a listener. It is a library for anyone: it imports no
// other room of dhow, and is the only user of wazero.
//
// One Engine compiles modules once, keeps their machine code on disk, and runs
// any number of anonymous instances of them, each with its own arguments,
// environment, streams and limits:
//
//	engine, err := wasmrt.NewEngine(ctx, wasmrt.Options{CacheDir: dir})
//	module, err := engine.CompileFile(ctx, "app.wasm")
//	exit, err := module.Run(ctx, wasmrt.Config{Args: []string{"app", "-v"}, Stdout: os.Stdout})
//
// or, for functions:
//
//	instance, err := module.New(ctx, wasmrt.Config{Limits: wasmrt.Limits{Memory: 64 << 20, Timeout: time.Second}})
//	results, err := instance.Call(ctx, "add", 40, 2)
//
// A guest sees the real clocks, real sleep and real randomness. Files, sockets
// and anything else of the host it has only as its Config and the host modules
// of the Engine say.
//
// # Taking turns
//
// Modules are rewritten before they are compiled, by package meter, so that a
// guest asks the host for more fuel about every 100 us, whatever it does: there
// it is stopped, its deadline and limits are checked, and all others in the
// process, Go's garbage collector among them, have their turn. As many guests as there
// are processors compute at a time; the others queue, and who has had the least
// in proportion to its weight is next. Who comes with short work does not queue
// for its first slice. A guest that waits in a host function
// gives its place to others.
//
// # Ends
//
// An instance ends when its _start returns, when it exits or traps, when it is
// stopped, and when it reaches its limit of time, fuel or stack: see Exit. The
// end of a context stops the guest that runs in it. Memory is unmapped only
// after the guest's code has returned. Growing memory or tables beyond their
// limit fails as the specification says, and the guest goes on; Config.Notify
// is told.
package wasmrt
