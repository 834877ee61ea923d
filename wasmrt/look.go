package wasmrt

import "slices"

// Outline is what a module says of itself.
type Outline struct {
	// Imports are the names of the modules it imports from, Exports those of the
	// functions it exports; both are sorted.
	Imports, Exports []string
}

// Look is Check for modules that need not be commands, and may import the
// functions of host beside WASI's. It takes microseconds, and does not
// validate the code. The error is an *Error.
func Look(wasm []byte, host ...HostModule) (Outline, error) {
	o, err := inspect(wasm)
	if err != nil {
		return Outline{}, err
	}
	provided := func(module, name string) bool {
		if module == wasiModule && slices.Contains(preview1(), name) {
			return true
		}
		return slices.ContainsFunc(host, func(h HostModule) bool {
			return h.Name == module && (len(h.Kernel) > 0 || slices.ContainsFunc(h.Functions, func(f HostFunction) bool { return f.Name == name }))
		})
	}
	if err := o.check(provided); err != nil {
		return Outline{}, err
	}
	var out Outline
	for _, i := range o.imports {
		out.Imports = append(out.Imports, i.module)
	}
	for name, kind := range o.exports {
		if kind == externFunc {
			out.Exports = append(out.Exports, name)
		}
	}
	slices.Sort(out.Imports)
	slices.Sort(out.Exports)
	out.Imports = slices.Compact(out.Imports)
	return out, nil
}
