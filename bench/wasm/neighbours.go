package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"sync"
	"time"

	"dhow.dev/dhow/wasmrt"
)

// benchNeighbours calls a Go reactor now and then, alone and while hostile
// guests, 16 at a time, do all they can.
func benchNeighbours(ctx context.Context, o options, t *table, details io.Writer) error {
	path, err := reactor(ctx, "reactor")
	if err != nil {
		return err
	}
	var alone, among []float64
	for range o.rounds {
		for _, with := range []string{"nobody", "hostile"} {
			var calls []time.Duration
			if err := once(ctx, &calls, "neighbours", with, path); err != nil {
				return err
			}
			if with == "nobody" {
				alone = append(alone, in(ms, calls)...)
			} else {
				among = append(among, in(ms, calls)...)
			}
		}
	}
	fmt.Fprintf(details, "a call next to nobody: p50 %.2f ms; among 16 hostile guests: p50 %.2f ms\n", median(alone), median(among))
	t.add(times("a neighbour of 16 hostile guests, p99 of its calls", quantile(among, 0.99), "ms", "the same with no other guest", quantile(alone, 0.99), 2, 1.2))
	return nil
}

// neighboursRole takes who else is there, and the reactor.
func neighboursRole(ctx context.Context, args []string) (answer, error) {
	e, err := wasmrt.NewEngine(ctx, wasmrt.Options{})
	if err != nil {
		return nil, err
	}
	m, err := e.CompileFile(ctx, args[1])
	if err != nil {
		return nil, err
	}
	i, err := m.New(ctx, wasmrt.Config{})
	if err != nil {
		return nil, err
	}
	return func(ctx context.Context) (any, error) {
		others, stop := context.WithCancel(ctx)
		var running sync.WaitGroup
		defer running.Wait()
		defer stop()
		if args[0] == "hostile" {
			if err := harass(others, e, &running); err != nil {
				return nil, err
			}
		}
		var calls []time.Duration
		for range 300 {
			time.Sleep(5 * time.Millisecond)
			begin := time.Now()
			for n := range uint64(20) {
				if got, err := i.Call(ctx, "find", n); err != nil || got[0] != n {
					return nil, fmt.Errorf("the neighbour said %v, %w", got, err)
				}
			}
			calls = append(calls, time.Since(begin))
		}
		return calls, nil
	}, nil
}

// harass keeps hostile guests running until the context ends.
func harass(ctx context.Context, e *wasmrt.Engine, running *sync.WaitGroup) error {
	_, self, _, _ := runtime.Caller(0)
	for _, name := range []string{"spin", "doubling", "tail", "deep", "memory", "copy", "log", "poll"} {
		r := recipe("guests", "")
		r.Source = filepath.Join(filepath.Dir(self), "../../wasmrt/hostile/guests", name+".wat")
		path, err := r.Module(ctx)
		if err != nil {
			return err
		}
		m, err := e.CompileFile(ctx, path)
		if err != nil {
			return err
		}
		for range 2 {
			running.Go(func() {
				for ctx.Err() == nil {
					limits := wasmrt.Limits{Memory: 256 << 20, Timeout: time.Second}
					_, err := m.Run(ctx, wasmrt.Config{Stdout: io.Discard, Limits: limits})
					if refused := (*wasmrt.Error)(nil); errors.As(err, &refused) {
						fmt.Fprintln(os.Stderr, "wasm: a hostile guest does not run:", err)
						return
					}
				}
			})
		}
	}
	return nil
}
