package host

import (
	"net/netip"
	"net/url"
	"slices"
	"testing"
)

func TestRules(t *testing.T) {
	for _, c := range []struct {
		rule       string
		yes, no    []string
		badRequest bool
	}{
		{
			rule: "https://api.example.com",
			yes:  []string{"https://api.example.com/a?b", "https://API.Example.com:443/", "https://api.example.com./"},
			no: []string{
				"http://api.example.com/", "https://api.example.com:8443/", "https://example.com/", "https://x.api.example.com/",
				"https://api.example.com.evil.net/", "https://evil.net/api.example.com", "https://api.example.comx/",
			},
		},
		{
			rule: "https://*.example.com",
			yes:  []string{"https://a.example.com/", "https://a.b.example.com/"},
			no:   []string{"https://example.com/", "https://evilexample.com/", "https://.example.com/", "https://example.com.evil.net/"},
		},
		{rule: "http://example.com:*", yes: []string{"http://example.com/", "http://example.com:1/"}, no: []string{"https://example.com/"}},
		{rule: "https://*", yes: []string{"https://a.b/", "https://1.2.3.4/"}, no: []string{"http://a.b/", "https://a.b:8443/"}},
		{rule: "http://10.0.0.7:8080", yes: []string{"http://10.0.0.7:8080/"}, no: []string{"http://10.0.0.70:8080/", "http://10.0.0.7/", "http://10.0.0.8:8080/"}},
		{rule: "http://[::1]:8080/", yes: []string{"http://[::1]:8080/", "http://[0:0::1]:8080/"}, no: []string{"http://[::2]:8080/"}},
		{rule: "http://[::ffff:10.0.0.7]", yes: []string{"http://10.0.0.7/", "http://[::ffff:a00:7]/"}},
	} {
		r, err := parseRule(c.rule)
		if err != nil {
			t.Fatal(err)
		}
		for _, s := range slices.Concat(c.yes, c.no) {
			u, err := url.Parse(s)
			if err != nil {
				t.Fatal(err)
			}
			target, err := targetOf(u)
			if got, want := err == nil && r.allows(target), slices.Contains(c.yes, s); got != want {
				t.Errorf("%s: %s is allowed: %v (%v)", c.rule, s, got, err)
			}
		}
	}
	for _, s := range []string{
		"", "example.com", "ftp://example.com", "HTTPS://example.com", "https://", "https://example.com/path", "https://user@example.com",
		"https://example.com:", "https://example.com:0", "https://example.com:65536", "https://example.com:08", "https://example.com:x",
		"https://*.*.com", "https://a*.com", "https://*.", "https://exämple.com", "https://a b", "https://-a.com", "https://a..b",
		"https://[::1", "https://[::1]x", "https://[fe80::1%eth0]", "https://::1", "https://*.10.0.0.1", "https://[example.com]", "https://*:",
	} {
		if r, err := parseRule(s); err == nil {
			t.Errorf("the rule %q was understood as %+v", s, r)
		}
	}
}

func TestTargetsAreUnambiguous(t *testing.T) {
	for _, s := range []string{
		"https://user@example.com/", "https://user:pass@example.com/", "file:///etc/passwd", "gopher://x/", "https:///path", "https:example.com",
		"https://example.com:0/", "https://example.com:99999/", "https://[fe80::1%25eth0]/", "https://exa_mple.com%2f.evil/", "https://ex%41mple/", "/path", "",
	} {
		u, err := url.Parse(s)
		if err != nil {
			continue // refused even earlier
		}
		if got, err := targetOf(u); err == nil && got.host != "example" {
			t.Errorf("%q is taken as %+v", s, got)
		}
	}
}

func TestPublicAddresses(t *testing.T) {
	for _, s := range []string{"1.1.1.1", "93.184.216.34", "2606:4700::1111", "::ffff:1.1.1.1"} {
		if !public(netip.MustParseAddr(s)) {
			t.Errorf("%s is not public", s)
		}
	}
	for _, s := range []string{
		"127.0.0.1", "127.1.2.3", "10.0.0.1", "172.16.0.1", "192.168.1.1", "169.254.169.254", "100.64.0.1", "0.0.0.0", "0.1.2.3", "224.0.0.1",
		"255.255.255.255", "240.0.0.1", "192.0.2.1", "198.18.0.1", "::", "::1", "fe80::1", "fc00::1", "fd12::1", "ff02::1", "::ffff:127.0.0.1",
		"::ffff:10.0.0.1", "64:ff9b::a00:1", "64:ff9b:1::1", "2002:a00:1::", "2001:db8::1", "2001::1", "fec0::1", "::10.0.0.1", "100::1",
	} {
		if public(netip.MustParseAddr(s)) {
			t.Errorf("%s is public", s)
		}
	}
}

func FuzzParseRule(f *testing.F) {
	for _, s := range []string{"https://example.com", "http://*.example.com:*", "https://*", "http://[::1]:80", "https://:80"} {
		f.Add(s, "https://example.com/")
	}
	f.Fuzz(func(t *testing.T, rule, address string) {
		r, err := parseRule(rule)
		if err != nil {
			return
		}
		if r.host == "" && !r.below {
			t.Errorf("%q is understood as any host", rule)
		}
		if u, err := url.Parse(address); err == nil {
			if target, err := targetOf(u); err == nil && r.allows(target) && r.scheme != u.Scheme {
				t.Errorf("%q allows %q", rule, address)
			}
		}
	})
}

func FuzzParseHead(f *testing.F) {
	f.Add("GET https://example.com/\nA: b\r\n\r\n")
	f.Add("POST http://x y\nHost: z")
	f.Fuzz(func(t *testing.T, text string) {
		h, err := parseHead(text)
		if err != nil {
			return
		}
		if !isToken(h.method) {
			t.Errorf("the method is %q", h.method)
		}
		for name, values := range h.header {
			for _, v := range values {
				if reserved(name) || !isToken(name) || slices.ContainsFunc([]byte(v), func(b byte) bool { return b < ' ' && b != '\t' || b == 0x7f }) {
					t.Errorf("the header %q: %q came through", name, v)
				}
			}
		}
	})
}
