package wasmrt

import (
	"bytes"
	"context"

	"github.com/tetratelabs/wazero/experimental"
)

// pristine tells whether a guest's kernels are as new ones, so that a copy does
// with a new one.
func (i *Instance) pristine() (all bool, other string, err error) {
	for name, k := range i.kernels {
		if k.state != nil {
			return false, name, nil
		}
		ctx := context.Background() //nolint:forbidigo // kernels are ours, and start at once
		fresh, err := i.engine.newKernel(ctx, i.engine.kernel(name), i.memory.limit)
		if err != nil {
			return false, name, err
		}
		same := k.same(fresh)
		fresh.close()
		if !same {
			return false, name, nil
		}
	}
	return true, "", nil
}

func (k *Kernel) same(other *Kernel) bool {
	a, aKnown := k.module.(experimental.InternalModule)
	b, bKnown := other.module.(experimental.InternalModule)
	if !aKnown || !bKnown || !bytes.Equal(k.memory.bytes(), other.memory.bytes()) {
		return false
	}
	for n := range a.NumGlobal() {
		if a.Global(n).Get() != b.Global(n).Get() {
			return false
		}
	}
	return true
}
