package sim

import (
	"flag"
	"fmt"
	"hash/fnv"
	"math/rand/v2"
	"runtime"
	"runtime/debug"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"dhow.dev/dhow/control/plan/invariant"
)

var (
	oneSeed = flag.Uint64("seed", 0, "run this seed alone, and print its trace")
	seeds   = flag.Int("seeds", defaultSeeds, "how many seeds to run")
	first   = flag.Uint64("first", 1, "the first of them")
)

var epoch = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

func newWorld(seed uint64) *world {
	w := &world{
		seed: seed, rng: rand.New(rand.NewPCG(seed, 0x64686f77)), now: epoch, net: map[[2]string]bool{},
		committed: map[uint64]string{}, hashes: map[uint64]string{}, checker: invariant.New(),
		born: map[string][]time.Time{},
	}
	w.user = &user{w: w}
	for k := range []int{1, 3, 3, 3, 5}[w.rng.IntN(5)] {
		w.addServer(fmt.Sprintf("s%d", k))
	}
	for k := range 2 + w.rng.IntN(5) {
		w.addNode(k)
	}
	return w
}

// simulate makes one run. It returns what went wrong, if anything.
func simulate(seed uint64) (w *world, wrong string) {
	w = newWorld(seed)
	defer func() {
		if r := recover(); r != nil {
			if f, ok := r.(failure); ok {
				wrong = f.text
			} else {
				wrong = fmt.Sprintf("panic: %v\n%s", r, debug.Stack())
			}
		}
		for _, s := range w.servers {
			if s.up {
				_ = s.st.Close()
			}
		}
	}()
	for _, s := range w.servers {
		s.start()
	}
	for _, n := range w.nodes {
		n.start()
		n.join()
	}
	w.after(time.Second, w.user.act)
	w.after(2*time.Second, w.faults)
	w.run(epoch.Add(w.between(10*time.Second, 40*time.Second)))
	w.converge()
	return w, ""
}

func tail(lines []string, n int) []string { return lines[max(0, len(lines)-n):] }

func TestSim(t *testing.T) {
	if *oneSeed != 0 {
		w, wrong := simulate(*oneSeed)
		t.Logf("seed %d:\n%s", *oneSeed, strings.Join(w.trace, "\n"))
		t.Logf("%d steps, %+v", w.steps, w.stats)
		if wrong != "" {
			t.Fatal(wrong)
		}
		return
	}
	var (
		mu     sync.Mutex
		sum    stats
		failed int
		next   = *first
		g      errgroup.Group
	)
	for range runtime.GOMAXPROCS(0) {
		g.Go(func() error {
			for {
				mu.Lock()
				seed := next
				next++
				done := failed >= 3 || seed >= *first+uint64(*seeds)
				mu.Unlock()
				if done {
					return nil
				}
				w, wrong := simulate(seed)
				mu.Lock()
				sum.add(w.stats)
				if wrong != "" {
					failed++
					t.Errorf("seed %d: %s\n%s\nmake sim SEED=%d runs it again", seed, wrong, strings.Join(tail(w.trace, 60), "\n"), seed)
				}
				mu.Unlock()
			}
		})
	}
	if err := g.Wait(); err != nil {
		t.Fatal(err)
	}
	t.Logf("%d seeds: %+v", *seeds, sum)
	if sum.lost == 0 || sum.replaced == 0 || sum.crashes == 0 || sum.partitions == 0 || sum.acked == 0 {
		t.Errorf("these runs were too quiet to prove anything: %+v", sum)
	}
}

func (s *stats) add(o stats) {
	s.leaders += o.leaders
	s.crashes += o.crashes
	s.kills += o.kills
	s.partitions += o.partitions
	s.plans += o.plans
	s.births += o.births
	s.replaced += o.replaced
	s.reports += o.reports
	s.acked += o.acked
	s.lost += o.lost
	s.late += o.late
}

// TestSimReplays runs seeds twice.
func TestSimReplays(t *testing.T) {
	for seed := range uint64(5) {
		a, _ := simulate(seed + 1)
		b, _ := simulate(seed + 1)
		if a.steps != b.steps || sumOf(a) != sumOf(b) {
			for k := range min(len(a.trace), len(b.trace)) {
				if a.trace[k] != b.trace[k] {
					t.Fatalf("seed %d: two runs differ:\n%s\n%s", seed+1, a.trace[k], b.trace[k])
				}
			}
			t.Fatalf("seed %d: two runs differ: %d and %d steps", seed+1, a.steps, b.steps)
		}
	}
}

func sumOf(w *world) uint64 {
	h := fnv.New64a()
	for _, l := range w.trace {
		_, _ = h.Write([]byte(l))
	}
	return h.Sum64()
}
