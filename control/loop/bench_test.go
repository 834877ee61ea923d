package loop

import (
	"context"
	"fmt"
	"testing"
	"time"

	"dhow.dev/dhow/control/store"
	dhowv1 "dhow.dev/dhow/proto/dhow/v1"
)

// BenchmarkLatency is from the answer to a workload's commit until the loop
// proposes its instances.
func BenchmarkLatency(b *testing.B) {
	for _, n := range []uint32{1, 1000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			c := newCluster(b)
			proposed := make(chan time.Time, 16)
			c.refuse = func(p *dhowv1.Proposal) error {
				for _, ch := range p.GetChanges() {
					if ch.GetPut().GetInstance() != nil && ch.GetExpect().GetAbsent() {
						proposed <- time.Now()
						return nil
					}
				}
				return nil
			}
			c.put(aNode("n1"))
			ctx, cancel := context.WithCancel(b.Context())
			done := make(chan error, 1)
			go func() { done <- New(Config{Store: c.st}).Run(ctx, term) }()
			sum := time.Duration(0)
			k := 0
			for b.Loop() {
				name := fmt.Sprintf("w%d", k)
				k++
				c.put(aWorkload(name, n))
				from := time.Now()
				sum += max(0, (<-proposed).Sub(from))
				b.StopTimer()
				c.until("planned", func(v *store.View) bool { return placed(v, name) == int(n) })
				b.StartTimer()
			}
			b.ReportMetric(float64(sum.Microseconds())/float64(k), "us/latency")
			cancel()
			<-done
		})
	}
}
