package extism_test

import (
	"context"
	"encoding/binary"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"

	"dhow.dev/dhow/wasmrt"
	"dhow.dev/dhow/wasmrt/extism"
)

// FuzzFunctions calls Extism's functions in any order with any parameters: the
// plugin may fail, but not the host, and an output is never larger than the memory.
func FuzzFunctions(f *testing.F) {
	op := func(n byte, a, b uint64) []byte {
		return binary.LittleEndian.AppendUint64(binary.LittleEndian.AppendUint64([]byte{n}, a), b)
	}
	script := func(ops ...[]byte) []byte {
		var all []byte
		for _, o := range ops {
			all = append(all, o...)
		}
		return all
	}
	f.Add(script(op(0, 100, 0), op(0x80|19, 0, 7), op(0x80|7, 0, 100), op(0x80|9, 0, 0)))
	f.Add(script(op(5, 1<<63, 1<<63), op(6, ^uint64(0), 1)))
	f.Add(script(op(0, 8, 0), op(0x80|13, 0, 16), op(0, 8, 0), op(0x80|12, 0, 0), op(10, 0, 0)))
	f.Add(script(op(0, 2, 0), op(0x80|19, 0, 0x7d7b), op(0x80|14, 0, 0), op(15, 0, 0)))
	f.Add(script(op(16, 1, 0)))
	const most = 1 << 20
	h := extism.New(extism.Config{
		Config: map[string]string{"\x00\x00": "value"}, MaxMemory: most, HTTP: answers{},
		Log: func(context.Context, extism.Level, string) {},
	})
	m := module(f, "script.c")
	var i *wasmrt.Instance
	f.Fuzz(func(t *testing.T, input []byte) {
		if i == nil {
			var err error
			if i, err = m.New(h.With(context.Background()), wasmrt.Config{}); err != nil {
				t.Fatal(err)
			}
		}
		out, err := h.Call(context.Background(), i, "run", input)
		if len(out) > most+64<<10 {
			t.Errorf("an output of %d bytes", len(out))
		}
		failure, ok := errors.AsType[*extism.Failure](err)
		switch {
		case err == nil:
		case !ok && len(input) < most/2:
			t.Fatal(err)
		case ok && failure.Ended != nil:
			if strings.Contains(err.Error(), "the host failed") || strings.Contains(err.Error(), "runtime error") {
				t.Fatal(err)
			}
			<-i.Done()
			i = nil
		}
	})
}

// answers is a network where all ask and get an answer.
type answers struct{}

func (answers) Do(*http.Request) (*http.Response, error) {
	return &http.Response{StatusCode: 200, Header: http.Header{"X": {"y"}}, Body: io.NopCloser(strings.NewReader("body"))}, nil
}
