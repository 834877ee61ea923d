package wasmrt

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/tetratelabs/wazero/api"
	"github.com/tetratelabs/wazero/sys"

	"dhow.dev/dhow/wasmrt/meter"
)

// Export is a function that a module exports.
type Export struct {
	Name            string
	Params, Results []ValueType
}

// Import is a function that a module imports.
type Import struct {
	Module, Name    string
	Params, Results []ValueType
}

// Exports are the module's functions, sorted by name.
func (m *Module) Exports() []Export {
	all := m.code.compiled.ExportedFunctions()
	var out []Export
	for _, name := range slices.Sorted(maps.Keys(all)) {
		if reserved(name) {
			continue
		}
		f := all[name]
		out = append(out, Export{name, typesOf(f.ParamTypes()), typesOf(f.ResultTypes())})
	}
	return out
}

// Imports are the functions that the module imports, in its order.
func (m *Module) Imports() []Import {
	var out []Import
	for _, f := range m.code.compiled.ImportedFunctions() {
		module, name, _ := f.Import()
		if module == meter.Namespace {
			continue
		}
		out = append(out, Import{module, name, typesOf(f.ParamTypes()), typesOf(f.ResultTypes())})
	}
	return out
}

// reserved tells that an export is not the module's own: what was added to it
// before it was compiled.
func reserved(name string) bool {
	return strings.HasPrefix(name, "dhow:") || strings.HasPrefix(name, ownExport)
}

func typesOf(in []api.ValueType) []ValueType {
	out := make([]ValueType, len(in))
	for n, t := range in {
		out[n] = ValueType(t)
	}
	return out
}

// New makes an instance whose functions can be called. The module's start
// function and then _initialize, if it exports one, have run when New returns.
// Cancelling ctx interrupts them, and is of no concern to the instance later.
// The error is an *Error when the guest could not start, and an *ExitError when
// it ended while it started.
func (m *Module) New(ctx context.Context, c Config) (*Instance, error) {
	return m.newFrom(ctx, c, m.code.origin())
}

// newFrom is New, of an instance that begins as o is.
func (m *Module) newFrom(ctx context.Context, c Config, o *origin) (*Instance, error) {
	i, ctx, err := m.instantiate(ctx, c, o)
	if err != nil {
		return nil, err
	}
	call := callOf(ctx)
	defer call.end()
	var failed *ExitError
	if i.begun || i.code.shape.start == "" && !i.exports("_initialize") {
		i.begun = true
	} else if i.enter(call) {
		failed = i.start(call, "_initialize")
		i.leave()
	} else {
		failed = &ExitError{Exit: i.interruption(call)}
	}
	if failed != nil {
		i.end(failed.Exit)
		return nil, failed
	}
	i.give()
	return i, nil
}

// Call calls an exported function. The parameters and results are as wide as
// their types: an i32 in the lower half, an f64 as its bits. The values of ctx
// reach host functions; cancelling it interrupts the guest.
//
// One call runs at a time: another gets an *Error with ReasonInUse. A trap, an
// exit and an interruption end the instance, and are an *ExitError; so is every
// call after the end. A call that does not even begin before ctx is done leaves
// the instance as it was.
func (i *Instance) Call(ctx context.Context, name string, args ...uint64) ([]uint64, error) {
	if err := i.take(); err != nil {
		return nil, err
	}
	f, err := i.own(name)
	if err == nil && len(args) != f.params {
		err = failf(ReasonBadCall, "the function %s takes %d parameters, and %d were given", printable(name), f.params, len(args))
	}
	if err != nil {
		i.give()
		return nil, err
	}
	stack := make([]uint64, max(f.params, f.results))
	copy(stack, args)
	c := i.newCall(ctx)
	defer c.end()
	if !i.enter(c) {
		if i.stopping.Load() {
			failed := &ExitError{Exit: i.interruption(c)}
			i.end(failed.Exit)
			return nil, failed
		}
		i.give()
		return nil, fmt.Errorf("the call of %s did not begin: %w", printable(name), c.Err())
	}
	i.calls.Add(1)
	failed := i.invoke(c, f, stack)
	i.leave()
	if failed != nil {
		i.end(failed.Exit)
		return nil, failed
	}
	i.give()
	return stack[:f.results], nil
}

// functions are those of a guest that were called.
type functions struct{ known map[string]*function }

// function is an exported function that was called before. It keeps the stack
// that it runs on.
type function struct {
	call            api.Function
	params, results int
}

func (i *Instance) function(name string) (*function, error) {
	if i.functions == nil {
		i.functions = &functions{map[string]*function{}}
	}
	if f, ok := i.functions.known[name]; ok {
		return f, nil
	}
	f := i.module.ExportedFunction(name)
	if f == nil {
		return nil, i.noExport(name)
	}
	d := f.Definition()
	known := &function{f, len(d.ParamTypes()), len(d.ResultTypes())}
	i.functions.known[name] = known
	return known, nil
}

// own is a function of the module's own.
func (i *Instance) own(name string) (*function, error) {
	if reserved(name) {
		return nil, i.noExport(name)
	}
	return i.function(name)
}

func (i *Instance) exports(name string) bool {
	_, ok := i.code.compiled.ExportedFunctions()[name]
	return ok
}

// invoke calls a function. The guest has its place on the CPU.
func (i *Instance) invoke(c *callContext, f *function, stack []uint64) (failed *ExitError) {
	defer func() {
		if r := recover(); r != nil {
			failed = &ExitError{Exit: Exit{Code: TrappedCode, Reason: TrappedReason, Message: fmt.Sprintf("the host failed: %v", r)}}
		}
	}()
	if i.depth != nil {
		i.depth.Set(i.limits.Stack)
	}
	err := f.call.CallWithStack(c, stack)
	i.settle()
	if err != nil {
		return i.failure(c, err)
	}
	return nil
}

// failure says how the guest ended.
func (i *Instance) failure(c *callContext, err error) *ExitError {
	if i.fate != nil {
		return i.fate
	}
	message, _, _ := strings.Cut(err.Error(), "\n\nGo runtime stack trace:")
	refused := i.memory.refused.Load()
	e, exited := errors.AsType[*sys.ExitError](err)
	switch {
	case exited && e.ExitCode() >= sys.ExitCodeDeadlineExceeded && i.interrupted(c):
		return &ExitError{Exit: i.interruption(c)}
	case exited && e.ExitCode() != 0 && refused:
		return &ExitError{Exit: Exit{Code: e.ExitCode(), Reason: OutOfMemoryReason, Message: i.outOfMemory()}}
	case exited:
		return &ExitError{Exit: Exit{Code: e.ExitCode(), Reason: ExitedReason}}
	case refused:
		return &ExitError{Exit: Exit{Code: TrappedCode, Reason: OutOfMemoryReason, Message: i.outOfMemory() + ": " + message}, Err: err}
	case strings.HasPrefix(message, "stack overflow"), strings.HasPrefix(message, "wasm error: stack overflow"):
		return &ExitError{Exit: Exit{Code: StackCode, Reason: StackReason, Message: message}, Err: err}
	}
	return &ExitError{Exit: Exit{Code: TrappedCode, Reason: TrappedReason, Message: message}, Err: err}
}

func (i *Instance) outOfMemory() string {
	return fmt.Sprintf("it asked for more memory than its limit of %d bytes", i.memory.limit)
}

// noExport says what there is instead.
func (i *Instance) noExport(name string) error {
	var names []string
	for have := range i.code.compiled.ExportedFunctions() {
		if !reserved(have) {
			names = append(names, printable(have))
		}
	}
	slices.Sort(names)
	return failf(ReasonNoExport, "the module exports no function %s; it has: %s", printable(name), named(names))
}

// Usage is what the guest has used until now.
func (i *Instance) Usage() Usage {
	memory := i.Memory()
	return Usage{
		CPU:        i.Busy(),
		Fuel:       uint64(i.used.Load()), //nolint:gosec // not negative
		Memory:     memory,
		PeakMemory: max(memory, i.peak.Load()), // it never shrinks before the end
		Throttled:  time.Duration(i.throttled.Load()),
		Calls:      i.calls.Load(),
	}
}

// Pause keeps the guest from computing until Resume; it has at most the rest of
// its slice. A host function that it is in goes on, and deadlines do not wait.
func (i *Instance) Pause() { i.paused.Store(true) }

// Resume ends a pause.
func (i *Instance) Resume() {
	i.paused.Store(false)
	i.changed()
}

// SetLimits changes the CPU limit in thousandths of a core and the weight, as
// in Limits.
func (i *Instance) SetLimits(cpu, weight uint32) {
	l := Limits{Weight: weight}
	l.setDefaults()
	i.engine.share.setWeight(i.seat, l.Weight)
	i.cpu.Store(cpu)
	i.changed()
}

// changed wakes a guest that waits because of its limits.
func (i *Instance) changed() {
	select {
	case i.poke <- struct{}{}:
	default:
	}
}
