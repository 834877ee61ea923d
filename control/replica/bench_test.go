package replica_test

import (
	"fmt"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
)

// BenchmarkPropose writes durable 256-byte objects with 64 proposers.
func BenchmarkPropose(b *testing.B) {
	for _, servers := range []int{1, 3} {
		b.Run(fmt.Sprintf("servers=%d", servers), func(b *testing.B) {
			c := newCluster(b, servers, nil)
			s := c.leader()
			var n atomic.Int64
			file := strings.Repeat("x", 200)
			b.SetParallelism(max(1, 64/runtime.GOMAXPROCS(0)))
			b.ReportAllocs()
			b.ResetTimer()
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					if _, err := s.store.Propose(b.Context(), put(fmt.Sprintf("a-%09d", n.Add(1)), file)); err != nil {
						b.Error(err)
						return
					}
				}
			})
			b.StopTimer()
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "writes/s")
		})
	}
}
