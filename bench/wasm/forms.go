package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
	"time"

	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/api"
	"github.com/tetratelabs/wazero/imports/wasi_snapshot_preview1"
	"github.com/tetratelabs/wazero/sys"

	"dhow.dev/dhow/wasmrt/meter"
)

// form is a way to run a command; a runner runs it once.
type (
	form   func(ctx context.Context, wasm []byte) (runner, error)
	runner func(stdout io.Writer) error
)

// sliceTime is what a slice of fuel is for, as in the engine.
const sliceTime = 100 * time.Microsecond

func forms() map[string]form {
	return map[string]form{
		"plain": func(ctx context.Context, wasm []byte) (runner, error) { return onWazero(ctx, wasm, false, false) },
		"done":  func(ctx context.Context, wasm []byte) (runner, error) { return onWazero(ctx, wasm, true, false) },
		"exact": func(ctx context.Context, wasm []byte) (runner, error) {
			return metered(ctx, wasm, meter.Exact)
		},
		"preempt": func(ctx context.Context, wasm []byte) (runner, error) {
			return metered(ctx, wasm, meter.Preempt)
		},
	}
}

func metered(ctx context.Context, wasm []byte, mode meter.Mode) (runner, error) {
	wasm, err := meter.Rewrite(wasm, meter.Options{Mode: mode})
	if err != nil {
		return nil, err
	}
	return onWazero(ctx, wasm, false, true)
}

// onWazero runs the module on wazero alone, on that which go.mod names.
func onWazero(ctx context.Context, wasm []byte, untilDone, metered bool) (runner, error) {
	r := wazero.NewRuntimeWithConfig(ctx, wazero.NewRuntimeConfigCompiler().WithCloseOnContextDone(untilDone).WithDebugInfoEnabled(false))
	if _, err := wasi_snapshot_preview1.Instantiate(ctx, r); err != nil {
		return nil, err
	}
	if metered {
		if err := provideMeter(ctx, r); err != nil {
			return nil, err
		}
	}
	compiled, err := r.CompileModule(ctx, wasm)
	if err != nil {
		return nil, err
	}
	return func(stdout io.Writer) error {
		config := wazero.NewModuleConfig().WithName("").WithStdout(stdout).WithStderr(os.Stderr).WithStartFunctions()
		m, err := r.InstantiateModule(ctx, compiled, config)
		if err != nil {
			return err
		}
		if depth, ok := m.ExportedGlobal(meter.ExportDepth).(api.MutableGlobal); ok {
			depth.Set(16 << 20)
		}
		_, err = m.ExportedFunction("_start").Call(ctx)
		if exit := (*sys.ExitError)(nil); errors.As(err, &exit) && exit.ExitCode() == 0 {
			err = nil
		}
		return errors.Join(err, m.Close(ctx))
	}, nil
}

func provideMeter(ctx context.Context, r wazero.Runtime) error {
	i64 := []api.ValueType{api.ValueTypeI64}
	b := r.NewHostModuleBuilder(meter.Namespace)
	slice, last := int64(100_000), time.Now()
	b.NewFunctionBuilder().WithGoFunction(api.GoFunc(func(_ context.Context, stack []uint64) {
		runtime.Gosched()
		now := time.Now()
		took := min(max(now.Sub(last), sliceTime/8), sliceTime*8)
		slice, last = min(max(slice*int64(sliceTime)/int64(took), 1000), 20_000_000), now
		stack[0] = uint64(int64(stack[0]) + slice)
	}), i64, i64).Export(meter.ImportRefill)
	b.NewFunctionBuilder().WithGoFunction(api.GoFunc(func(context.Context, []uint64) {
		panic(errors.New("the guest's stack is full"))
	}), nil, nil).Export(meter.ImportOverflow)
	if _, err := b.Instantiate(ctx); err != nil {
		return fmt.Errorf("providing %s: %w", meter.Namespace, err)
	}
	return nil
}
