package spec

import (
	"fmt"
	"math/bits"
	"strconv"
	"strings"

	dhowv1 "dhow.dev/dhow/proto/dhow/v1"
)

// ParseCPU reads cores ("2", "0.5") or thousandths of a core ("500m") and
// returns thousandths.
func ParseCPU(s string) (uint64, error) {
	num, milli := strings.CutSuffix(s, "m")
	scale := uint64(1000)
	if milli {
		scale = 1
	}
	v, ok := parseScaled(num, scale)
	if !ok {
		return 0, Errorf(CodeInvalid, "%s is no amount of CPU: write cores, such as 2 or 0.5, or thousandths, such as 500m", quote(s))
	}
	if v > MaxCPU {
		return 0, Errorf(CodeInvalid, "%s is more CPU than can be asked for (%s cores)", quote(s), FormatCPU(MaxCPU))
	}
	return v, nil
}

// FormatCPU writes thousandths of a core as ParseCPU reads them.
func FormatCPU(v uint64) string {
	if v%1000 == 0 {
		return strconv.FormatUint(v/1000, 10)
	}
	return strconv.FormatUint(v, 10) + "m"
}

// unit is a suffix of amounts of memory.
type unit struct {
	suffix string
	bytes  uint64
}

// units are what ParseMemory knows.
func units() []unit {
	return []unit{
		{"Ki", 1 << 10},
		{"Mi", 1 << 20},
		{"Gi", 1 << 30},
		{"Ti", 1 << 40},
		{"Pi", 1 << 50},
		{"k", 1e3},
		{"K", 1e3},
		{"M", 1e6},
		{"G", 1e9},
		{"T", 1e12},
		{"P", 1e15},
	}
}

// ParseMemory reads bytes: "1048576", "64Mi", "64M", "1.5Gi".
func ParseMemory(s string) (uint64, error) {
	num, scale := s, uint64(1)
	for _, u := range units() {
		if n, ok := strings.CutSuffix(s, u.suffix); ok {
			num, scale = n, u.bytes
			break
		}
	}
	v, ok := parseScaled(num, scale)
	if !ok {
		return 0, Errorf(CodeInvalid, "%s is no amount of memory: write bytes, or a unit such as 64Mi, 64M or 1Gi", quote(s))
	}
	if v > MaxMemory {
		return 0, Errorf(CodeInvalid, "%s is more memory than can be asked for (%s)", quote(s), FormatMemory(MaxMemory))
	}
	return v, nil
}

// FormatMemory writes bytes as ParseMemory reads them, without loss, in the
// largest unit that divides them, binary ones first.
func FormatMemory(v uint64) string {
	for _, u := range []unit{
		{"Pi", 1 << 50},
		{"Ti", 1 << 40},
		{"Gi", 1 << 30},
		{"Mi", 1 << 20},
		{"P", 1e15},
		{"T", 1e12},
		{"G", 1e9},
		{"M", 1e6},
		{"Ki", 1 << 10},
		{"k", 1e3},
	} {
		if v >= u.bytes && v%u.bytes == 0 {
			return strconv.FormatUint(v/u.bytes, 10) + u.suffix
		}
	}
	return strconv.FormatUint(v, 10)
}

// parseScaled reads a decimal number and multiplies it, exactly; what does not
// come out whole is refused, so that nothing is rounded behind a user's back.
func parseScaled(s string, scale uint64) (uint64, bool) {
	whole, frac, dotted := strings.Cut(s, ".")
	if whole == "" || (dotted && frac == "") || len(frac) > 18 {
		return 0, false
	}
	w, ok := digits(whole)
	if !ok {
		return 0, false
	}
	hi, v := bits.Mul64(w, scale)
	if hi != 0 {
		return 0, false
	}
	frac = strings.TrimRight(frac, "0")
	if frac == "" {
		return v, true
	}
	f, ok := digits(frac)
	if !ok {
		return 0, false
	}
	den := uint64(1)
	for range len(frac) {
		den *= 10
	}
	hi, lo := bits.Mul64(f, scale) // f < den, so hi < den as Div64 demands
	q, rest := bits.Div64(hi, lo, den)
	if rest != 0 {
		return 0, false
	}
	sum, carry := bits.Add64(v, q, 0)
	return sum, carry == 0
}

// digits is ParseUint without signs and underscores.
func digits(s string) (uint64, bool) {
	for i := range len(s) {
		if !isDigit(s[i]) {
			return 0, false
		}
	}
	v, err := strconv.ParseUint(s, 10, 64)
	return v, err == nil
}

// Requests is what an instance of the template takes from its node: the sum
// over its tasks, a limit without a request being its request too.
func Requests(t *dhowv1.Template) *dhowv1.ResourceList {
	sum := &dhowv1.ResourceList{}
	for _, task := range t.GetTasks() {
		req, lim := task.GetResources().GetRequests(), task.GetResources().GetLimits()
		sum.Cpu += orElse(req.GetCpu(), lim.GetCpu())
		sum.Memory += orElse(req.GetMemory(), lim.GetMemory())
	}
	return sum
}

func orElse(v, other uint64) uint64 {
	if v != 0 {
		return v
	}
	return other
}

// ShowBytes writes an amount for people, rounded to one decimal: 7.8Gi.
func ShowBytes(n uint64) string {
	if n < 1<<10 {
		return fmt.Sprintf("%dB", n)
	}
	units, v := "KMGTPE", float64(n)/(1<<10)
	for v >= 1023.95 && len(units) > 1 {
		v, units = v/(1<<10), units[1:]
	}
	return strings.TrimSuffix(fmt.Sprintf("%.1f", v), ".0") + units[:1] + "i"
}
