package wasmrt

import (
	"errors"
	"testing"
)

// TestAreasAreBounded: with too many guests the next one fails, clearly, and
// the process lives.
func TestAreasAreBounded(t *testing.T) {
	taken := mostAreas() - mapped.Load() - areas
	mapped.Add(taken)
	defer mapped.Add(-taken)
	last, err := newMemory(pageSize, pageSize, nil)
	if err != nil {
		t.Fatal("the last one: ", err)
	}
	if _, err := newMemory(pageSize, pageSize, nil); !errors.Is(err, errAreas) {
		t.Errorf("one more: %v", err)
	}
	last.release()
	if m, err := newMemory(pageSize, pageSize, nil); err != nil {
		t.Error("after one has gone: ", err)
	} else {
		m.release()
	}
}
