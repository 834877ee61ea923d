package extism_test

import (
	"bytes"
	"context"
	"testing"

	"dhow.dev/dhow/wasmrt"
	"dhow.dev/dhow/wasmrt/extism"
)

// BenchmarkEcho is a call with 1 KiB in and out, of a plugin from a pool that
// is filled from a snapshot.
func BenchmarkEcho(b *testing.B) {
	for _, guest := range []string{"plugin.c", "plugin.rs", "plugin/main.go"} {
		b.Run(guest, func(b *testing.B) {
			h := extism.New(extism.Config{})
			s, err := module(b, guest).Snapshot(h.With(b.Context()), wasmrt.Config{})
			if err != nil {
				b.Fatal(err)
			}
			defer s.Close()
			pool := wasmrt.NewPool(wasmrt.PoolConfig{New: func(ctx context.Context) (*wasmrt.Instance, error) {
				return s.New(h.With(ctx), wasmrt.Config{})
			}})
			defer pool.Close()
			in := bytes.Repeat([]byte("abcdefgh"), 128)
			b.ReportAllocs()
			for b.Loop() {
				err := pool.Do(context.Background(), func(ctx context.Context, i *wasmrt.Instance) error {
					out, err := h.Call(ctx, i, "echo", in)
					if len(out) != len(in) {
						b.Errorf("%d bytes", len(out))
					}
					return err
				})
				if err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
