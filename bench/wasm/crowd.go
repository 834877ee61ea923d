package main

import (
	"context"
	"sync"

	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/imports/wasi_snapshot_preview1"

	"dhow.dev/dhow/wasmrt"
)

// crowd is a number of guests that run until they are stopped.
type crowd struct {
	stop func() // returns when all have ended
}

func crowdOnEngine(ctx context.Context, wasm []byte) (crowd, error) {
	e, err := wasmrt.NewEngine(ctx, wasmrt.Options{})
	if err != nil {
		return crowd{}, err
	}
	m, err := e.Compile(ctx, wasm)
	if err != nil {
		return crowd{}, err
	}
	var all []*wasmrt.Instance
	for range spinners {
		i, err := m.Start(ctx, wasmrt.Config{})
		if err != nil {
			return crowd{}, err
		}
		all = append(all, i)
	}
	return crowd{stop: func() {
		for _, i := range all {
			i.Stop()
		}
		for _, i := range all {
			<-i.Done()
		}
	}}, nil
}

// crowdOnWazero gives each guest a goroutine, and ends them by their context.
func crowdOnWazero(ctx context.Context, wasm []byte) (crowd, error) {
	r := wazero.NewRuntimeWithConfig(ctx, wazero.NewRuntimeConfigCompiler().WithCloseOnContextDone(true))
	if _, err := wasi_snapshot_preview1.Instantiate(ctx, r); err != nil {
		return crowd{}, err
	}
	compiled, err := r.CompileModule(ctx, wasm)
	if err != nil {
		return crowd{}, err
	}
	guests, cancel := context.WithCancel(ctx)
	var running sync.WaitGroup
	for range spinners {
		running.Go(func() {
			_, _ = r.InstantiateModule(guests, compiled, wazero.NewModuleConfig().WithName("")) // it ends by being cancelled
		})
	}
	return crowd{stop: func() { cancel(); running.Wait() }}, nil
}
