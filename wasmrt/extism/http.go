package extism

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"strings"
)

// request is what a plugin asks for.
type request struct {
	URL     string            `json:"url"`
	Method  string            `json:"method"`
	Headers map[string]string `json:"headers"`
}

func httpRequest(k call) {
	k.status, k.headers = 0, nil
	var asked request
	if err := json.Unmarshal(k.consume(0), &asked); err != nil {
		k.fail("an HTTP request is no JSON: %w", err)
		return
	}
	var body []byte
	if k.stack[1] != 0 {
		body = k.consume(1)
	}
	if k.host.c.HTTP == nil {
		k.fail("HTTP requests are not allowed: %.200q", asked.URL)
		return
	}
	response, err := k.do(asked, body)
	k.stack[0] = 0
	switch {
	case k.ctx.Err() != nil: // the plugin is about to be ended for that
		return
	case err != nil:
		k.fail("HTTP request: %w", err)
		return
	}
	k.give(response)
}

// do makes a request and keeps its status and header.
func (k call) do(asked request, body []byte) ([]byte, error) {
	method := strings.ToUpper(asked.Method)
	if method == "" {
		method = http.MethodGet
	}
	r, err := http.NewRequestWithContext(k.ctx, method, asked.URL, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	for name, value := range asked.Headers {
		r.Header.Set(name, value)
	}
	if host := r.Header.Get("Host"); host != "" {
		r.Host = host
	}
	response, err := k.host.c.HTTP.Do(r)
	if err != nil {
		return nil, err
	}
	defer func() { _ = response.Body.Close() }() // it was read
	most := k.host.c.MaxResponse
	b, err := io.ReadAll(io.LimitReader(response.Body, most+1))
	switch {
	case err != nil:
		return nil, err
	case int64(len(b)) > most:
		return nil, errResponse
	}
	k.status = int32(response.StatusCode) //nolint:gosec // three digits
	headers := make(map[string]string, len(response.Header))
	for name, values := range response.Header {
		headers[strings.ToLower(name)] = strings.Join(values, ", ")
	}
	k.headers, err = json.Marshal(headers)
	return b, err
}

func httpStatusCode(k call) { k.stack[0] = uint64(k.status) } //nolint:gosec // not negative

func httpHeaders(k call) { k.give(k.headers) }
