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
	o, err := examine(wasm, host...)
	if err != nil {
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
