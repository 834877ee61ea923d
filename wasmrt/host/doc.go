// Package host holds the functions that dhow offers to guests beside WASI: HTTP
// requests to hosts on a list, configuration and secrets, a small key-value
// store, a log with levels, and calls of other functions. What a guest may do
// with them is a Policy, which comes with the context of each run or call, so
// that one Engine serves guests with different rights:
//
//	engine, err := wasmrt.NewEngine(ctx, wasmrt.Options{Host: host.Modules()})
//	ctx = host.With(ctx, host.Policy{Config: map[string]string{"greeting": "ahoy"}})
//	exit, err := module.Run(ctx, wasmrt.Config{})
//
// Without a Policy in the context nothing is allowed. README.md says how guests
// call the functions.
//
// The room may import wasmrt; it knows nothing of the rest of dhow.
package host
