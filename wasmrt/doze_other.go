//go:build !linux

package wasmrt

import "github.com/tetratelabs/wazero/api"

func (m *mapping) own(int) []int  { return nil }
func (m *mapping) imaged() uint64 { return 0 }
func (m *mapping) discard([]int)  {}
func freeStack(api.Function)      {}
