package wasmrt

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

// FuzzResponse: whatever a guest writes, in whatever pieces, is an HTTP
// answer or an error, never a panic of net/http's or a header of its own making.
func FuzzResponse(f *testing.F) {
	f.Add([]byte("Status: 404 Not Found\r\nContent-Type: a/b\r\n\r\nbody"), 3)
	f.Add([]byte("Location: /x\n\n"), 1)
	f.Add([]byte("Content-Type: a/b\nX: \x00\n\n"), 100)
	f.Add([]byte("\n"), 0)
	f.Fuzz(func(t *testing.T, output []byte, piece int) {
		w := httptest.NewRecorder()
		o := newResponse(w, 1<<10, func() {})
		piece = max(piece, 1)
		for rest := output; len(rest) > 0; {
			n := min(piece, len(rest))
			if _, err := o.Write(rest[:n]); err != nil {
				break
			}
			rest = rest[n:]
		}
		func() {
			defer func() {
				if r := recover(); r != nil && r != any(http.ErrAbortHandler) {
					panic(r)
				}
			}()
			o.finish(Exit{})
		}()
		if w.Code < 200 || w.Code > 599 {
			t.Errorf("status %d", w.Code)
		}
		for name, values := range w.Header() {
			if !isToken(name) || strings.ContainsAny(strings.Join(values, ""), "\r\n\x00") {
				t.Errorf("header %q: %q", name, values)
			}
		}
	})
}

// FuzzRequestEnv: no header of a client's becomes a variable that is not
// HTTP_something, or HTTP_PROXY.
func FuzzRequestEnv(f *testing.F) {
	f.Add("X-Test", "a", "/p", "q=1")
	f.Add("Proxy", "evil", "/", "")
	f.Add("Proxy_", "x=y\nz", "/\x00", "%zz")
	f.Fuzz(func(t *testing.T, name, value, path, query string) {
		r := httptest.NewRequest(http.MethodGet, "/", nil)
		r.URL.Path, r.URL.RawQuery = path, query
		r.Header[name] = []string{value}
		env, err := requestEnv(r, []string{"OWN=1"})
		if err != nil {
			return
		}
		if env[len(env)-1] != "OWN=1" {
			t.Errorf("the owner's variables are not last: %q", env)
		}
		for _, kv := range env {
			variable, _, _ := strings.Cut(kv, "=")
			if variable == "" || variable == "HTTP_PROXY" || strings.Contains(kv, "\x00") {
				t.Errorf("variable %q", kv)
			}
		}
	})
}

func FuzzInspect(f *testing.F) {
	f.Add([]byte("\x00asm\x01\x00\x00\x00\x02\x07\x01\x01a\x01b\x00\x00"))
	f.Add([]byte("\x00asm\x01\x00\x00\x00\x05\x03\x01\x00\x01"))
	f.Fuzz(func(t *testing.T, b []byte) {
		o, err := inspect(b)
		if (o == nil) == (err == nil) {
			t.Errorf("got %v and %v", o, err)
		}
		if o != nil {
			_ = o.check(func(string, string) bool { return false })
		}
	})
}
