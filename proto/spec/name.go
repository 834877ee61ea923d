package spec

import (
	"fmt"
	"strings"
)

// CheckName tells why s is not a DNS label; empty when it is one.
func CheckName(s string) string {
	switch {
	case s == "":
		return "a name is needed"
	case len(s) > MaxName:
		return fmt.Sprintf("%s has %d characters; a name has at most %d", quote(s), len(s), MaxName)
	case !isLabel(s):
		return quote(s) + " is no name: use lower-case letters, digits and '-', with a letter or digit first and last" + suggest(s)
	}
	return ""
}

func isLabel(s string) bool {
	if s == "" || len(s) > MaxName || s[0] == '-' || s[len(s)-1] == '-' {
		return false
	}
	for i := range len(s) {
		if c := s[i]; !isLower(c) && !isDigit(c) && c != '-' {
			return false
		}
	}
	return true
}

// suggest makes a name out of what was nearly one.
func suggest(s string) string {
	t := strings.Trim(strings.Map(func(r rune) rune {
		switch {
		case r >= 'A' && r <= 'Z':
			return r + 'a' - 'A'
		case r == '_' || r == '.' || r == ' ' || r == '/':
			return '-'
		}
		return r
	}, s), "-")
	if !isLabel(t) {
		return ""
	}
	return ", such as " + t
}

// CheckDigest tells why s is not an artifact's digest; empty when it is one.
func CheckDigest(s string) string {
	hex, ok := strings.CutPrefix(s, DigestPrefix)
	if ok && len(hex) == 64 {
		for i := range len(hex) {
			if c := hex[i]; !isDigit(c) && (c < 'a' || c > 'f') {
				ok = false
			}
		}
		if ok {
			return ""
		}
	}
	return quote(s) + ` is no digest: it is "sha256:" and 64 lower-case hexadecimal digits`
}

// DigestPrefix begins every digest.
const DigestPrefix = "sha256:"

// checkDotted accepts labels joined by dots (events, revisions).
func checkDotted(s string) string {
	if len(s) > 253 {
		return fmt.Sprintf("has %d characters; at most 253 are allowed", len(s))
	}
	for part := range strings.SplitSeq(s, ".") {
		if why := CheckName(part); why != "" {
			return why
		}
	}
	return ""
}

// quote keeps what people typed from flooding their terminal.
func quote(s string) string {
	const most = 80
	if len(s) > most {
		return fmt.Sprintf("%.*q…", most, s)
	}
	return fmt.Sprintf("%q", s)
}

func isLower(c byte) bool { return c >= 'a' && c <= 'z' }
func isUpper(c byte) bool { return c >= 'A' && c <= 'Z' }
func isDigit(c byte) bool { return c >= '0' && c <= '9' }
