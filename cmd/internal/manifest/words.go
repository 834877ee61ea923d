package manifest

import (
	"slices"
	"strings"

	"google.golang.org/protobuf/reflect/protoreflect"
)

// Word is how an enumeration's value is written: onFailure for
// RESTART_MODE_ON_FAILURE; empty for the unspecified value.
func Word(e protoreflect.Enum) string {
	return word(e.Descriptor(), e.Number())
}

func word(d protoreflect.EnumDescriptor, n protoreflect.EnumNumber) string {
	v := d.Values().ByNumber(n)
	if v == nil || n == 0 {
		return ""
	}
	var b strings.Builder
	for i, part := range strings.Split(strings.TrimPrefix(string(v.Name()), enumPrefix(d)), "_") {
		part = strings.ToLower(part)
		if i > 0 && part != "" {
			part = strings.ToUpper(part[:1]) + part[1:]
		}
		b.WriteString(part)
	}
	return b.String()
}

// enumPrefix is what buf's style puts before each value: RESTART_MODE_.
func enumPrefix(d protoreflect.EnumDescriptor) string {
	v := d.Values().ByNumber(0)
	if v == nil {
		return ""
	}
	return strings.TrimSuffix(string(v.Name()), "UNSPECIFIED")
}

// Words lists an enumeration's words.
func Words(d protoreflect.EnumDescriptor) []string {
	var out []string
	for i := range d.Values().Len() {
		if w := word(d, d.Values().Get(i).Number()); w != "" {
			out = append(out, w)
		}
	}
	return out
}

// ParseWord finds the value that a word stands for; case, '-' and '_' do not
// matter, and the full name of the value will do.
func ParseWord(d protoreflect.EnumDescriptor, s string) (protoreflect.EnumNumber, bool) {
	want := strings.TrimPrefix(fold(s), fold(enumPrefix(d)))
	for i := range d.Values().Len() {
		n := d.Values().Get(i).Number()
		if w := word(d, n); w != "" && fold(w) == want {
			return n, true
		}
	}
	return 0, false
}

func fold(s string) string {
	return strings.ToLower(strings.NewReplacer("-", "", "_", "").Replace(s))
}

// nearest finds the candidate that s was probably meant to be; empty when
// none is near.
func nearest(s string, candidates []string) string {
	best, least := "", 1+max(2, len(s)/3)
	for _, c := range candidates {
		if fold(c) == fold(s) {
			return c
		}
		if len(s) >= 3 && strings.HasPrefix(strings.ToLower(c), strings.ToLower(s)) {
			return c
		}
		if d := distance(strings.ToLower(s), strings.ToLower(c)); d < least && d < len(c) {
			best, least = c, d
		}
	}
	return best
}

// distance counts the letters to insert, delete or exchange (Levenshtein).
func distance(a, b string) int {
	if len(a) > 64 || len(b) > 64 {
		return 1 << 10
	}
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		prev := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := 1
			if a[i] == b[j] {
				cost = 0
			}
			prev, row[j+1] = row[j+1], min(row[j+1]+1, row[j]+1, prev+cost)
		}
	}
	return row[len(b)]
}

// didYouMean ends a message about an unknown name.
func didYouMean(s string, candidates []string) string {
	if n := nearest(s, candidates); n != "" {
		return "; did you mean " + n + "?"
	}
	known := slices.Clone(candidates)
	slices.Sort(known)
	return "; known here: " + strings.Join(known, ", ")
}
