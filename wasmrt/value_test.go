package wasmrt_test

import (
	"errors"
	"slices"
	"testing"

	"dhow.dev/dhow/wasmrt"
)

func TestParseArgs(t *testing.T) {
	e := wasmrt.Export{
		Name:    "f",
		Params:  []wasmrt.ValueType{wasmrt.I32, wasmrt.I64, wasmrt.F32, wasmrt.F64},
		Results: []wasmrt.ValueType{wasmrt.I32, wasmrt.I64, wasmrt.F32, wasmrt.F64},
	}
	for _, c := range []struct{ in, out []string }{
		{[]string{"3", "4", "2.5", "-1"}, nil},
		{[]string{"-2147483648", "-9223372036854775808", "-0", "1e+300"}, nil},
		{[]string{"4294967295", "18446744073709551615", "NaN", "+Inf"}, []string{"-1", "-1", "NaN", "+Inf"}},
		{[]string{"0x10", "-0xffff", "0.1", "0.1"}, []string{"16", "-65535", "0.1", "0.1"}},
		{[]string{"010", "+7", "1e1", ".5"}, []string{"10", "7", "10", "0.5"}},
	} {
		values, err := e.ParseArgs(c.in)
		if err != nil {
			t.Fatal(err)
		}
		if values[0]>>32 != 0 || values[2]>>32 != 0 {
			t.Errorf("%q: the upper half of a 32-bit value is not empty: %#x", c.in, values)
		}
		out, err := e.FormatResults(values)
		if want := cmpOr(c.out, c.in); err != nil || !slices.Equal(out, want) {
			t.Errorf("%q gave %q, %v, want %q", c.in, out, err, want)
		}
	}
}

func cmpOr(a, b []string) []string {
	if a == nil {
		return b
	}
	return a
}

func TestParseArgsRefuses(t *testing.T) {
	for _, c := range []struct {
		params []wasmrt.ValueType
		in     []string
		want   string
	}{
		{[]wasmrt.ValueType{wasmrt.I32}, nil, "the function f(i32) takes 1 parameters, and 0 were given"},
		{[]wasmrt.ValueType{wasmrt.I32}, []string{"4294967296"}, `parameter 1 of the function f(i32): "4294967296" is no i32`},
		{[]wasmrt.ValueType{wasmrt.I32}, []string{"-2147483649"}, `parameter 1 of the function f(i32): "-2147483649" is no i32`},
		{[]wasmrt.ValueType{wasmrt.I32, wasmrt.F64}, []string{"1", "x"}, `parameter 2 of the function f(i32, f64): "x" is no f64`},
		{[]wasmrt.ValueType{wasmrt.ExternRef}, []string{"1"}, "parameter 1 of the function f(externref): a value of type externref cannot be given as a text"},
	} {
		_, err := wasmrt.Export{Name: "f", Params: c.params}.ParseArgs(c.in)
		e, ok := errors.AsType[*wasmrt.Error](err)
		if !ok || e.Reason != wasmrt.ReasonBadCall || e.Message != c.want {
			t.Errorf("%q: %v", c.in, err)
		}
	}
}

// FuzzValues: what is parsed is shown as what parses to the same value.
func FuzzValues(f *testing.F) {
	for _, s := range []string{"1", "-1", "0x7f", "1.5", "nan", "18446744073709551615", "1e39", "1_0"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		for _, vt := range []wasmrt.ValueType{wasmrt.I32, wasmrt.I64, wasmrt.F32, wasmrt.F64} {
			v, err := vt.Parse(s)
			if err != nil {
				continue
			}
			text, err := vt.Format(v)
			if err != nil {
				t.Fatal(err)
			}
			if again, err := vt.Parse(text); err != nil || again != v {
				t.Errorf("%v %q: %#x, shown as %q, parsed as %#x, %v", vt, s, v, text, again, err)
			}
		}
	})
}
