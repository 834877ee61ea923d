package httpwasm_test

import (
	"context"
	"encoding/binary"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"dhow.dev/dhow/wasmrt"
	"dhow.dev/dhow/wasmrt/httpwasm"
)

// FuzzFunctions calls the ABI's functions in any order with any parameters:
// the guest may fail, but not the host, and what comes out is an HTTP answer.
func FuzzFunctions(f *testing.F) {
	op := func(n byte, p ...uint32) []byte {
		b := []byte{n}
		for k := range 5 {
			var v uint32
			if k < len(p) {
				v = p[k]
			}
			b = binary.LittleEndian.AppendUint32(b, v)
		}
		return b
	}
	f.Add(append(op(0, 7), op(0x80|15, 1, 0, 20)...))
	f.Add(append(op(0x80|4, 0, 21, 3), []byte("PUTx")...))
	f.Add(append(op(0xc0|11, 1, 22, 3, 26, 5), []byte("x-a value")...))
	f.Add(append(append(op(0, 3), op(0x80|14, 0, 100, 50)...), op(0x80|14, 1, 100, 50)...))
	f.Add(op(9, 0, ^uint32(0), ^uint32(0)))
	f.Add(op(17, 204))
	m := module(f, "script.c")
	f.Fuzz(func(t *testing.T, script []byte) {
		h := httpwasm.New(httpwasm.Config{Guest: script, MaxBody: 100, MaxHeader: 100, Log: func(context.Context, httpwasm.Level, string) {}})
		var failed error
		guests := fresh(func(ctx context.Context, use func(context.Context, *wasmrt.Instance) error) error {
			i, err := m.New(h.With(ctx), wasmrt.Config{})
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = i.Close() }()
			failed = use(ctx, i)
			return failed
		})
		w := httptest.NewRecorder()
		r := httptest.NewRequest(http.MethodPost, "/a?b", strings.NewReader("the body of the request"))
		func() {
			defer func() {
				if p := recover(); p != nil && p != any(http.ErrAbortHandler) {
					t.Fatalf("panic: %v", p)
				}
			}()
			h.Handler(guests, next(&seen{})).ServeHTTP(w, r)
		}()
		if failed != nil && (strings.Contains(failed.Error(), "the host failed") || strings.Contains(failed.Error(), "runtime error")) {
			t.Fatal(failed)
		}
		if w.Code < 200 || w.Code > 599 {
			t.Errorf("status %d", w.Code)
		}
		for name, values := range w.Header() {
			if strings.ContainsAny(name+strings.Join(values, ""), "\r\n\x00") {
				t.Errorf("header %q: %q", name, values)
			}
		}
	})
}

// fresh lends guests that it makes for each use.
type fresh func(context.Context, func(context.Context, *wasmrt.Instance) error) error

func (f fresh) Do(ctx context.Context, use func(context.Context, *wasmrt.Instance) error) error {
	return f(ctx, use)
}
