// Command store compares durable writes: dhow's store and replica, proposed in
// process, against etcd on the same disk, in turns so that other load on the
// machine hits both alike. A further way to write is one more driver.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"slices"
	"strings"
	"sync"
	"time"
)

// driver is one system to write to.
type driver interface {
	// name is what the table calls it.
	name() string
	// put writes one durable object of a worker.
	put(ctx context.Context, worker, n int, value string) error
	close() error
}

// opener starts a driver in a directory of its own.
type opener func(ctx context.Context, dir string) (driver, error)

type options struct {
	clients, size, rounds int
	duration              time.Duration
	dir                   string
}

func main() { os.Exit(run(os.Args[1:], os.Stdout, os.Stderr)) }

func run(args []string, out, errs io.Writer) int {
	var o options
	fs := flag.NewFlagSet("store", flag.ContinueOnError)
	fs.SetOutput(errs)
	fs.IntVar(&o.clients, "clients", 64, "clients that write at the same time")
	fs.IntVar(&o.size, "size", 256, "bytes of an object")
	fs.IntVar(&o.rounds, "rounds", 3, "turns each system gets")
	fs.DurationVar(&o.duration, "duration", 4*time.Second, "length of a turn")
	fs.StringVar(&o.dir, "dir", "", "where to put the data (default: the system's temporary directory)")
	if err := fs.Parse(args); err != nil {
		return 2
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := compare(ctx, o, out, openEtcd, openProcess); err != nil {
		fmt.Fprintln(errs, "store:", err)
		return 1
	}
	return 0
}

// compare runs all drivers in turns; the first is what the others are
// measured against.
func compare(ctx context.Context, o options, out io.Writer, openers ...opener) (err error) {
	root, err := os.MkdirTemp(o.dir, "dhow-bench-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(root)) }()
	var drivers []driver
	defer func() {
		for _, d := range drivers {
			err = errors.Join(err, d.close())
		}
	}()
	for i, open := range openers {
		d, err := open(ctx, fmt.Sprintf("%s/%d", root, i))
		if err != nil {
			return err
		}
		drivers = append(drivers, d)
	}
	rates := make([][]float64, len(drivers))
	lat := make([][]time.Duration, len(drivers))
	for round := range o.rounds {
		for i, d := range drivers {
			rate, l, err := drive(ctx, d, o, round)
			if err != nil {
				return fmt.Errorf("%s: %w", d.name(), err)
			}
			rates[i] = append(rates[i], rate)
			lat[i] = append(lat[i], l...)
		}
	}
	fmt.Fprintf(out, "%d clients, objects of %d bytes, %d turns of %s each; the median turn counts\n", o.clients, o.size, o.rounds, o.duration)
	fmt.Fprintf(out, "%-28s %10s %9s %9s %7s\n", "", "writes/s", "p50", "p99", "ratio")
	base := median(rates[0])
	for i, d := range drivers {
		slices.Sort(lat[i])
		fmt.Fprintf(out, "%-28s %10.0f %9s %9s %6.2fx\n", d.name(), median(rates[i]),
			quantile(lat[i], 0.5).Round(10*time.Microsecond), quantile(lat[i], 0.99).Round(10*time.Microsecond), median(rates[i])/base)
	}
	return nil
}

// drive writes for a turn with all clients.
func drive(ctx context.Context, d driver, o options, round int) (rate float64, lat []time.Duration, err error) {
	var (
		wg    sync.WaitGroup
		mu    sync.Mutex
		fails []error
	)
	value := strings.Repeat("x", o.size)
	start := time.Now()
	for w := range o.clients {
		wg.Go(func() {
			var mine []time.Duration
			for n := 0; time.Since(start) < o.duration; n++ {
				t := time.Now()
				if err := d.put(ctx, w, round<<24+n, value); err != nil {
					mu.Lock()
					fails = append(fails, err)
					mu.Unlock()
					return
				}
				mine = append(mine, time.Since(t))
			}
			mu.Lock()
			defer mu.Unlock()
			lat = append(lat, mine...)
		})
	}
	wg.Wait()
	return float64(len(lat)) / time.Since(start).Seconds(), lat, errors.Join(fails...)
}

func median(v []float64) float64 {
	s := slices.Sorted(slices.Values(v))
	return s[len(s)/2]
}

func quantile(sorted []time.Duration, q float64) time.Duration {
	if len(sorted) == 0 {
		return 0
	}
	return sorted[int(q*float64(len(sorted)-1))]
}
