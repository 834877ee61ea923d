package wasmrt

import (
	"context"
	"errors"
	"fmt"
	"reflect"

	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/api"
	"github.com/tetratelabs/wazero/sys"

	"dhow.dev/dhow/wasmrt/meter"
)

// ValueType is the type of a parameter or result, as the binary format has it.
type ValueType byte

// The types of values.
const (
	I32       ValueType = 0x7f
	I64       ValueType = 0x7e
	F32       ValueType = 0x7d
	F64       ValueType = 0x7c
	V128      ValueType = 0x7b
	FuncRef   ValueType = 0x70
	ExternRef ValueType = 0x6f
)

// String is the type's name in the text format.
func (t ValueType) String() string {
	switch t {
	case I32:
		return "i32"
	case I64:
		return "i64"
	case F32:
		return "f32"
	case F64:
		return "f64"
	case V128:
		return "v128"
	case FuncRef:
		return "funcref"
	case ExternRef:
		return "externref"
	}
	return fmt.Sprintf("type(%#x)", byte(t))
}

// HostModule is a set of functions that guests can import by the module's
// name.
type HostModule struct {
	Name      string
	Functions []HostFunction
	// Kernel is a core module that stands between guests and the Functions, for
	// calls that must cost next to nothing; nil is none. Each guest that imports
	// the host module gets an instance of the kernel for itself, and imports from
	// that: what the kernel does not export again, guests cannot call. It can import
	// only the Functions. It is a part of the program, and is trusted and not metered: its
	// functions have to be short. See Instance.Kernel.
	Kernel []byte
}

// HostFunction is a function of the host. Params and Results are of I32, I64,
// F32, F64 and ExternRef.
type HostFunction struct {
	Name            string
	Params, Results []ValueType
	// Blocks says that the function may wait: the guest's place on the CPU
	// goes to others meanwhile. Such a function has to watch its context.
	Blocks bool
	// Call finds its parameters in the stack and leaves its results there,
	// both from index 0 on. The context carries the values of the caller's,
	// and is done when the guest is to end. A panic ends the guest as a trap.
	Call func(ctx context.Context, c Caller, stack []uint64)
}

// Caller is the guest that called a host function. It is valid during the
// call.
type Caller struct {
	instance *Instance
	module   api.Module
}

// Instance is the guest's.
func (c Caller) Instance() *Instance { return c.instance }

// Memory is the guest's memory.
func (c Caller) Memory() Memory { return Memory{memoryOf(c.module)} }

// Call calls an exported function of the guest from inside a host function, with
// that one's context. The error is a trap's, after which the guest's state is
// what it was then: Fail is the safe answer. If the guest exits or is stopped,
// Call does not return.
func (c Caller) Call(ctx context.Context, name string, args ...uint64) ([]uint64, error) {
	i := c.instance
	module := i.module
	if module == nil { // the guest is being instantiated
		module = c.module
	}
	f := module.ExportedFunction(name)
	if f == nil || reserved(name) {
		return nil, i.noExport(name)
	}
	// A trap would leave there what means nothing.
	if i.depth != nil {
		defer i.depth.Set(i.depth.Get())
	}
	results, err := f.Call(ctx, args...)
	if exit, ok := errors.AsType[*sys.ExitError](err); ok {
		panic(exit) // the guest is at its end
	}
	return results, err
}

// Exit ends the guest on the spot as if it had called proc_exit. It does not
// return.
func (c Caller) Exit(code uint32) { c.instance.die(Exit{Code: code, Reason: ExitedReason}, nil) }

// Fail ends the guest on the spot as a trap. It does not return.
func (c Caller) Fail(err error) {
	c.instance.die(Exit{Code: TrappedCode, Reason: TrappedReason, Message: err.Error()}, err)
}

// Memory is a guest's linear memory, seen from a host function.
type Memory struct{ m api.Memory }

// memoryOf is a module's memory; nil when it has none, which wazero's is not.
func memoryOf(m api.Module) api.Memory {
	memory := m.Memory()
	if reflect.ValueOf(memory).IsNil() {
		return nil
	}
	return memory
}

// Read is a view of n bytes: what is written to it the guest sees. It is valid
// until the guest runs again. False when these are not inside the memory.
func (m Memory) Read(at, n uint32) ([]byte, bool) {
	if m.m == nil {
		return nil, false
	}
	return m.m.Read(at, n)
}

// Write copies b into the memory; false when there is no room.
func (m Memory) Write(at uint32, b []byte) bool { return m.m != nil && m.m.Write(at, b) }

// Size is in bytes.
func (m Memory) Size() uint64 {
	if m.m == nil {
		return 0
	}
	return uint64(m.m.Size())
}

// Provide adds a host module, for the modules that are compiled from then on.
func (e *Engine) Provide(m HostModule) error {
	switch {
	case m.Name == "" || m.Name == wasiModule || m.Name == meter.Namespace:
		return failf(ReasonBadConfig, "a host module cannot be named %q", m.Name)
	case len(m.Functions) == 0:
		return failf(ReasonBadConfig, "the host module %s has no functions", m.Name)
	}
	e.providing.Lock()
	defer e.providing.Unlock()
	if _, ok := e.functions(m.Name); ok {
		return failf(ReasonBadConfig, "there is a host module %s already", m.Name)
	}
	b := e.runtime.NewHostModuleBuilder(m.Name)
	seen := map[string]bool{}
	for _, f := range m.Functions {
		if f.Name == "" || f.Call == nil || seen[f.Name] {
			return failf(ReasonBadConfig, "the host module %s has a function %q without a name or body, or twice", m.Name, f.Name)
		}
		seen[f.Name] = true
		b.NewFunctionBuilder().WithGoModuleFunction(f.adapt(), valueTypes(f.Params), valueTypes(f.Results)).Export(f.Name)
	}
	ctx := context.Background() //nolint:forbidigo // takes no time
	c, err := b.Compile(ctx)
	if err != nil {
		return &Error{Reason: ReasonBadConfig, Message: "the host module " + m.Name + " is not valid", Err: err}
	}
	functions := c.ExportedFunctions()
	var kernel *kernelCode
	if m.Kernel != nil {
		if kernel, functions, err = e.compileKernel(ctx, m, functions); err != nil {
			return err
		}
	}
	if _, err := e.runtime.InstantiateModule(ctx, c, wazero.NewModuleConfig().WithName(m.Name)); err != nil {
		return &Error{Reason: ReasonBadConfig, Message: "the host module " + m.Name + " is not valid", Err: err}
	}
	e.offer(m.Name, functions, kernel)
	return nil
}

// adapt makes wazero's form of it.
func (f HostFunction) adapt() api.GoModuleFunction {
	if !f.Blocks {
		return api.GoModuleFunc(func(ctx context.Context, mod api.Module, stack []uint64) {
			i := instanceOf(ctx)
			f.Call(ctx, Caller{i, mod}, stack)
			i.returned()
		})
	}
	return api.GoModuleFunc(func(ctx context.Context, mod api.Module, stack []uint64) {
		i := instanceOf(ctx)
		i.block()
		f.Call(ctx, Caller{i, mod}, stack)
		i.unblock() // not when it panics: the guest's end needs no CPU
	})
}

// functions are those of a host module.
func (e *Engine) functions(module string) (map[string]api.FunctionDefinition, bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	f, ok := e.provided[module]
	return f, ok
}

func (e *Engine) offer(module string, f map[string]api.FunctionDefinition, k *kernelCode) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.provided[module] = f
	if k != nil {
		e.kernels[module] = k
	}
}

func valueTypes(in []ValueType) []api.ValueType {
	out := make([]api.ValueType, len(in))
	for n, t := range in {
		out[n] = api.ValueType(t)
	}
	return out
}
