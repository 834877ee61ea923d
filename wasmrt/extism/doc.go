// Package extism runs plugins written for Extism (https://extism.org): modules
// that import extism:host/env, made with any of its plug-in development kits. A
// call takes bytes and gives bytes.
//
// The room holds Extism's host functions and its memory; it runs plugins
// through package wasmrt and knows nothing else of dhow.
//
//	engine, err := wasmrt.NewEngine(ctx, wasmrt.Options{Host: []wasmrt.HostModule{extism.Module()}})
//	module, err := engine.CompileFile(ctx, "plugin.wasm")
//	host := extism.New(extism.Config{Config: map[string]string{"greeting": "ahoy"}})
//	instance, err := module.New(host.With(ctx), wasmrt.Config{})
//	output, err := host.Call(ctx, instance, "greet", []byte("you"))
//
// Instances may come from Module.New, Snapshot.New or a Pool. A Host may serve
// any number of them at a time, which then share its configuration and variables.
//
// # Memory
//
// Each plugin has an Extism memory beside its own, of at most Config.MaxMemory bytes. It is
// empty at the start of each call, so that nothing is left there from one call to the next.
// Its loads and stores are functions of a small module of ours (kernel.wat), as one
// call of a Go function for each eight bytes would cost eight times as much.
//
// # What is bounded
//
// The memory, the variables, what is logged in one message, and what an HTTP
// request returns. HTTP is refused unless Config.HTTP is set. A plugin that breaks the interface's
// rules is ended on the spot, as by a trap.
package extism
