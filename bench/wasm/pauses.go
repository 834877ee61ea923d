package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"runtime"
	"runtime/debug"
	"slices"
	"time"
)

const spinners = 64

// pauses is what a process feels of guests that compute for ever.
type pauses struct {
	World     time.Duration   // the largest stop of the world
	Collect   []time.Duration // runtime.GC() from start to return
	Overshoot []time.Duration // of a sleep of 1 ms
	Stop      time.Duration   // of all guests
}

// benchPauses has 64 guests spin on two processors, on wasmrt and on wazero
// with CloseOnContextDone: with plain wazero the first collection would never
// end.
func benchPauses(ctx context.Context, o options, t *table, _ io.Writer) error {
	module, err := command(ctx, "spin.c")
	if err != nil {
		return err
	}
	found := map[string]*pauses{"wasmrt": {}, "done": {}}
	stops := map[string][]float64{}
	for range o.rounds {
		for _, kind := range []string{"wasmrt", "done"} {
			var p pauses
			if err := once(ctx, &p, "pauses", kind, module); err != nil {
				return err
			}
			all := found[kind]
			all.World = max(all.World, p.World)
			all.Collect = append(all.Collect, p.Collect...)
			all.Overshoot = append(all.Overshoot, p.Overshoot...)
			stops[kind] = append(stops[kind], ms(p.Stop))
		}
	}
	we, peer := found["wasmrt"], found["done"]
	const done = "wazero, CloseOnContextDone"
	t.add(
		bounded("64 guests spin on 2 cores: largest pause of the world", ms(we.World), "ms", 5, 1).against(done, ms(peer.World)),
		bounded("64 guests spin: runtime.GC() from start to return, median", median(in(ms, we.Collect)), "ms", 100, 40).against(done, median(in(ms, peer.Collect))),
		bounded("64 guests spin: a sleep of 1 ms is late by, median", median(in(ms, we.Overshoot)), "ms", 0.2, 0.05).against(done, median(in(ms, peer.Overshoot))),
		bounded("64 guests spin: stop all", median(stops["wasmrt"]), "ms", 10, 3).against(done, median(stops["done"])),
	)
	return nil
}

// pausesRole takes the kind and the module.
func pausesRole(ctx context.Context, args []string) (answer, error) {
	runtime.GOMAXPROCS(2)
	wasm, err := os.ReadFile(args[1])
	if err != nil {
		return nil, err
	}
	start := map[string]func(context.Context, []byte) (crowd, error){"wasmrt": crowdOnEngine, "done": crowdOnWazero}[args[0]]
	if start == nil {
		return nil, fmt.Errorf("unknown kind %q", args[0])
	}
	return func(ctx context.Context) (any, error) {
		c, err := start(ctx, wasm)
		if err != nil {
			return nil, err
		}
		time.Sleep(300 * time.Millisecond) // until all spin
		p := feel(2 * time.Second)
		begin := time.Now()
		c.stop()
		p.Stop = time.Since(begin)
		return p, nil
	}, nil
}

// feel measures for a time: one goroutine sleeps, another collects.
func feel(window time.Duration) pauses {
	var p pauses
	const nap = time.Millisecond
	end := time.Now().Add(window)
	slept := make(chan []time.Duration)
	go func() {
		var late []time.Duration
		for time.Now().Before(end) {
			begin := time.Now()
			time.Sleep(nap)
			late = append(late, time.Since(begin)-nap)
		}
		slept <- late
	}()
	var before, after debug.GCStats
	debug.ReadGCStats(&before)
	for time.Now().Before(end) {
		begin := time.Now()
		runtime.GC()
		p.Collect = append(p.Collect, time.Since(begin))
		time.Sleep(20 * time.Millisecond)
	}
	p.Overshoot = <-slept
	debug.ReadGCStats(&after)
	p.World = slices.Max(after.Pause[:min(len(after.Pause), int(after.NumGC-before.NumGC))])
	return p
}

func in(unit func(time.Duration) float64, ds []time.Duration) []float64 {
	out := make([]float64, len(ds))
	for i, d := range ds {
		out[i] = unit(d)
	}
	return out
}
