package wasmrt

import (
	"bytes"
	"errors"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
)

var errBodyTooLarge = errors.New("the body is too large")

// requestEnv makes RFC 3875's variables, CONTENT_LENGTH excepted. Those of the
// owner come last and win.
func requestEnv(r *http.Request, own []string) ([]string, error) {
	host, port := r.Host, "80"
	if h, p, err := net.SplitHostPort(r.Host); err == nil {
		host, port = h, p
	}
	env := make([]string, 0, 16+len(r.Header)+len(own))
	env = append(env,
		"GATEWAY_INTERFACE=CGI/1.1",
		"SERVER_SOFTWARE=dhow",
		"SERVER_PROTOCOL="+r.Proto,
		"SERVER_NAME="+host,
		"REQUEST_METHOD="+r.Method,
		"SCRIPT_NAME=",
		"PATH_INFO="+r.URL.Path,
		"QUERY_STRING="+r.URL.RawQuery,
		"REQUEST_URI="+r.URL.RequestURI(),
		"HTTP_HOST="+r.Host,
	)
	if r.TLS != nil {
		env = append(env, "HTTPS=on")
		if port == "80" {
			port = "443"
		}
	}
	env = append(env, "SERVER_PORT="+port)
	if ip, port, err := net.SplitHostPort(r.RemoteAddr); err == nil {
		env = append(env, "REMOTE_ADDR="+ip, "REMOTE_HOST="+ip, "REMOTE_PORT="+port)
	}
	if t := r.Header.Get("Content-Type"); t != "" {
		env = append(env, "CONTENT_TYPE="+t)
	}
	for name, values := range r.Header {
		if variable, ok := headerVariable(name); ok {
			separator := ", "
			if name == "Cookie" {
				separator = "; "
			}
			env = append(env, variable+"="+strings.Join(values, separator))
		}
	}
	env = append(env, own...)
	if slices.ContainsFunc(env, func(kv string) bool { return strings.Contains(kv, "\x00") }) {
		return nil, errors.New("the request holds a NUL character, which CGI cannot pass on")
	}
	return env, nil
}

// headerVariable is the name of a header's variable. A header Proxy would
// become HTTP_PROXY, which programs take for their own proxy setting; names
// with characters that no variable has could impersonate others.
func headerVariable(name string) (string, bool) {
	switch name {
	case "Proxy", "Content-Type", "Content-Length", "Host":
		return "", false
	}
	upper := []byte("HTTP_" + strings.ToUpper(name))
	for n, c := range upper {
		switch {
		case c == '-':
			upper[n] = '_'
		case c == '_' && n >= len("HTTP_"):
			return "", false
		case c != '_' && (c < 'A' || c > 'Z') && (c < '0' || c > '9'):
			return "", false
		}
	}
	return string(upper), true
}

// directBody is read on the guest's goroutine: response.interrupt brings a
// blocked read back.
type directBody struct{ io.Reader }

func (directBody) unblocksOnStop() {}

// requestBody returns the guest's standard input and its length.
func requestBody(r *http.Request, most int64) (io.Reader, int64, error) {
	switch {
	case r.Body == nil || r.ContentLength == 0:
		return nil, 0, nil
	case r.ContentLength > 0:
		return directBody{io.LimitReader(r.Body, r.ContentLength)}, r.ContentLength, nil
	}
	b, err := io.ReadAll(io.LimitReader(r.Body, most+1))
	switch {
	case err != nil:
		return nil, 0, err
	case int64(len(b)) > most:
		return nil, 0, errBodyTooLarge
	}
	return bytes.NewReader(b), int64(len(b)), nil
}
