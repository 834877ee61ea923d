package httpwasm

import (
	"fmt"
	"slices"

	"dhow.dev/dhow/wasmrt"
)

// Check refuses a module that is no http-wasm guest, by its exported functions
// (wasmrt.Module.Exports). The error is an *wasmrt.Error.
func Check(exports []wasmrt.Export) error {
	for _, want := range []wasmrt.Export{
		{Name: "handle_request", Results: types(wasmrt.I64)},
		{Name: "handle_response", Params: types(wasmrt.I32, wasmrt.I32)},
	} {
		n := slices.IndexFunc(exports, func(e wasmrt.Export) bool { return e.Name == want.Name })
		switch {
		case n < 0:
			return &wasmrt.Error{
				Reason:  wasmrt.ReasonNoExport,
				Message: fmt.Sprintf("the module exports no function %v, as http-wasm middleware does", want),
			}
		case !slices.Equal(exports[n].Params, want.Params) || !slices.Equal(exports[n].Results, want.Results):
			return &wasmrt.Error{
				Reason:  wasmrt.ReasonBadCall,
				Message: fmt.Sprintf("the module exports %v, and http-wasm wants %v", exports[n], want),
			}
		}
	}
	return nil
}
