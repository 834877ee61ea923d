package host

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"syscall"
	"time"
)

// HTTPOptions say which requests guests may make. Zero values mean the
// defaults.
type HTTPOptions struct {
	// Allow is the list of what may be reached: "https://api.example.com",
	// "http://10.0.0.7:8080", "https://*.example.com" (not example.com itself),
	// "https://example.com:*" (any port), "https://*" (any public host). Without a port it
	// is the scheme's own. What is not on the list is refused.
	Allow []string
	// PrivateNetworks are networks, such as "10.0.0.0/8", that names may resolve
	// to though they are not public. Without them, a name on the list that resolves to
	// a loopback, private, link-local or otherwise special address is refused when it is
	// dialled. An address that is itself on the list is always allowed.
	PrivateNetworks []string
	// Timeout bounds a request from its start to the end of the answer, with
	// redirects. Default 10 s.
	Timeout time.Duration
	// MaxRequest and MaxResponse bound the bodies in bytes. Default 1 MiB and 4 MiB.
	MaxRequest, MaxResponse int64
	// MaxRedirects is how many are followed, each checked as if the guest had
	// asked for it. Default 5. If it is negative, the guest gets the redirect.
	MaxRedirects int
	// Resolver looks names up. Default net.DefaultResolver.
	Resolver *net.Resolver
}

// HTTP makes requests for guests. Guests that share one share its connections,
// so they should be allowed the same.
type HTTP struct {
	o       HTTPOptions
	rules   []rule
	private []netip.Prefix
	client  *http.Client
}

// NewHTTP makes an HTTP. The error says which entry cannot be understood.
func NewHTTP(o HTTPOptions) (*HTTP, error) {
	o.Timeout = cmp.Or(o.Timeout, 10*time.Second)
	o.MaxRequest = cmp.Or(o.MaxRequest, 1<<20)
	o.MaxResponse = cmp.Or(o.MaxResponse, 4<<20)
	o.MaxRedirects = cmp.Or(o.MaxRedirects, 5)
	h := &HTTP{o: o}
	for _, s := range o.Allow {
		r, err := parseRule(s)
		if err != nil {
			return nil, fmt.Errorf("the allow-list: %w", err)
		}
		h.rules = append(h.rules, r)
	}
	for _, s := range o.PrivateNetworks {
		p, err := netip.ParsePrefix(s)
		if err != nil {
			return nil, fmt.Errorf("the private networks: %w", err)
		}
		h.private = append(h.private, p)
	}
	h.client = &http.Client{CheckRedirect: h.redirect, Transport: &http.Transport{
		Proxy:                  nil, // it would be asked for what the list refuses
		DialContext:            h.dial,
		DisableCompression:     true, // sizes are as they come over the wire
		ForceAttemptHTTP2:      true,
		IdleConnTimeout:        30 * time.Second,
		MaxConnsPerHost:        64,
		MaxIdleConns:           64,
		MaxIdleConnsPerHost:    16,
		MaxResponseHeaderBytes: maxHead,
		TLSHandshakeTimeout:    o.Timeout,
	}}
	return h, nil
}

// Close closes idle connections.
func (h *HTTP) Close() { h.client.CloseIdleConnections() }

// check refuses what no rule allows.
func (h *HTTP) check(r *http.Request) error {
	t, err := targetOf(r.URL)
	if err != nil {
		return err
	}
	if !slices.ContainsFunc(h.rules, func(r rule) bool { return r.allows(t) }) {
		return fmt.Errorf("%w: %s://%s is not on the list", ErrDenied, t.scheme, net.JoinHostPort(t.host, t.port))
	}
	return nil
}

func (h *HTTP) redirect(r *http.Request, via []*http.Request) error {
	switch {
	case h.o.MaxRedirects < 0:
		return http.ErrUseLastResponse
	case len(via) > h.o.MaxRedirects:
		return fmt.Errorf("%w: more than %d redirects", ErrDenied, h.o.MaxRedirects)
	}
	if err := h.check(r); err != nil {
		return fmt.Errorf("redirected: %w", err)
	}
	return nil
}

// dial connects to an address only if it may be reached. It looks at the
// address that the kernel is about to connect to: a name may have resolved to another
// one a moment ago.
func (h *HTTP) dial(ctx context.Context, network, address string) (net.Conn, error) {
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return nil, err
	}
	d := net.Dialer{Resolver: h.o.Resolver, Control: h.control}
	if addr, err := netip.ParseAddr(host); err == nil && h.lists(addr.Unmap().String(), port) {
		d.Control = nil
	}
	return d.DialContext(ctx, network, address)
}

// lists tells whether an address is itself on the list.
func (h *HTTP) lists(addr, port string) bool {
	return slices.ContainsFunc(h.rules, func(r rule) bool { return !r.below && r.reaches(addr, port) })
}

func (h *HTTP) control(_, address string, _ syscall.RawConn) error {
	ap, err := netip.ParseAddrPort(address)
	if err != nil {
		return fmt.Errorf("%w: %q is no address", ErrDenied, address)
	}
	addr := ap.Addr().Unmap()
	if public(addr) || slices.ContainsFunc(h.private, func(p netip.Prefix) bool { return p.Contains(addr) }) {
		return nil
	}
	return fmt.Errorf("%w: the name resolves to %s, which is not public", ErrDenied, addr)
}

// do makes one request.
func (h *HTTP) do(ctx context.Context, head *head, body []byte) (*result, error) {
	if int64(len(body)) > h.o.MaxRequest {
		return nil, fmt.Errorf("%w: a body of %d bytes, and at most %d are sent", ErrTooLarge, len(body), h.o.MaxRequest)
	}
	ctx, cancel := context.WithTimeout(ctx, h.o.Timeout)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, head.method, head.url.String(), bytes.NewReader(body))
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrInvalid, err)
	}
	maps.Copy(r.Header, head.header)
	if err := h.check(r); err != nil {
		return nil, err
	}
	answer, err := h.client.Do(r)
	if err != nil {
		return nil, timedOut(err)
	}
	defer func() { _ = answer.Body.Close() }() // only read
	content, err := io.ReadAll(io.LimitReader(answer.Body, h.o.MaxResponse+1))
	switch {
	case err != nil:
		return nil, timedOut(err)
	case int64(len(content)) > h.o.MaxResponse:
		return nil, fmt.Errorf("%w: the answer has more than %d bytes", ErrTooLarge, h.o.MaxResponse)
	}
	return &result{status: answer.StatusCode, headers: headersOf(answer.Header), body: content}, nil
}

// timedOut tells time-outs of all layers as one.
func timedOut(err error) error {
	if e, ok := errors.AsType[net.Error](err); ok && e.Timeout() {
		return fmt.Errorf("%w: %w", ErrTimedOut, err)
	}
	return err
}

// headersOf are the headers sorted by name, which is in lower case.
func headersOf(h http.Header) [][2]string {
	var out [][2]string
	for _, name := range slices.Sorted(maps.Keys(h)) {
		for _, value := range h[name] {
			out = append(out, [2]string{strings.ToLower(name), value})
		}
	}
	return out
}

func httpSend(c call) (int, error) {
	if c.policy.HTTP == nil {
		return 0, fmt.Errorf("%w: this guest makes no requests", ErrDenied)
	}
	text, err := c.text(0, maxHead)
	if err != nil {
		return 0, err
	}
	head, err := parseHead(text)
	if err != nil {
		return 0, err
	}
	body, err := c.bytes(2, maxBody)
	if err != nil {
		return 0, err
	}
	slot, err := c.guest.free()
	if err != nil {
		return 0, err
	}
	r, err := c.policy.HTTP.do(c.ctx, head, body)
	if err != nil {
		return 0, err
	}
	return c.guest.keep(slot, r), nil
}

func httpStatus(c call) (int, error) {
	r, err := c.result()
	if err != nil {
		return 0, err
	}
	return r.status, nil
}

// httpHeader finds a header by its name; several values are joined by commas.
func httpHeader(c call) (int, error) {
	r, err := c.result()
	if err != nil {
		return 0, err
	}
	name, err := c.text(1, maxName)
	if err != nil {
		return 0, err
	}
	var values []string
	for _, h := range r.headers {
		if strings.EqualFold(h[0], name) {
			values = append(values, h[1])
		}
	}
	if values == nil {
		return 0, fmt.Errorf("%q: %w", name, ErrNotFound)
	}
	return c.put(3, []byte(strings.Join(values, ", ")))
}

// httpHeaders writes all headers, a line for each.
func httpHeaders(c call) (int, error) {
	r, err := c.result()
	if err != nil {
		return 0, err
	}
	var out strings.Builder
	for _, h := range r.headers {
		out.WriteString(h[0] + ": " + h[1] + "\n")
	}
	return c.put(1, []byte(out.String()))
}
