package wasm

import (
	"fmt"
	"slices"
	"strings"

	"dhow.dev/dhow/node/runtime"
	dhowv1 "dhow.dev/dhow/proto/dhow/v1"
	"dhow.dev/dhow/wasmrt"
	"dhow.dev/dhow/wasmrt/httpwasm"
)

// extismModule is what Extism plugins import.
const extismModule = "extism:host/env"

// isFunction tells a task that is called from one that runs.
func isFunction(w *dhowv1.WasmSource) bool { return w.GetPool() != nil }

// kind is the trigger of the task: the one it asks for, or what its module
// looks like. The error says what the module lacks for it.
func kind(w *dhowv1.WasmSource, m *wasmrt.Module) (dhowv1.Trigger, error) {
	imports, exports := m.Imports(), m.Exports()
	has := func(name string) bool {
		return slices.ContainsFunc(exports, func(e wasmrt.Export) bool { return e.Name == name })
	}
	needs := func(module string) bool {
		return slices.ContainsFunc(imports, func(i wasmrt.Import) bool { return i.Module == module })
	}
	lacks := func(what string) error {
		return &runtime.Error{Reason: "NoEntryPoint", Permanent: true, Err: fmt.Errorf("%s %s", name(w), what)}
	}
	switch k := w.GetTrigger(); k {
	case dhowv1.Trigger_TRIGGER_HTTP_WASM:
		if !has("handle_request") || !has("handle_response") {
			return 0, lacks("is no http-wasm handler: it does not export handle_request and handle_response")
		}
		return k, nil
	case dhowv1.Trigger_TRIGGER_CALL, dhowv1.Trigger_TRIGGER_EXTISM:
		if len(callable(k, exports)) == 0 {
			return 0, lacks("exports no function that can be called")
		}
		return k, nil
	case dhowv1.Trigger_TRIGGER_UNSPECIFIED:
		switch {
		case needs(extismModule) && len(callable(dhowv1.Trigger_TRIGGER_EXTISM, exports)) > 0:
			return dhowv1.Trigger_TRIGGER_EXTISM, nil
		case needs(httpwasm.Name), has("handle_request") && has("handle_response"):
			return dhowv1.Trigger_TRIGGER_HTTP_WASM, nil
		case has("_start"):
			return dhowv1.Trigger_TRIGGER_COMMAND, nil
		case len(callable(dhowv1.Trigger_TRIGGER_CALL, exports)) > 0:
			return dhowv1.Trigger_TRIGGER_CALL, nil
		}
		return 0, lacks("exports neither _start nor a function that can be called")
	default:
		if !has("_start") {
			return 0, lacks("exports no _start, and so it cannot run as a command: give it the type function and the trigger call or extism")
		}
		return k, nil
	}
}

// callable are the exports that people can call, in order. Names that begin
// with an underscore are the toolchains'.
func callable(k dhowv1.Trigger, exports []wasmrt.Export) []wasmrt.Export {
	var out []wasmrt.Export
	for _, e := range exports {
		switch {
		case strings.HasPrefix(e.Name, "_"), allocators[e.Name]:
		case k == dhowv1.Trigger_TRIGGER_EXTISM && (len(e.Params) > 0 || len(e.Results) > 1):
		case k == dhowv1.Trigger_TRIGGER_CALL && (!scalars(e.Params) || !scalars(e.Results)):
		default:
			out = append(out, e)
		}
	}
	return out
}

// allocators are exported by toolchains for their hosts.
//
//nolint:gochecknoglobals // a table
var allocators = map[string]bool{
	"malloc": true, "free": true, "calloc": true, "realloc": true, "aligned_alloc": true, "posix_memalign": true, "cabi_realloc": true,
}

func scalars(types []wasmrt.ValueType) bool {
	return !slices.ContainsFunc(types, func(t wasmrt.ValueType) bool {
		return t != wasmrt.I32 && t != wasmrt.I64 && t != wasmrt.F32 && t != wasmrt.F64
	})
}
