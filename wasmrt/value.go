package wasmrt

import (
	"fmt"
	"math"
	"strconv"
	"strings"
)

// String is the function as the text format has it: name(i32, i64) -> f64.
func (e Export) String() string {
	s := printable(e.Name) + "(" + typeNames(e.Params) + ")"
	if len(e.Results) > 0 {
		s += " -> " + typeNames(e.Results)
	}
	return s
}

func typeNames(types []ValueType) string {
	names := make([]string, len(types))
	for n, t := range types {
		names[n] = t.String()
	}
	return strings.Join(names, ", ")
}

// ParseArgs turns texts into parameters for Instance.Call. Integers are
// decimal, or hexadecimal with 0x, signed or unsigned, as far as the type
// goes: an i32 is from -2147483648 to 4294967295. Floats are what strconv.ParseFloat
// reads. The error is an *Error with ReasonBadCall.
func (e Export) ParseArgs(args []string) ([]uint64, error) {
	if len(args) != len(e.Params) {
		return nil, failf(ReasonBadCall, "the function %s takes %d parameters, and %d were given", e, len(e.Params), len(args))
	}
	values := make([]uint64, len(args))
	for n, t := range e.Params {
		v, err := t.Parse(args[n])
		if err != nil {
			return nil, failf(ReasonBadCall, "parameter %d of the function %s: %v", n+1, e, err)
		}
		values[n] = v
	}
	return values, nil
}

// FormatResults turns what Instance.Call returned into texts that ParseArgs would
// take back, integers as signed.
func (e Export) FormatResults(results []uint64) ([]string, error) {
	if len(results) != len(e.Results) {
		return nil, failf(ReasonBadCall, "the function %s has %d results, and %d were given", e, len(e.Results), len(results))
	}
	texts := make([]string, len(results))
	for n, t := range e.Results {
		s, err := t.Format(results[n])
		if err != nil {
			return nil, failf(ReasonBadCall, "result %d of the function %s: %v", n+1, e, err)
		}
		texts[n] = s
	}
	return texts, nil
}

// Parse reads a text as a value of the type, as wide as Instance.Call wants it.
func (t ValueType) Parse(text string) (uint64, error) {
	switch t {
	case I32:
		return parseInt(text, 32, t)
	case I64:
		return parseInt(text, 64, t)
	case F32:
		f, err := strconv.ParseFloat(text, 32)
		if err != nil {
			return 0, fmt.Errorf("%.40q is no %v", text, t)
		}
		return uint64(math.Float32bits(float32(f))), nil
	case F64:
		f, err := strconv.ParseFloat(text, 64)
		if err != nil {
			return 0, fmt.Errorf("%.40q is no %v", text, t)
		}
		return math.Float64bits(f), nil
	case V128, FuncRef, ExternRef:
	}
	return 0, fmt.Errorf("a value of type %v cannot be given as a text", t)
}

func parseInt(text string, bits int, t ValueType) (uint64, error) {
	digits, base := text, 10
	if sign, rest, ok := strings.Cut(text, "0x"); ok && (sign == "" || sign == "-") && !strings.ContainsAny(rest, "+-") {
		digits, base = sign+rest, 16
	}
	if v, err := strconv.ParseUint(digits, base, bits); err == nil {
		return v, nil
	}
	v, err := strconv.ParseInt(digits, base, bits)
	if err != nil {
		return 0, fmt.Errorf("%.40q is no %v", text, t)
	}
	return uint64(v) & (1<<bits - 1), nil //nolint:gosec // two's complement
}

// Format is Parse the other way.
func (t ValueType) Format(value uint64) (string, error) {
	switch t {
	case I32:
		return strconv.FormatInt(int64(int32(value)), 10), nil //nolint:gosec // two's complement
	case I64:
		return strconv.FormatInt(int64(value), 10), nil //nolint:gosec // two's complement
	case F32:
		return strconv.FormatFloat(float64(math.Float32frombits(uint32(value))), 'g', -1, 32), nil //nolint:gosec // the lower half
	case F64:
		return strconv.FormatFloat(math.Float64frombits(value), 'g', -1, 64), nil
	case V128, FuncRef, ExternRef:
	}
	return "", fmt.Errorf("a value of type %v cannot be shown as a text", t)
}
