package wasmrt

import (
	"context"
	"fmt"
	"maps"
	"slices"

	"github.com/tetratelabs/wazero/api"
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
		out = append(out, Import{module, name, typesOf(f.ParamTypes()), typesOf(f.ResultTypes())})
	}
	return out
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
	i, _, err := m.instantiate(ctx, c, m.code.origin())
	if err != nil {
		return nil, err
	}
	if i.module.ExportedFunction("_initialize") != nil {
		if _, err := i.Call(ctx, "_initialize"); err != nil {
			return nil, err
		}
	}
	return i, nil
}

// Call calls an exported function. The parameters and results are as wide as
// their types: an i32 in the lower half, an f64 as its bits. The values of ctx
// reach host functions; cancelling it interrupts the guest.
//
// One call runs at a time: another gets an *Error with ReasonInUse. A trap, an
// exit and an interruption end the instance, and are an *ExitError; so
// is every call after the end.
func (i *Instance) Call(ctx context.Context, name string, args ...uint64) ([]uint64, error) {
	f := i.module.ExportedFunction(name)
	if f == nil {
		return nil, i.noExport(name)
	}
	if want := len(f.Definition().ParamTypes()); want != len(args) {
		return nil, failf(ReasonBadCall, "the function %s takes %d parameters, and %d were given", printable(name), want, len(args))
	}
	return f.Call(context.WithValue(ctx, instanceKey{}, i), args...)
}

// noExport says what there is instead.
func (i *Instance) noExport(name string) error {
	var names []string
	for have := range i.code.compiled.ExportedFunctions() {
		names = append(names, printable(have))
	}
	slices.Sort(names)
	return failf(ReasonNoExport, "the module exports no function %s; it has: %s", printable(name), named(names))
}

// Close interrupts the guest, waits for the call in flight, and frees what it
// held.
func (i *Instance) Close() error {
	i.Stop()
	return nil
}

// Usage is what the guest has used until now.
func (i *Instance) Usage() Usage {
	return Usage{CPU: i.Busy(), Memory: i.Memory()}
}

// Pause keeps the guest from computing until Resume. A host function that it
// is in goes on.
func (i *Instance) Pause() {}

// Resume ends a pause.
func (i *Instance) Resume() {}

// SetLimits changes the CPU limit in thousandths of a core and the weight, as
// in Limits.
func (i *Instance) SetLimits(cpu, weight uint32) { _, _ = cpu, weight }

// ExitError is how an instance ended during a call.
type ExitError struct {
	Exit Exit
	Err  error // what a host function ended it with; may be nil
}

// Error is for people.
func (e *ExitError) Error() string {
	if e.Exit.Message == "" {
		return fmt.Sprintf("the guest ended: %s, code %d", e.Exit.Reason, e.Exit.Code)
	}
	return fmt.Sprintf("the guest ended: %s: %s", e.Exit.Reason, e.Exit.Message)
}

// Unwrap returns the host function's error.
func (e *ExitError) Unwrap() error { return e.Err }
