package output

import (
	"strings"
	"unicode"
)

// Hue is a meaning that may be shown in colour.
type Hue int

// The hues.
const (
	Plain Hue = iota
	Good
	Warn
	Bad
	Dim
)

// Style is how a stream wants its text.
type Style struct{ Color bool }

// Paint wraps a text in the hue's colour, if colours are wanted.
func (s Style) Paint(h Hue, text string) string {
	if code := s.code(h); code != "" && text != "" {
		return "\x1b[" + code + "m" + text + "\x1b[0m"
	}
	return text
}

func (s Style) code(h Hue) string {
	if !s.Color {
		return ""
	}
	switch h {
	case Good:
		return "32"
	case Warn:
		return "33"
	case Bad:
		return "31"
	case Dim:
		return "2"
	case Plain:
	}
	return ""
}

// Prefix paints one of several alternating colours, for streams side by side.
func (s Style) Prefix(i int, text string) string {
	if !s.Color {
		return text
	}
	codes := []string{"36", "33", "32", "35", "34", "96", "93", "92", "95", "94"}
	return "\x1b[" + codes[i%len(codes)] + "m" + text + "\x1b[0m"
}

// Clean makes a text from elsewhere safe for a terminal, on one line.
func Clean(s string) string {
	if strings.IndexFunc(s, unsafe) < 0 {
		return s
	}
	return strings.Map(func(r rune) rune {
		switch {
		case r == '\n' || r == '\t' || r == '\r':
			return ' '
		case unsafe(r):
			return unicode.ReplacementChar
		}
		return r
	}, s)
}

func unsafe(r rune) bool { return !unicode.IsPrint(r) && r != ' ' }
