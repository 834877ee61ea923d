package fake_test

import (
	"fmt"
	"strings"
	"testing"

	"dhow.dev/dhow/node/runtime"
	"dhow.dev/dhow/node/runtime/fake"
	"dhow.dev/dhow/node/runtime/runtimetest"
	dhowv1 "dhow.dev/dhow/proto/dhow/v1"
)

// lines is what runtimetest.Print prints.
func lines() string {
	var b strings.Builder
	for n := range runtimetest.Lines {
		fmt.Fprintf(&b, "out %d\n", n)
	}
	return b.String()
}

var programs = map[runtimetest.Program][]string{
	runtimetest.RunForever: nil,
	runtimetest.Stubborn:   {"stubborn"},
	runtimetest.ExitZero:   {"exit=0"},
	runtimetest.ExitThree:  {"exit=3"},
	runtimetest.Print:      {"stdout=" + lines(), "stderr=last words", "exit=0"},
	runtimetest.Functions:  {"function=echo", "function=fail", "function=wait"},
	runtimetest.Broken:     {"prepare-error=no module", "permanent"},
}

func task(p runtimetest.Program) *dhowv1.Task {
	return &dhowv1.Task{Name: "main", Args: programs[p], Source: &dhowv1.Task_Wasm{Wasm: &dhowv1.WasmSource{}}}
}

func TestConformance(t *testing.T) {
	t.Run("InProcess", func(t *testing.T) {
		runtimetest.Run(t, runtimetest.Harness{
			New:  func(*testing.T, string) runtime.Runtime { return fake.New("wasm", nil) },
			Task: task,
		})
	})
	t.Run("Surviving", func(t *testing.T) {
		kept := map[string]*fake.Runtime{}
		runtimetest.Run(t, runtimetest.Harness{
			New: func(_ *testing.T, dir string) runtime.Runtime {
				if kept[dir] == nil {
					kept[dir] = fake.New("wasm", nil)
				}
				return kept[dir]
			},
			Task: task, Survives: true,
		})
	})
}
