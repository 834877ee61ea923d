package extism_test

import (
	"bytes"
	"context"
	"testing"

	"dhow.dev/dhow/wasmrt/extism"
)

// BenchmarkEcho is a call of a plugin that stays, with 1 KiB in and out.
func BenchmarkEcho(b *testing.B) {
	for _, guest := range []string{"plugin.c", "plugin.rs", "plugin/main.go"} {
		b.Run(guest, func(b *testing.B) {
			h := extism.New(extism.Config{})
			i := plugin(b, module(b, guest), h)
			in := bytes.Repeat([]byte("abcdefgh"), 128)
			b.ReportAllocs()
			for b.Loop() {
				out, err := h.Call(context.Background(), i, "echo", in)
				if err != nil || len(out) != len(in) {
					b.Fatal(err)
				}
			}
		})
	}
}
