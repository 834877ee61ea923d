package manifest

import (
	"bytes"
	"encoding/json"
	"strconv"
	"unicode/utf16"
	"unicode/utf8"
)

// joinSurrogates replaces the pairs of escapes that JSON writes characters
// outside the basic plane with (\ud83d\ude00), which YAML does not know.
// Lines stay where they are. What is not JSON is returned as it is.
func joinSurrogates(data []byte) []byte {
	if !bytes.Contains(data, []byte(`\u`)) || !json.Valid(data) {
		return data
	}
	out := make([]byte, 0, len(data))
	for i := 0; i < len(data); i++ {
		if data[i] != '\\' {
			out = append(out, data[i])
			continue
		}
		if hi, ok := escape16(data[i:]); ok {
			if lo, ok := escape16(data[i+6:]); ok {
				if r := utf16.DecodeRune(hi, lo); r != utf8.RuneError {
					out = utf8.AppendRune(out, r)
					i += 11
					continue
				}
			}
		}
		out = append(out, data[i], data[i+1]) // valid JSON: something follows
		i++
	}
	return out
}

// escape16 reads one \uXXXX.
func escape16(b []byte) (rune, bool) {
	if len(b) < 6 || b[0] != '\\' || b[1] != 'u' {
		return 0, false
	}
	v, err := strconv.ParseUint(string(b[2:6]), 16, 16)
	return rune(v), err == nil
}
