package host

import (
	"fmt"
	"net/netip"
	"net/url"
	"strings"
)

// rule is one entry of an allow-list.
type rule struct {
	scheme string
	host   string // in lower case; without the "*." of a wildcard, "" for any
	below  bool   // names below host, or any if there is none
	port   string // "" is any
}

// parseRule reads "https://*.example.com:8443". What it does not know it
// refuses: a rule that was meant to be narrower must not become a wide one.
func parseRule(s string) (rule, error) {
	scheme, rest, ok := strings.Cut(s, "://")
	if !ok || (scheme != "http" && scheme != "https") {
		return rule{}, fmt.Errorf("%q does not begin with http:// or https://", s)
	}
	host, port, err := splitHostPort(strings.TrimSuffix(rest, "/"))
	if err != nil {
		return rule{}, fmt.Errorf("%q: %w", s, err)
	}
	r := rule{scheme: scheme, host: strings.ToLower(host), port: port}
	switch {
	case port == "":
		r.port = defaultPort(scheme)
	case port == "*":
		r.port = ""
	case !isPort(port):
		return rule{}, fmt.Errorf("%q has no valid port", s)
	}
	if r.host == "*" {
		r.host, r.below = "", true
		return r, nil
	}
	if name, ok := strings.CutPrefix(r.host, "*."); ok {
		r.host, r.below = name, true
	}
	if addr, err := netip.ParseAddr(r.host); err == nil {
		if r.below || addr.Zone() != "" {
			return rule{}, fmt.Errorf("%q is no host", s)
		}
		r.host = addr.Unmap().String()
	} else if !isName(r.host) {
		return rule{}, fmt.Errorf("%q is no host name; names in other scripts are written with xn--, and paths cannot be listed", s)
	}
	return r, nil
}

// splitHostPort takes "host", "host:port", "[::1]" and "[::1]:port" apart.
func splitHostPort(s string) (host, port string, err error) {
	if rest, ok := strings.CutPrefix(s, "["); ok {
		host, port, ok = strings.Cut(rest, "]")
		if !ok || port != "" && port[0] != ':' || !strings.Contains(host, ":") {
			return "", "", fmt.Errorf("%q is no address", s)
		}
		if port == ":" {
			return "", "", fmt.Errorf("%q has an empty port", s)
		}
		return host, strings.TrimPrefix(port, ":"), nil
	}
	host, port, ok := strings.Cut(s, ":")
	if ok && port == "" {
		return "", "", fmt.Errorf("%q has an empty port", s)
	}
	return host, port, nil
}

func defaultPort(scheme string) string {
	if scheme == "http" {
		return "80"
	}
	return "443"
}

func isPort(s string) bool {
	n := 0
	for _, r := range s {
		if r < '0' || r > '9' {
			return false
		}
		if n = n*10 + int(r-'0'); n > 65535 {
			return false
		}
	}
	return n > 0 && s[0] != '0'
}

// isName tells whether it is a host name of ASCII letters, digits, hyphens and
// underscores, in lower case.
func isName(s string) bool {
	if len(s) > 253 {
		return false
	}
	for label := range strings.SplitSeq(s, ".") {
		if label == "" || len(label) > 63 || label[0] == '-' {
			return false
		}
		for _, r := range label {
			if (r < 'a' || r > 'z') && (r < '0' || r > '9') && r != '-' && r != '_' {
				return false
			}
		}
	}
	return true
}

// target is where a request goes.
type target struct {
	scheme, host, port string
}

// targetOf checks a URL and takes from it what rules are about.
func targetOf(u *url.URL) (target, error) {
	t := target{scheme: u.Scheme, host: strings.ToLower(strings.TrimSuffix(u.Hostname(), ".")), port: u.Port()}
	switch {
	case t.scheme != "http" && t.scheme != "https":
		return t, fmt.Errorf("%w: the URL's scheme is neither http nor https", ErrInvalid)
	case u.User != nil:
		return t, fmt.Errorf("%w: the URL has a user name; use a header", ErrInvalid)
	case u.Opaque != "" || t.host == "":
		return t, fmt.Errorf("%w: the URL has no host", ErrInvalid)
	}
	if t.port == "" {
		t.port = defaultPort(t.scheme)
	} else if !isPort(t.port) {
		return t, fmt.Errorf("%w: the URL has no valid port", ErrInvalid)
	}
	if addr, err := netip.ParseAddr(t.host); err == nil {
		if addr.Zone() != "" {
			return t, fmt.Errorf("%w: the URL's address has a zone", ErrInvalid)
		}
		t.host = addr.Unmap().String()
	} else if !isName(t.host) {
		return t, fmt.Errorf("%w: the URL's host is no name", ErrInvalid)
	}
	return t, nil
}

// allows tells whether a rule lets a request through; whether it may connect
// is also for the address to say.
func (r rule) allows(t target) bool {
	return r.scheme == t.scheme && r.reaches(t.host, t.port)
}

func (r rule) reaches(host, port string) bool {
	if r.port != "" && r.port != port {
		return false
	}
	if !r.below {
		return r.host == host
	}
	return r.host == "" || strings.HasSuffix(host, "."+r.host)
}

// public tells whether an address belongs to the internet that everybody
// shares.
func public(a netip.Addr) bool {
	a = a.Unmap()
	if !a.IsGlobalUnicast() || a.IsPrivate() {
		return false
	}
	if a.Is6() && !unicast6().Contains(a) {
		return false
	}
	for _, p := range special() {
		if p.Contains(a) {
			return false
		}
	}
	return true
}

// unicast6 is what is handed out of IPv6.
func unicast6() netip.Prefix { return netip.MustParsePrefix("2000::/3") }

// special are networks with a use of their own (RFC 6890 and its registry),
// and those that embed IPv4 addresses.
func special() []netip.Prefix {
	var out []netip.Prefix
	for _, s := range []string{
		"0.0.0.0/8", "100.64.0.0/10", "192.0.0.0/24", "192.0.2.0/24", "192.88.99.0/24", "198.18.0.0/15",
		"198.51.100.0/24", "203.0.113.0/24", "240.0.0.0/4",
		"2001::/23", "2001:db8::/32", "2002::/16", "3fff::/20",
	} {
		out = append(out, netip.MustParsePrefix(s))
	}
	return out
}
