package meter_test

import (
	"context"
	"testing"

	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/api"

	"dhow.dev/dhow/wasmrt/meter"
)

// granter is a host that grants fuel in slices.
type granter struct {
	slice   int64
	limit   int64 // of all that is granted; 0 for none
	granted int64
	refills int
	least   int64 // the least that remained at a refill
	stop    func(*granter)
}

// errOutOfFuel ends a guest.
type ended string

func (e ended) Error() string { return string(e) }

const (
	errOutOfFuel = ended("out of fuel")
	errOverflow  = ended("the stack is full")
)

// provide makes the host module that metered modules import.
func (g *granter) provide(t testing.TB, r wazero.Runtime) {
	t.Helper()
	refill := func(remaining int64) int64 {
		g.refills++
		g.least = min(g.least, remaining)
		if g.stop != nil {
			g.stop(g)
		}
		slice := g.slice
		if g.limit > 0 {
			slice = min(slice, g.limit-g.granted)
			if slice <= 0 {
				panic(errOutOfFuel)
			}
		}
		g.granted += slice
		return remaining + slice
	}
	b := r.NewHostModuleBuilder(meter.Namespace)
	b.NewFunctionBuilder().WithGoFunction(api.GoFunc(func(_ context.Context, stack []uint64) {
		stack[0] = uint64(refill(int64(stack[0])))
	}), []api.ValueType{api.ValueTypeI64}, []api.ValueType{api.ValueTypeI64}).Export(meter.ImportRefill)
	b.NewFunctionBuilder().WithFunc(func() { panic(errOverflow) }).Export(meter.ImportOverflow)
	if _, err := b.Instantiate(t.Context()); err != nil {
		t.Fatal(err)
	}
}

// used is the fuel that a module has used.
func (g *granter) used(m api.Module) int64 {
	return g.granted - int64(m.ExportedGlobal(meter.ExportFuel).Get())
}

func rewrite(t testing.TB, wasm []byte, o meter.Options) []byte {
	t.Helper()
	out, err := meter.Rewrite(wasm, o)
	if err != nil {
		t.Fatal(err)
	}
	return out
}
