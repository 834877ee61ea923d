package spec_test

import (
	"testing"

	"pgregory.net/rapid"

	"dhow.dev/dhow/proto/spec"
)

func TestParseCPU(t *testing.T) {
	for in, want := range map[string]uint64{
		"500m": 500, "0.5": 500, "2": 2000, "1.25": 1250, "0": 0, "0.001": 1, "1.50": 1500, "1000000": spec.MaxCPU, "0.5000000000": 500,
	} {
		if got, err := spec.ParseCPU(in); err != nil || got != want {
			t.Errorf("%q: got %d, %v; want %d", in, got, err, want)
		}
	}
	for _, in := range []string{"", "m", "-1", "+1", "1.", ".5", "0.0001", "0.5m", "1e3", "one", "1 ", "1_000", "99999999999999999999", "1000001", "1..2", "1.2.3"} {
		if got, err := spec.ParseCPU(in); err == nil || spec.CodeOf(err) != spec.CodeInvalid {
			t.Errorf("%q: got %d, %v; want an error", in, got, err)
		}
	}
}

func TestParseMemory(t *testing.T) {
	for in, want := range map[string]uint64{
		"1048576": 1 << 20, "64Mi": 64 << 20, "64M": 64e6, "1Gi": 1 << 30, "1.5Gi": 3 << 29, "0.5Ki": 512, "1k": 1000, "1K": 1000, "0": 0, "1Pi": 1 << 50,
	} {
		if got, err := spec.ParseMemory(in); err != nil || got != want {
			t.Errorf("%q: got %d, %v; want %d", in, got, err, want)
		}
	}
	for _, in := range []string{"", "Mi", "-64Mi", "64MB", "64mi", "1.5", "0.3Ki", "2Pi", "99999999999999999999", "18446744073709551615Pi", "64 Mi", "0x10"} {
		if got, err := spec.ParseMemory(in); err == nil {
			t.Errorf("%q: got %d; want an error", in, got)
		}
	}
}

func TestQuantitiesComeBack(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		cpu := rapid.Uint64Range(0, spec.MaxCPU).Draw(t, "cpu")
		if got, err := spec.ParseCPU(spec.FormatCPU(cpu)); err != nil || got != cpu {
			t.Fatalf("cpu %d became %d, %v", cpu, got, err)
		}
		mem := rapid.Uint64Range(0, spec.MaxMemory).Draw(t, "memory")
		if got, err := spec.ParseMemory(spec.FormatMemory(mem)); err != nil || got != mem {
			t.Fatalf("memory %d became %d, %v", mem, got, err)
		}
	})
}

func FuzzQuantity(f *testing.F) {
	for _, s := range []string{"500m", "0.5", "64Mi", "1.5Gi", "99999999999999999999", "0.000000000000000001Pi"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if v, err := spec.ParseMemory(s); err == nil && v > spec.MaxMemory {
			t.Fatalf("%q is %d", s, v)
		}
		if v, err := spec.ParseCPU(s); err == nil && v > spec.MaxCPU {
			t.Fatalf("%q is %d", s, v)
		}
	})
}
