package meter_test

import (
	"encoding/json"
	"fmt"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"strconv"
	"strings"
	"testing"

	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/api"
	"github.com/tetratelabs/wazero/experimental"

	"dhow.dev/dhow/wasmrt/meter"
)

// The WebAssembly specification's test suite, as wazero's module carries it:
// each module runs as it is and metered, side by side. Both must give what the
// suite expects, and the same.

type script struct {
	Commands []command `json:"commands"`
}

type command struct {
	Type       string  `json:"type"`
	Line       int     `json:"line"`
	Name       string  `json:"name"`
	Filename   string  `json:"filename"`
	As         string  `json:"as"`
	ModuleType string  `json:"module_type"`
	Text       string  `json:"text"`
	Action     action  `json:"action"`
	Expected   []value `json:"expected"`
}

type action struct {
	Type   string  `json:"type"`
	Module string  `json:"module"`
	Field  string  `json:"field"`
	Args   []value `json:"args"`
}

type value struct {
	Type  string `json:"type"`
	Lane  string `json:"lane_type"`
	Value any    `json:"value"`
}

func TestSpec(t *testing.T) {
	t.Parallel()
	suites := map[string]api.CoreFeatures{
		"v1":             api.CoreFeaturesV1,
		"v2":             api.CoreFeaturesV2,
		"tail-call":      api.CoreFeaturesV2 | experimental.CoreFeaturesTailCall,
		"extended-const": api.CoreFeaturesV2 | experimental.CoreFeaturesExtendedConst,
	}
	dir := specDir(t)
	for suite, features := range suites {
		files, err := filepath.Glob(filepath.Join(dir, suite, "testdata", "*.json"))
		if err != nil || len(files) == 0 {
			t.Fatalf("no tests of %s: %v", suite, err)
		}
		for _, file := range files {
			name := strings.TrimSuffix(filepath.Base(file), ".json")
			t.Run(suite+"/"+name, func(t *testing.T) {
				t.Parallel()
				for _, mode := range []meter.Mode{meter.Exact, meter.Preempt} {
					runScript(t, dir, file, features, mode)
				}
			})
		}
	}
}

// specDir is where wazero's module has the suites.
func specDir(t *testing.T) string {
	t.Helper()
	out, err := exec.Command("go", "list", "-m", "-f", "{{.Dir}}", "github.com/tetratelabs/wazero").Output()
	if err != nil {
		t.Fatal(err)
	}
	return filepath.Join(strings.TrimSpace(string(out)), "internal", "integration_test", "spectest")
}

// side is one of the two that run side by side.
type side struct {
	t       *testing.T
	meter   bool
	mode    meter.Mode
	runtime wazero.Runtime
	modules map[string]api.Module
	last    api.Module
}

func runScript(t *testing.T, dir, file string, features api.CoreFeatures, mode meter.Mode) {
	spectest := readFile(t, filepath.Join(dir, "testdata", "spectest.wasm"))
	sides := []*side{{t: t}, {t: t, meter: true, mode: mode}}
	for _, s := range sides {
		s.modules = map[string]api.Module{}
		s.runtime = wazero.NewRuntimeWithConfig(t.Context(), wazero.NewRuntimeConfig().WithCoreFeatures(features))
		defer s.runtime.Close(t.Context())
		if _, err := s.runtime.Instantiate(t.Context(), spectest); err != nil {
			t.Fatal(err)
		}
		g := granter{slice: 1000}
		g.provide(t, s.runtime)
	}
	var script script
	if err := json.Unmarshal(readFile(t, file), &script); err != nil {
		t.Fatal(err)
	}
	for n := range script.Commands {
		c := &script.Commands[n]
		as := ""
		if c.Type == "module" && n+1 < len(script.Commands) && script.Commands[n+1].Type == "register" {
			as = script.Commands[n+1].As
		}
		plain, plainErr := sides[0].run(c, filepath.Dir(file), as)
		metered, meteredErr := sides[1].run(c, filepath.Dir(file), as)
		at := fmt.Sprintf("mode %d, line %d: %s %s", mode, c.Line, c.Type, c.Action.Field)
		if why := c.check(metered, meteredErr); why != "" {
			t.Errorf("%s: %s", at, why)
		}
		if c.comparable() && (!reflect.DeepEqual(plain, metered) || firstLine(plainErr) != firstLine(meteredErr)) {
			t.Errorf("%s: plain %#x, %v; metered %#x, %v", at, plain, plainErr, metered, meteredErr)
		}
	}
}

func readFile(t testing.TB, path string) []byte {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func firstLine(err error) string {
	if err == nil {
		return ""
	}
	line, _, _ := strings.Cut(err.Error(), "\n")
	if _, after, ok := strings.Cut(line, "] failed: "); ok {
		return after // of start function[n], whose index is another
	}
	return line
}

func (s *side) run(c *command, dir, as string) ([]uint64, error) {
	switch c.Type {
	case "module", "assert_malformed", "assert_invalid", "assert_unlinkable", "assert_uninstantiable":
		if c.ModuleType == "text" || strings.HasSuffix(c.Filename, ".wat") {
			return nil, ended("text is not read")
		}
		return nil, s.instantiate(c, readFile(s.t, filepath.Join(dir, c.Filename)), as)
	case "register":
		return nil, nil
	}
	m := s.last
	if c.Action.Module != "" {
		m = s.modules[c.Action.Module]
	}
	if c.Action.Type == "get" {
		return []uint64{m.ExportedGlobal(c.Action.Field).Get()}, nil
	}
	if s.meter {
		m.ExportedGlobal(meter.ExportDepth).(api.MutableGlobal).Set(16 << 20)
	}
	var args []uint64
	for _, a := range c.Action.Args {
		args = append(args, a.bits()...)
	}
	return m.ExportedFunction(c.Action.Field).Call(s.t.Context(), args...)
}

func (s *side) instantiate(c *command, wasm []byte, as string) error {
	if s.meter {
		var err error
		if wasm, err = meter.Rewrite(wasm, meter.Options{Mode: s.mode}); err != nil {
			return err
		}
	}
	m, err := s.runtime.InstantiateWithConfig(s.t.Context(), wasm, wazero.NewModuleConfig().WithName(as))
	if c.Type == "module" {
		s.last = m
		s.modules[c.Name] = m
	}
	return err
}

// comparable tells whether both sides must say the same.
func (c *command) comparable() bool {
	switch c.Type {
	case "assert_return", "action", "assert_trap", "module", "assert_uninstantiable":
		return true
	}
	return false
}

// check tells what is not as the suite expects it.
func (c *command) check(got []uint64, err error) string {
	switch c.Type {
	case "module", "register":
		if err != nil {
			return err.Error()
		}
	case "assert_return", "action":
		if err != nil {
			return err.Error()
		}
		for _, e := range c.Expected {
			n := len(e.bits())
			if n > len(got) || !e.matches(got[:n]) {
				return fmt.Sprintf("%#x, and expected %v", got, c.Expected)
			}
			got = got[n:]
		}
	case "assert_uninstantiable":
		// wazero keeps an instance whose elements do not fit, as linking needs.
	default:
		if err == nil {
			return "no error, and expected " + c.Text
		}
	}
	return ""
}

// lanes of a value.
func (v value) lanes() (lanes []any, bits int) {
	kind := v.Type
	lanes = []any{v.Value}
	if v.Type == "v128" {
		kind = v.Lane
		lanes = v.Value.([]any)
	}
	bits, err := strconv.Atoi(strings.TrimLeft(kind, "if"))
	if err != nil {
		bits = 64 // a reference
	}
	return lanes, bits
}

func (v value) bits() []uint64 {
	lanes, bits := v.lanes()
	out := make([]uint64, (len(lanes)*bits+63)/64)
	for n, l := range lanes {
		out[n*bits/64] |= v.lane(l, bits) << (n * bits % 64)
	}
	return out
}

func (v value) lane(l any, bits int) uint64 {
	s, ok := l.(string)
	switch {
	case !ok || s == "null":
		return 0
	case strings.HasPrefix(s, "nan"):
		if bits == 32 {
			return uint64(math.Float32bits(float32(math.NaN())))
		}
		return math.Float64bits(math.NaN())
	}
	u, err := strconv.ParseUint(s, 10, 64)
	if err != nil {
		i, _ := strconv.ParseInt(s, 10, 64)
		u = uint64(i) & (1<<bits - 1)
	}
	if v.Type == "externref" {
		u++ // 0 is null here
	}
	return u
}

// matches compares; any NaN is as good as another, as the other side compares
// their bits.
func (v value) matches(got []uint64) bool {
	lanes, bits := v.lanes()
	if v.Value == nil {
		return true
	}
	for n, l := range lanes {
		g := got[n*bits/64] >> (n * bits % 64)
		if bits < 64 {
			g &= 1<<bits - 1
		}
		s, _ := l.(string)
		switch {
		case strings.HasPrefix(s, "nan") && bits == 32:
			if !math.IsNaN(float64(math.Float32frombits(uint32(g)))) {
				return false
			}
		case strings.HasPrefix(s, "nan"):
			if !math.IsNaN(math.Float64frombits(g)) {
				return false
			}
		case g != v.lane(l, bits):
			return false
		}
	}
	return true
}
