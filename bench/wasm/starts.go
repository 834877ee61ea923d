package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
	"runtime/debug"
	"time"

	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/api"
	"github.com/tetratelabs/wazero/imports/wasi_snapshot_preview1"

	"dhow.dev/dhow/wasmrt"
)

// starts is how long an initialised instance takes, and what many hold.
type starts struct {
	New, First []time.Duration // made; made and called for the first time
	Private    float64         // bytes of private memory an instance, idle
}

// benchStarts makes instances of a Go reactor from a snapshot, and next to it
// as wazero makes them, and containers with runc.
func benchStarts(ctx context.Context, o options, t *table, details io.Writer) error {
	module, err := reactor(ctx, "reactor")
	if err != nil {
		return err
	}
	all := map[string]*starts{"wasmrt": {}, "plain": {}}
	memory := map[string][]float64{}
	var containers []time.Duration
	for range o.rounds {
		for kind, n := range map[string]string{"wasmrt": "1000", "plain": "100"} {
			var s starts
			if err := once(ctx, &s, "starts", kind, module, n); err != nil {
				return err
			}
			all[kind].New = append(all[kind].New, s.New...)
			all[kind].First = append(all[kind].First, s.First...)
			memory[kind] = append(memory[kind], s.Private/1024)
		}
		ds, err := runContainers(ctx, 10)
		if err != nil {
			return err
		}
		containers = append(containers, ds...)
	}
	made, plain := in(us, all["wasmrt"].New), in(us, all["plain"].New)
	first := in(us, all["wasmrt"].First)
	fmt.Fprintf(details, "Go reactor from a snapshot: p50 %.0f us, p99 %.0f us; with its first call p50 %.0f us, p99 %.0f us\n",
		median(made), quantile(made, 0.99), median(first), quantile(first, 0.99))
	const wazeroAlone = "wazero, instantiate and _initialize"
	t.add(
		bounded("new instance of an initialised Go reactor, p50", median(made), "us", 200, 50).against(wazeroAlone, median(plain)),
		bounded("private memory of an idle Go reactor", median(memory["wasmrt"]), "KiB", 200, 64).against(wazeroAlone, median(memory["plain"])),
		faster("new instance of an initialised Go reactor, p50", median(made), "us", "runc run, a static C program", median(in(us, containers)), 100, 500),
	)
	return nil
}

// idle is what a small instance holds.
func benchIdle(ctx context.Context, o options, t *table, _ io.Writer) error {
	module, err := reactor(ctx, "small.c")
	if err != nil {
		return err
	}
	resident := map[string][]float64{}
	for range min(o.rounds, 3) {
		for kind, n := range map[string]string{"wasmrt": "10000", "plain": "10000"} {
			var bytes float64
			if err := once(ctx, &bytes, "idle", kind, module, n); err != nil {
				return err
			}
			resident[kind] = append(resident[kind], bytes/1024)
		}
	}
	t.add(bounded("10,000 idle small instances, resident each", median(resident["wasmrt"]), "KiB", 24, 8).
		against("wazero, instantiate and _initialize", median(resident["plain"])))
	return nil
}

// maker makes initialised instances; each result keeps one.
type maker func(ctx context.Context) (called, error)

// called is an instance to be called.
type called interface {
	call(ctx context.Context, name string, args ...uint64) error
	close(ctx context.Context) error
}

// startsRole takes the kind, the module and how many instances are kept.
func startsRole(ctx context.Context, args []string) (answer, error) {
	makes, n, err := makerOf(ctx, args)
	if err != nil {
		return nil, err
	}
	return func(ctx context.Context) (any, error) {
		var s starts
		for i := range 100 {
			begin := time.Now()
			one, err := makes(ctx)
			if err != nil {
				return nil, err
			}
			made := time.Since(begin)
			if err := one.call(ctx, "find", uint64(i)); err != nil {
				return nil, err
			}
			s.New, s.First = append(s.New, made), append(s.First, time.Since(begin))
			if err := one.close(ctx); err != nil {
				return nil, err
			}
		}
		s.Private, err = holds(ctx, makes, n, "Private_Dirty", "Private_Clean")
		return s, err
	}, nil
}

func idleRole(ctx context.Context, args []string) (answer, error) {
	makes, n, err := makerOf(ctx, args)
	if err != nil {
		return nil, err
	}
	return func(ctx context.Context) (any, error) { return holds(ctx, makes, n, "Rss") }, nil
}

// holds makes n instances and says what each adds to the process, by lines of
// smaps_rollup.
func holds(ctx context.Context, makes maker, n int, lines ...string) (float64, error) {
	settle := func() (float64, error) {
		runtime.GC()
		debug.FreeOSMemory()
		return mapped(lines...)
	}
	before, err := settle()
	if err != nil {
		return 0, err
	}
	kept := make([]called, 0, n)
	for range n {
		one, err := makes(ctx)
		if err != nil {
			return 0, err
		}
		kept = append(kept, one)
	}
	after, err := settle()
	if err != nil {
		return 0, err
	}
	var errs []error
	for _, one := range kept {
		errs = append(errs, one.close(ctx))
	}
	return (after - before) / float64(n), errors.Join(errs...)
}

func makerOf(ctx context.Context, args []string) (maker, int, error) {
	var n int
	if _, err := fmt.Sscan(args[2], &n); err != nil {
		return nil, 0, err
	}
	wasm, err := os.ReadFile(args[1])
	if err != nil {
		return nil, 0, err
	}
	if args[0] == "plain" {
		m, err := makeOnWazero(ctx, wasm)
		return m, n, err
	}
	m, err := makeOnEngine(ctx, wasm)
	return m, n, err
}

type onEngine struct{ *wasmrt.Instance }

func (i onEngine) call(ctx context.Context, name string, args ...uint64) error {
	_, err := i.Call(ctx, name, args...)
	return err
}

func (i onEngine) close(context.Context) error { return i.Close() }

func makeOnEngine(ctx context.Context, wasm []byte) (maker, error) {
	e, err := wasmrt.NewEngine(ctx, wasmrt.Options{})
	if err != nil {
		return nil, err
	}
	m, err := e.Compile(ctx, wasm)
	if err != nil {
		return nil, err
	}
	s, err := m.Snapshot(ctx, wasmrt.Config{})
	if err != nil {
		return nil, err
	}
	if shared, why := s.Shared(); !shared {
		fmt.Fprintln(os.Stderr, "wasm: no snapshot:", why)
	}
	return func(ctx context.Context) (called, error) {
		i, err := s.New(ctx, wasmrt.Config{})
		return onEngine{i}, err
	}, nil
}

type alone struct{ api.Module }

func (m alone) call(ctx context.Context, name string, args ...uint64) error {
	_, err := m.ExportedFunction(name).Call(ctx, args...)
	return err
}

func (m alone) close(ctx context.Context) error { return m.Close(ctx) }

func makeOnWazero(ctx context.Context, wasm []byte) (maker, error) {
	r := wazero.NewRuntime(ctx)
	if _, err := wasi_snapshot_preview1.Instantiate(ctx, r); err != nil {
		return nil, err
	}
	compiled, err := r.CompileModule(ctx, wasm)
	if err != nil {
		return nil, err
	}
	config := wazero.NewModuleConfig().WithName("").WithStartFunctions("_initialize")
	return func(ctx context.Context) (called, error) {
		m, err := r.InstantiateModule(ctx, compiled, config)
		return alone{m}, err
	}, nil
}
