package meter_test

import (
	"math/rand/v2"
	"path/filepath"
	"slices"
	"testing"

	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/api"
	"github.com/tetratelabs/wazero/experimental"

	"dhow.dev/dhow/wasmrt/internal/wasmbin"
	"dhow.dev/dhow/wasmrt/meter"
)

// FuzzRewrite gives Rewrite mutated modules. What wazero takes it takes after
// Rewrite too, and what it refuses does not become good.
func FuzzRewrite(f *testing.F) {
	for _, name := range []string{"guests.wasm", "tail.wasm"} {
		f.Add(readFile(f, filepath.Join("testdata", name)))
	}
	config := wazero.NewRuntimeConfigInterpreter().
		WithCoreFeatures(api.CoreFeaturesV2 | experimental.CoreFeaturesTailCall | experimental.CoreFeaturesExtendedConst)
	r := wazero.NewRuntimeWithConfig(f.Context(), config)
	takes := func(t *testing.T, wasm []byte) (err error) {
		// Some broken modules end wazero's decoder with a panic.
		defer func() {
			if p := recover(); p != nil {
				err = ended("panic")
			}
		}()
		c, err := r.CompileModule(t.Context(), wasm)
		if err == nil {
			c.Close(t.Context())
		}
		return err
	}
	f.Fuzz(func(t *testing.T, wasm []byte) {
		for _, mode := range []meter.Mode{meter.Exact, meter.Preempt} {
			out, err := meter.Rewrite(wasm, meter.Options{Mode: mode})
			if err != nil {
				continue
			}
			before, after := takes(t, wasm), takes(t, out)
			if (before == nil) != (after == nil) {
				t.Fatalf("mode %d: before %v, after %v", mode, before, after)
			}
			if len(out) > 40*len(wasm)+2000 {
				t.Fatalf("%d bytes became %d", len(wasm), len(out))
			}
		}
	})
}

// program is a valid module, made of choices, that counts its own
// instructions.
type program struct {
	choices []byte
	b       []byte
	depth   int // open blocks
	size    int // statements
}

// Globals of a program.
const (
	globalCount  = 0 // instructions that were run
	globalBudget = 1 // turns that loops may still take, all together
)

func (p *program) choose(n int) int {
	if len(p.choices) == 0 {
		return 0
	}
	c := int(p.choices[0])
	p.choices = p.choices[1:]
	return c % n
}

// op adds an instruction.
func (p *program) op(op wasmbin.Op, immediates ...byte) {
	p.b = append(append(p.b, byte(op)), immediates...)
}

// count raises the count by cost, and by what raising it costs.
func (p *program) count(cost int64) {
	p.b = append(p.b, byte(wasmbin.OpGlobalGet), globalCount, byte(wasmbin.OpI64Const))
	p.b = wasmbin.AppendS64(p.b, cost+4)
	p.b = append(p.b, byte(wasmbin.OpI64Add), byte(wasmbin.OpGlobalSet), globalCount)
}

// value puts a number on the stack, of cost one.
func (p *program) value() {
	if p.choose(2) == 0 {
		p.b = append(p.b, byte(wasmbin.OpLocalGet), byte(p.choose(2)))
		return
	}
	p.b = wasmbin.AppendS64(append(p.b, byte(wasmbin.OpI32Const)), int64(p.choose(5)))
}

func (p *program) statements() {
	for n := 1 + p.choose(5); n > 0 && p.size < 200; n-- {
		p.size++
		p.statement()
	}
}

func (p *program) statement() {
	switch p.choose(9) {
	case 0, 1:
		p.count(4)
		p.value()
		p.value()
		p.op(wasmbin.OpI32Add)
		p.op(wasmbin.OpLocalSet, byte(p.choose(2)))
	case 2:
		p.block(wasmbin.OpBlock, 0)
	case 3:
		p.loop()
	case 4:
		p.count(2)
		p.value()
		p.block(wasmbin.OpIf, p.choose(2))
	case 5:
		p.count(2)
		p.value()
		p.op(wasmbin.OpBrIf, byte(p.choose(p.depth+1)))
	case 6:
		p.count(2)
		p.value()
		p.op(wasmbin.OpBrTable, 2, byte(p.choose(p.depth+1)), byte(p.choose(p.depth+1)), byte(p.choose(p.depth+1)))
	case 7:
		p.count(1)
		if p.choose(2) == 0 {
			p.op(wasmbin.OpReturn)
		} else {
			p.op(wasmbin.OpBr, byte(p.choose(p.depth+1)))
		}
	case 8: // helper function
		p.count(3)
		p.value()
		p.op(wasmbin.OpCall, 1)
		p.op(wasmbin.OpLocalSet, byte(p.choose(2)))
	}
}

func (p *program) block(op wasmbin.Op, arms int) {
	p.op(op, wasmbin.NoValue)
	p.depth++
	p.statements()
	if arms > 0 {
		p.op(wasmbin.OpElse)
		p.statements()
	}
	p.depth--
	p.op(wasmbin.OpEnd)
}

// loop takes a turn of the budget at its head, and returns if there is none.
func (p *program) loop() {
	p.op(wasmbin.OpLoop, wasmbin.NoValue)
	p.depth++
	p.count(8)
	p.b = append(p.b,
		byte(wasmbin.OpGlobalGet), globalBudget, byte(wasmbin.OpI64Const), 1, byte(wasmbin.OpI64Sub),
		byte(wasmbin.OpGlobalSet), globalBudget,
		byte(wasmbin.OpGlobalGet), globalBudget, byte(wasmbin.OpI64Const), 0, byte(wasmbin.OpI64LtS))
	p.b = append(p.b, byte(wasmbin.OpIf), wasmbin.NoValue)
	p.count(1)
	p.b = append(p.b, byte(wasmbin.OpReturn), byte(wasmbin.OpEnd))
	p.statements()
	p.depth--
	p.op(wasmbin.OpEnd)
}

// module has the functions 0, "run", and 1, which is called by it.
func (p *program) module() []byte {
	p.count(0) // a function costs at least something
	p.statements()
	p.count(0)
	section := wasmbin.AppendSection
	out := []byte(wasmbin.Header)
	out = section(out, wasmbin.Type, []byte{2, wasmbin.FuncType, 2, wasmbin.I32, wasmbin.I32, 0, wasmbin.FuncType, 1, wasmbin.I32, 1, wasmbin.I32})
	out = section(out, wasmbin.Function, []byte{2, 0, 1})
	global := []byte{wasmbin.I64, 1, byte(wasmbin.OpI64Const)}
	globals := slices.Concat([]byte{2}, global, []byte{0, byte(wasmbin.OpEnd)}, global, []byte{50, byte(wasmbin.OpEnd)})
	out = section(out, wasmbin.Global, globals)
	exports := append([]byte{2}, wasmbin.AppendName(nil, "run")...)
	exports = append(append(exports, wasmbin.ExternFunc, 0), wasmbin.AppendName(nil, "count")...)
	out = section(out, wasmbin.Export, append(exports, wasmbin.ExternGlobal, globalCount))
	run := append(append([]byte{0}, p.b...), byte(wasmbin.OpEnd))
	called := program{}
	called.count(3)
	called.b = append(called.b, byte(wasmbin.OpLocalGet), 0, byte(wasmbin.OpI32Const), 1, byte(wasmbin.OpI32Add), byte(wasmbin.OpEnd))
	code := wasmbin.AppendU32([]byte{2}, uint32(len(run)))
	code = append(wasmbin.AppendU32(append(code, run...), uint32(len(called.b)+1)), 0)
	return section(out, wasmbin.Code, append(code, called.b...))
}

// FuzzExact holds what fuel a program has used against its own count, for
// slices of any size.
func FuzzExact(f *testing.F) {
	f.Add([]byte{3, 4, 1, 3, 5, 1, 2, 0, 8, 6, 1, 1, 2, 0, 7, 1, 0, 2, 4, 4, 1, 5, 3, 2, 1}, byte(3))
	f.Add([]byte{4, 2, 3, 3, 4, 0, 1, 1, 5, 0, 1, 1, 8, 0, 0, 4, 1, 2, 1, 6, 0, 1, 2, 0, 1}, byte(1))
	f.Fuzz(func(t *testing.T, choices []byte, slice byte) {
		p := program{choices: choices}
		wasm := p.module()
		g := instantiate(t, wasm, granter{slice: int64(slice) + 1}, meter.Options{})
		_, used, err := g.call("run", 1, 0)
		if err != nil {
			t.Fatal(err)
		}
		if count := int64(g.ExportedGlobal("count").Get()); used != count {
			t.Errorf("it used %d, and counted %d", used, count)
		}
		var preempt []int64
		for _, slice := range []int64{int64(slice) + 1, 1e9} {
			g := instantiate(t, wasm, granter{slice: slice}, meter.Options{Mode: meter.Preempt})
			_, used, _ := g.call("run", 1, 0)
			preempt = append(preempt, used, int64(g.ExportedGlobal("count").Get()))
		}
		if !slices.Equal(preempt[:2], preempt[2:]) || preempt[1] != int64(g.ExportedGlobal("count").Get()) {
			t.Errorf("with other slices it did something else: %d", preempt)
		}
	})
}

// The same on programs made of chance, so that each run of the tests sees them.
func TestFuelIsExactOnRandomPrograms(t *testing.T) {
	t.Parallel()
	random := rand.New(rand.NewPCG(1, 2))
	for n := range 200 {
		choices := make([]byte, 20+random.IntN(300))
		for k := range choices {
			choices[k] = byte(random.Uint32())
		}
		p := program{choices: choices}
		g := instantiate(t, p.module(), granter{slice: 1 + random.Int64N(500)}, meter.Options{})
		_, used, err := g.call("run", 1, 0)
		if count := int64(g.ExportedGlobal("count").Get()); err != nil || used != count {
			t.Fatalf("program %d used %d, and counted %d: %v", n, used, count, err)
		}
	}
}
