package wasmrt

import (
	"context"
	"fmt"
	"maps"
	"sync"

	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/api"
	"github.com/tetratelabs/wazero/experimental"
)

// Kernel is a guest's own instance of a HostModule's Kernel. It ends with the
// guest. While the guest runs, only the host functions that it calls may use it,
// and between calls what Use runs.
type Kernel struct {
	module api.Module
	memory *memory
	once   sync.Once
	state  any

	mu    sync.Mutex // held by Use and close
	ended bool
}

// kernelCode is a HostModule's Kernel, compiled.
type kernelCode struct {
	compiled wazero.CompiledModule
	pages    uint64 // of its memory, at the start
}

// Kernel is the guest's instance of a host module's Kernel; nil when the guest
// does not import that module, or it has none.
func (i *Instance) Kernel(hostModule string) *Kernel { return i.kernels[hostModule] }

// Attached is a value of the host module's own that stays with the guest's
// kernel: what create made at the first call.
func (k *Kernel) Attached(create func() any) any {
	k.once.Do(func() { k.state = create() })
	return k.state
}

// Use runs f between the guest's calls. It keeps the memory from being freed
// meanwhile. The error is f's, or says that the guest has ended.
func (k *Kernel) Use(f func(Memory) error) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.ended {
		return failf(ReasonClosed, "the instance has ended")
	}
	return f(k.Memory())
}

// close frees it. No guest code runs any more.
func (k *Kernel) close() {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.ended = true
	_ = k.module.Close(context.Background()) //nolint:forbidigo // frees memory, and is not to be cancelled
	k.memory.release()
}

// Memory is the kernel's memory. What guests do there counts for nothing but
// their own instance.
func (k *Kernel) Memory() Memory { return Memory{k.module.Memory()} }

// Grow adds pages of 64 KiB to the memory. False when the guest's memory limit
// is reached, which holds for each of its two memories.
func (k *Kernel) Grow(pages uint32) bool {
	m := k.module.Memory()
	if m == nil {
		return false
	}
	_, ok := m.Grow(pages)
	return ok
}

// Global is a kernel's exported mutable global.
type Global struct{ g api.MutableGlobal }

// Set changes it.
func (g Global) Set(value uint64) { g.g.Set(value) }

// Global finds a global. It panics if there is none, as kernels are a part of
// the program.
func (k *Kernel) Global(name string) Global {
	g, ok := k.module.ExportedGlobal(name).(api.MutableGlobal)
	if !ok {
		panic(fmt.Sprintf("the kernel has no mutable global %q", name))
	}
	return Global{g}
}

// compileKernel compiles a host module's kernel, and returns all that guests
// can import from there.
func (e *Engine) compileKernel(ctx context.Context, m HostModule, own map[string]api.FunctionDefinition) (*kernelCode, map[string]api.FunctionDefinition, error) {
	compiled, err := e.runtime.CompileModule(ctx, m.Kernel)
	if err != nil {
		// Another engine may have tidied the directory for machine code
		// meanwhile: see diskCache.compile.
		compiled, err = e.runtime.CompileModule(ctx, m.Kernel)
	}
	if err != nil {
		return nil, nil, &Error{Reason: ReasonBadConfig, Message: "the kernel of the host module " + m.Name + " is not valid", Err: err}
	}
	for _, f := range compiled.ImportedFunctions() {
		module, name, _ := f.Import()
		if _, ok := own[name]; module != m.Name || !ok {
			return nil, nil, failf(ReasonBadConfig, "the kernel of the host module %s imports %s.%s, which is not of that module", m.Name, module, name)
		}
	}
	k := &kernelCode{compiled: compiled}
	for _, d := range compiled.ExportedMemories() {
		k.pages = uint64(d.Min())
	}
	return k, maps.Clone(compiled.ExportedFunctions()), nil
}

// kernel is that of a host module, or nil.
func (e *Engine) kernel(module string) *kernelCode {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.kernels[module]
}

// addKernels makes the instances of kernels that a guest's module needs. The guest is to be
// instantiated with the context it returns. closeKernels frees them, whatever comes.
func (i *Instance) addKernels(ctx context.Context, guest wazero.CompiledModule, limit uint64) (context.Context, error) {
	for _, f := range guest.ImportedFunctions() {
		name, _, _ := f.Import()
		if _, ok := i.kernels[name]; ok {
			continue
		}
		code := i.engine.kernel(name)
		if code == nil {
			continue
		}
		k, err := i.engine.newKernel(ctx, code, limit)
		if err != nil {
			return ctx, err
		}
		if i.kernels == nil {
			i.kernels = map[string]*Kernel{}
		}
		i.kernels[name] = k
	}
	if i.kernels == nil {
		return ctx, nil
	}
	return experimental.WithImportResolver(ctx, func(name string) api.Module {
		if k := i.kernels[name]; k != nil {
			return k.module
		}
		return nil
	}), nil
}

func (e *Engine) newKernel(ctx context.Context, code *kernelCode, limit uint64) (*Kernel, error) {
	m, err := newMemory(code.pages*pageSize, limit, nil)
	if err != nil {
		return nil, &Error{Reason: ReasonNoMapping, Message: "no memory for the guest", Err: err}
	}
	allocator := experimental.MemoryAllocatorFunc(func(uint64, uint64) experimental.LinearMemory { return m })
	module, err := e.runtime.InstantiateModule(experimental.WithMemoryAllocator(ctx, allocator), code.compiled, e.guests)
	if err != nil {
		m.release()
		return nil, &Error{Reason: ReasonBadConfig, Message: "the host module's kernel cannot be started", Err: err}
	}
	return &Kernel{module: module, memory: m}, nil
}

// closeKernels frees them. No guest code runs any more.
func (i *Instance) closeKernels() {
	for _, k := range i.kernels {
		k.close()
	}
}
