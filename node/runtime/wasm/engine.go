package wasm

import (
	"dhow.dev/dhow/wasmrt"
	"dhow.dev/dhow/wasmrt/extism"
	"dhow.dev/dhow/wasmrt/host"
	"dhow.dev/dhow/wasmrt/httpwasm"
)

// HostModules are what an Engine has to offer guests for a Runtime.
func HostModules() []wasmrt.HostModule {
	return append(host.Modules(), httpwasm.Module(), extism.Module())
}
