package api_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"dhow.dev/dhow/control/api"
	"dhow.dev/dhow/control/peer"
	"dhow.dev/dhow/control/replica"
	"dhow.dev/dhow/control/store"
	"dhow.dev/dhow/internal/client"
	dhowv1 "dhow.dev/dhow/proto/dhow/v1"
	"dhow.dev/dhow/proto/spec"
)

// replicated is a store whose proposals go through one server's Raft to the
// real disk.
func replicated(b *testing.B) (*store.Store, *peer.Peers) {
	b.Helper()
	dir := b.TempDir()
	s, err := store.Open(filepath.Join(dir, "state"), store.Options{})
	if err != nil {
		b.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	r, err := replica.Open(replica.Config{
		Name: "s1", Address: l.Addr().String(), Bootstrap: true, Dir: filepath.Join(dir, "snapshots"), Log: s.Log(), FSM: s, Listener: l,
		Dial:   func(context.Context, string) (net.Conn, error) { return nil, errors.New("there are no others") },
		Logger: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		b.Fatal(err)
	}
	p := peer.New(peer.Config{Server: "s1", Replica: r, Logger: slog.New(slog.DiscardHandler), Addresses: func() map[string]string { return map[string]string{} }})
	s.SetProposer(p)
	b.Cleanup(func() { _ = r.Shutdown(context.Background()) })
	return s, p
}

// BenchmarkApply writes 256-byte objects through the API: real TLS, HTTP, Raft
// log and disk, 64 clients sharing this machine's cores with the server.
func BenchmarkApply(b *testing.B) {
	for _, batch := range []int{1, 100} {
		for _, h1 := range []bool{false, true} {
			proto := "h2"
			if h1 {
				proto = "h1"
			}
			b.Run(fmt.Sprintf("objects=%d/%s", batch, proto), func(b *testing.B) { benchApply(b, batch, h1) })
		}
	}
}

func benchApply(b *testing.B, batch int, h1 bool) {
	const clients = 64
	v := newBenchWorld(b)
	all := make([]*client.Client, clients)
	for i := range all {
		if i%8 == 0 || h1 {
			all[i] = v.as(v.admin, func(o *client.Options) { o.HTTP1 = h1 })
		} else {
			all[i] = all[i-1]
		}
	}
	var n atomic.Int64
	pad := strings.Repeat("x", 200)
	b.ResetTimer()
	start := time.Now()
	b.SetParallelism(clients / 2)
	var id atomic.Int64
	b.RunParallel(func(pb *testing.PB) {
		c := all[id.Add(1)%clients]
		for pb.Next() {
			req := &dhowv1.ApplyRequest{Objects: make([]*dhowv1.Object, batch)}
			for i := range req.Objects {
				req.Objects[i] = spec.Wrap(&dhowv1.Namespace{Meta: &dhowv1.Meta{
					Name: fmt.Sprintf("ns-%d", n.Add(1)), Annotations: map[string]string{"pad": pad},
				}})
			}
			if _, err := c.Objects.Apply(b.Context(), req); err != nil {
				b.Error(err)
				return
			}
		}
	})
	b.ReportMetric(float64(b.N*batch)/time.Since(start).Seconds(), "objects/s")
}

func newBenchWorld(b *testing.B) *world {
	b.Helper()
	s, p := replicated(b)
	return newWorldOn(b, s, func(c *api.Config) { c.Reads = p })
}
