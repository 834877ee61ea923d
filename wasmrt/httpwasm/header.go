package httpwasm

import (
	"errors"
	"fmt"
	"net/http"
	"net/textproto"
	"slices"
	"strings"
)

// Kinds of header fields.
const (
	requestHeader    = 0
	responseHeader   = 1
	requestTrailers  = 2
	responseTrailers = 3
)

// fields returns the fields of a kind and what their names begin with in the
// map: net/http keeps trailers of answers among the header.
func (k call) fields(kind uint32) (h http.Header, prefix string) {
	switch kind {
	case requestHeader:
		return k.r.Header, ""
	case responseHeader:
		return k.answer.Header(), ""
	case requestTrailers:
		if k.features&Trailers != 0 {
			h = k.r.Trailer
		}
		return h, ""
	case responseTrailers:
		if k.features&Trailers != 0 {
			h = k.answer.Header()
		}
		return h, http.TrailerPrefix
	}
	k.fail(fmt.Errorf("there are no header fields of kind %d", kind))
	return nil, ""
}

func getHeaderNames(k call) {
	kind := k.u32(0)
	h, prefix := k.fields(kind)
	names := make([]string, 0, len(h)+1)
	if kind == requestHeader && k.r.Host != "" {
		names = append(names, "host")
	}
	for name := range h {
		name, ok := strings.CutPrefix(name, prefix)
		if ok && !strings.HasPrefix(name, http.TrailerPrefix) {
			names = append(names, strings.ToLower(name))
		}
	}
	slices.Sort(names)
	k.putAll(1, names)
}

func getHeaderValues(k call) {
	kind, name := k.u32(0), textproto.CanonicalMIMEHeaderKey(k.text(1))
	h, prefix := k.fields(kind)
	values := h[prefix+name]
	if kind == requestHeader && name == "Host" {
		values = []string{k.r.Host}
	}
	k.putAll(3, values)
}

func setHeaderValue(k call) {
	if h, name, value := k.field(); h != nil {
		h[name] = []string{value}
	}
}

func addHeaderValue(k call) {
	if h, name, value := k.field(); h != nil {
		// A copy: the slice may be shared with the client's request.
		h[name] = append(slices.Clone(h[name]), value)
	}
}

func removeHeader(k call) {
	kind, name := k.u32(0), textproto.CanonicalMIMEHeaderKey(k.text(1))
	if h, prefix := k.mutable(kind); h != nil {
		delete(h, prefix+name)
	}
}

// field reads the parameters of a function that sets a field. The map is nil
// when there is nothing more to do.
func (k call) field() (h http.Header, name, value string) {
	kind, given, value := k.u32(0), k.text(1), k.text(3)
	k.headerBytes += len(given) + len(value)
	switch {
	case !isToken(given) || !isValue(value):
		k.fail(fmt.Errorf("%.80q: %.80q is not a header field", given, value))
		return nil, "", ""
	case k.headerBytes > k.host.c.MaxHeader:
		k.fail(fmt.Errorf("header fields of more than %d bytes", k.host.c.MaxHeader))
		return nil, "", ""
	}
	name = textproto.CanonicalMIMEHeaderKey(given)
	if name == "Transfer-Encoding" {
		k.fail(errors.New("Transfer-Encoding is the server's to set"))
		return nil, "", ""
	}
	h, prefix := k.mutable(kind)
	if kind == requestHeader && name == "Host" {
		k.r.Host = value
		return nil, "", ""
	}
	return h, prefix + name, value
}

// mutable is fields, for a change.
func (k call) mutable(kind uint32) (h http.Header, prefix string) {
	trailers := kind == requestTrailers || kind == responseTrailers
	request := kind == requestHeader || kind == requestTrailers
	switch {
	case trailers && k.features&Trailers == 0:
		k.fail(errors.New("trailers are set without the feature"))
		return nil, ""
	case request && k.afterNext:
		k.fail(errors.New("a request cannot be changed after the next handler"))
		return nil, ""
	case !request && k.afterNext && k.features&BufferResponse == 0:
		k.fail(errors.New("an answer cannot be changed after the next handler without the feature that keeps it"))
		return nil, ""
	case request:
		r := k.change()
		if r.Trailer == nil {
			r.Trailer = http.Header{}
		}
	case trailers:
		k.answer.Header().Del("Content-Length") // with which HTTP/1.1 has no trailers
	}
	return k.fields(kind)
}

// isToken tells a method's or a field's name.
func isToken(s string) bool {
	for _, c := range []byte(s) {
		if c <= ' ' || c >= 0x7f || strings.IndexByte(`"(),/:;<=>?@[\]{}`, c) >= 0 {
			return false
		}
	}
	return s != ""
}

// isValue tells what may be a field's value: nothing that ends the line.
func isValue(s string) bool {
	for _, c := range []byte(s) {
		if c < ' ' && c != '\t' || c == 0x7f {
			return false
		}
	}
	return true
}
