package wasmrt

import (
	"maps"
	"slices"
	"testing"
)

// Check must know of the same functions as the engine.
func TestCheckKnowsTheEnginesFunctions(t *testing.T) {
	e, err := NewEngine(t.Context(), Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	have := slices.Sorted(maps.Keys(e.provided[wasiModule]))
	if want := slices.Sorted(slices.Values(preview1())); !slices.Equal(have, want) {
		t.Errorf("the engine provides\n%v\nCheck knows\n%v", have, want)
	}
}
