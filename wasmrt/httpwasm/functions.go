package httpwasm

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
)

const maxMessage = 64 << 10 // of a log line

func enableFeatures(k call) {
	f := Features(k.u32(0))
	if k.r == nil {
		k.stack[0] = uint64(k.host.enable(f))
		return
	}
	k.enable(f)
	k.stack[0] = uint64(k.features)
}

func getConfig(k call) { k.put(k.host.guestConfig) }

func logEnabled(k call) {
	k.stack[0] = 0
	if k.host.logs(Level(k.u32(0))) { //nolint:gosec // an i32
		k.stack[0] = 1
	}
}

func logMessage(k call) {
	level := Level(k.u32(0)) //nolint:gosec // an i32
	if !k.host.logs(level) {
		return
	}
	message := string(k.view(k.u32(1), min(k.u32(2), maxMessage)))
	k.host.c.Log(k.ctx, level, strings.ToValidUTF8(message, "\uFFFD"))
}

func getMethod(k call) { k.put(k.r.Method) }

func setMethod(k call) {
	method := k.text(0)
	if !isToken(method) {
		k.fail(fmt.Errorf("%.80q is not a method", method))
		return
	}
	k.change().Method = method
}

func getURI(k call) {
	uri := k.r.URL.EscapedPath()
	if uri == "" {
		uri = "/"
	}
	if k.r.URL.ForceQuery || k.r.URL.RawQuery != "" {
		uri += "?" + k.r.URL.RawQuery
	}
	k.put(uri)
}

func setURI(k call) {
	uri := k.text(0)
	if uri == "" {
		uri = "/"
	}
	u, err := url.ParseRequestURI(uri)
	if err != nil || uri[0] != '/' {
		k.fail(fmt.Errorf("%.80q is not a path with an optional query", uri))
		return
	}
	r := k.change()
	r.RequestURI = uri
	r.URL.Path, r.URL.RawPath = u.Path, u.RawPath
	r.URL.ForceQuery, r.URL.RawQuery = u.ForceQuery, u.RawQuery
}

func getProtocolVersion(k call) { k.put(k.r.Proto) }

func getSourceAddr(k call) { k.put(k.r.RemoteAddr) }

// Kinds of bodies.
const (
	requestBody  = 0
	responseBody = 1
)

func readBody(k call) {
	kind, at, limit := k.u32(0), k.u32(1), k.u32(2)
	if limit == 0 {
		k.fail(errors.New("read_body needs room for at least one byte"))
		return
	}
	var source io.Reader
	switch {
	case kind == requestBody && (!k.afterNext || k.features&BufferRequest != 0):
		source = k.requestBody()
	case kind == responseBody && k.afterNext && k.features&BufferResponse != 0:
		source = &k.answerReader
	default:
		k.fail(fmt.Errorf("body %d cannot be read now without the feature that keeps it", kind))
		return
	}
	defer k.interruptible(false)()
	n, err := fill(source, k.view(at, limit))
	k.stack[0] = uint64(n) //nolint:gosec // not negative
	switch {
	case errors.Is(err, io.EOF):
		k.stack[0] |= 1 << 32
	case k.ctx.Err() != nil: // the guest is about to be ended for that
	case err != nil:
		k.fail(fmt.Errorf("reading a body: %w", err))
	}
}

// fill reads until b is full or the source has ended.
func fill(source io.Reader, b []byte) (n int, err error) {
	for n < len(b) && err == nil {
		var m int
		m, err = source.Read(b[n:])
		n += m
	}
	return n, err
}

func writeBody(k call) {
	kind, at, size := k.u32(0), k.u32(1), k.u32(2)
	b := k.view(at, size)
	var err error
	switch {
	case kind == requestBody && !k.afterNext:
		err = k.writeRequest(b)
	case kind == responseBody && (!k.afterNext || k.features&BufferResponse != 0):
		defer k.interruptible(true)()
		err = k.answer.guestWrite(b)
	default:
		err = fmt.Errorf("body %d cannot be written now without the feature that keeps it", kind)
	}
	if err != nil && k.ctx.Err() == nil { // else the guest is about to be ended for that
		k.fail(fmt.Errorf("writing a body: %w", err))
	}
}

func getStatusCode(k call) {
	k.stack[0] = http.StatusOK
	if k.answer.status != 0 {
		k.stack[0] = uint64(k.answer.status) //nolint:gosec // not negative
	}
}

func setStatusCode(k call) {
	status := k.u32(0)
	switch {
	case status < 200 || status > 599:
		k.fail(fmt.Errorf("the status %d is not between 200 and 599", status))
	case k.answer.sent || k.afterNext && k.features&BufferResponse == 0:
		k.fail(errors.New("the answer's status is on its way"))
	default:
		k.answer.status = int(status)
	}
}
