package host

import (
	"fmt"
	"net/http"
	"net/url"
	"strings"
)

// maxHeaders is how many headers a request may have.
const maxHeaders = 100

// head is what a guest asks for, without the body.
type head struct {
	method string
	url    *url.URL
	header http.Header
}

// parseHead reads a request as guests write it: a line with the method and the
// URL, then a line for each header. Lines end with a line feed, with or without
// a carriage return before it; the last may end without.
func parseHead(text string) (*head, error) {
	first, rest, _ := strings.Cut(text, "\n")
	method, address, ok := strings.Cut(strings.TrimSuffix(first, "\r"), " ")
	if !ok || !isToken(method) {
		return nil, fmt.Errorf("%w: the first line is no method and URL", ErrInvalid)
	}
	if strings.ContainsFunc(address, func(r rune) bool { return r <= ' ' || r == 0x7f }) {
		return nil, fmt.Errorf("%w: the URL has spaces or control characters", ErrInvalid)
	}
	u, err := url.Parse(address)
	if err != nil {
		return nil, fmt.Errorf("%w: the URL cannot be read", ErrInvalid)
	}
	h := &head{method: method, url: u, header: http.Header{}}
	if method == http.MethodConnect {
		return nil, fmt.Errorf("%w: no tunnels", ErrInvalid)
	}
	for count := 0; rest != ""; count++ {
		var line string
		line, rest, _ = strings.Cut(rest, "\n")
		line = strings.TrimSuffix(line, "\r")
		if line == "" && rest == "" {
			break // an empty line at the end, as HTTP has it
		}
		if count == maxHeaders {
			return nil, fmt.Errorf("%w: more than %d headers", ErrTooLarge, maxHeaders)
		}
		if err := h.add(line); err != nil {
			return nil, err
		}
	}
	return h, nil
}

func (h *head) add(line string) error {
	name, value, ok := strings.Cut(line, ":")
	value = strings.Trim(value, " \t")
	switch {
	case !ok || !isToken(name):
		return fmt.Errorf("%w: a header line has no name", ErrInvalid)
	case strings.ContainsFunc(value, func(r rune) bool { return r < ' ' && r != '\t' || r == 0x7f }):
		return fmt.Errorf("%w: the header %s has control characters", ErrInvalid, name)
	case reserved(http.CanonicalHeaderKey(name)):
		return fmt.Errorf("%w: the header %s is the host's to set", ErrDenied, name)
	}
	h.header.Add(name, value)
	return nil
}

// reserved tells whether a header would change where the request goes or how
// it is framed.
func reserved(name string) bool {
	switch name {
	case "Host", "Connection", "Content-Length", "Expect", "Keep-Alive", "Proxy-Authorization", "Proxy-Connection",
		"Te", "Trailer", "Transfer-Encoding", "Upgrade":
		return true
	}
	return false
}

// isToken is RFC 9110's.
func isToken(s string) bool {
	if s == "" || len(s) > maxName {
		return false
	}
	for _, r := range s {
		letter := r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9'
		if !letter && !strings.ContainsRune("!#$%&'*+-.^_`|~", r) {
			return false
		}
	}
	return true
}
