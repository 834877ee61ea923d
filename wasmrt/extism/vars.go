package extism

import (
	"errors"
	"sync"
)

var errVarsFull = errors.New("the variables are full")

// varOverhead is what a variable counts for beside its name and value.
const varOverhead = 64

// Vars are a plugin's variables, which stay from one call to the next. They
// are safe for use by many goroutines; a plugin that reads one, changes it and writes it
// may lose what another instance wrote meanwhile.
type Vars struct {
	most int

	mu     sync.Mutex
	size   int
	values map[string][]byte
}

// NewVars makes variables that take up to most bytes together, with 64 bytes
// for each added. 0 means 1 MiB; negative allows none.
func NewVars(most int) *Vars {
	if most == 0 {
		most = 1 << 20
	}
	return &Vars{most: most, values: map[string][]byte{}}
}

// Get returns a variable, which must not be changed.
func (v *Vars) Get(name string) ([]byte, bool) {
	v.mu.Lock()
	defer v.mu.Unlock()
	value, ok := v.values[name]
	return value, ok
}

// Set keeps the value, which must not be changed any more. The error says that
// there is no room.
func (v *Vars) Set(name string, value []byte) error {
	v.mu.Lock()
	defer v.mu.Unlock()
	size := v.size + len(name) + len(value) + varOverhead
	if old, ok := v.values[name]; ok {
		size -= len(name) + len(old) + varOverhead
	}
	if size > v.most {
		return errVarsFull
	}
	v.size = size
	v.values[name] = value
	return nil
}

// Delete forgets a variable.
func (v *Vars) Delete(name string) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if old, ok := v.values[name]; ok {
		v.size -= len(name) + len(old) + varOverhead
		delete(v.values, name)
	}
}
