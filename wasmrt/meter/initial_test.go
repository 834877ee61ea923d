package meter

import (
	"context"
	"testing"

	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/api"
)

// TestTableWithInitialValue: what is in all entries of a table at first is the
// function that it was, under its new index.
func TestTableWithInitialValue(t *testing.T) {
	module := []byte("\x00asm\x01\x00\x00\x00" +
		"\x01\x05\x01\x60\x00\x01\x7f" + // () -> i32
		"\x03\x03\x02\x00\x00" +
		"\x04\x09\x01\x40\x00\x70\x00\x05\xd2\x01\x0b" + // 5 entries of function 1
		"\x07\x05\x01\x01f\x00\x00" +
		"\x0a\x0e\x02" +
		"\x07\x00\x41\x04\x11\x00\x00\x0b" + // calls entry 4
		"\x04\x00\x41\x2a\x0b") // 42
	out, err := Rewrite(module, Options{})
	if err != nil {
		t.Fatal(err)
	}
	ctx := context.Background()
	r := wazero.NewRuntime(ctx)
	defer func() { _ = r.Close(ctx) }()
	b := r.NewHostModuleBuilder(Namespace)
	i64 := []api.ValueType{api.ValueTypeI64}
	b.NewFunctionBuilder().WithGoFunction(api.GoFunc(func(_ context.Context, s []uint64) { s[0] = 1 << 40 }), i64, i64).Export(ImportRefill)
	b.NewFunctionBuilder().WithGoFunction(api.GoFunc(func(context.Context, []uint64) { panic("overflow") }), nil, nil).Export(ImportOverflow)
	if _, err := b.Instantiate(ctx); err != nil {
		t.Fatal(err)
	}
	m, err := r.Instantiate(ctx, out)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := m.ExportedFunction("f").Call(ctx); err != nil || len(got) != 1 || got[0] != 42 {
		t.Errorf("%v, %v", got, err)
	}
	module[29] = 2 // no such function
	if _, err := Rewrite(module, Options{}); err == nil {
		t.Error("a function that there is not was accepted")
	}
}
