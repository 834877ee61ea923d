// Command store compares durable writes per second of dhow, through the API and
// proposed in process, with those of etcd on the same disk, in turns so that
// other load on the machine hits all alike. A further way to write is one more
// driver.
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
	// objects is how many a put writes.
	objects() int
	// put writes durable objects of a worker, none of which was there.
	put(ctx context.Context, worker, n int, value string) error
	close() error
}

// opener starts a driver in a directory of its own.
type opener func(ctx context.Context, dir string) (driver, error)

type options struct {
	clients, size, rounds int
	connections           int
	duration              time.Duration
	dir, bin              string
	only                  string
	http1                 bool
}

func main() { os.Exit(run(os.Args[1:], os.Stdout, os.Stderr)) }

func run(args []string, out, errs io.Writer) int {
	var o options
	fs := flag.NewFlagSet("store", flag.ContinueOnError)
	fs.SetOutput(errs)
	fs.IntVar(&o.clients, "clients", 64, "clients that write at the same time")
	fs.IntVar(&o.size, "size", 256, "bytes of an object")
	fs.IntVar(&o.connections, "connections", 4, "connections that the clients of a server share")
	fs.IntVar(&o.rounds, "rounds", 5, "turns each system gets")
	fs.DurationVar(&o.duration, "duration", 3*time.Second, "length of a turn")
	fs.BoolVar(&o.http1, "http1", false, "call dhow over HTTP/1.1, a connection for each client")
	fs.StringVar(&o.bin, "bin", "../bin/dhow", "the dhow to measure")
	fs.StringVar(&o.only, "only", "", "measure etcd and only these of one,many,process")
	fs.StringVar(&o.dir, "dir", "", "where to put the data (default: the system's temporary directory)")
	if err := fs.Parse(args); err != nil {
		return 2
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := compare(ctx, o, out); err != nil {
		fmt.Fprintln(errs, "store:", err)
		return 1
	}
	return 0
}

// contender is a way to write, and how many times etcd's rate it is to reach.
type contender struct {
	name       string
	open       opener
	limit, aim float64
}

func (o options) contenders() []contender {
	all := []contender{
		{"one", openAPI(o.bin, 1, o.connections, o.http1), 0.7, 1.1},
		{"many", openAPI(o.bin, 100, o.connections, o.http1), 3, 10},
		{"process", openProcess, 2, 4},
	}
	all = slices.DeleteFunc(all, func(c contender) bool { return o.only != "" && !slices.Contains(strings.Split(o.only, ","), c.name) })
	return append([]contender{{"etcd", openEtcd(o.connections), 1, 1}}, all...)
}

// compare runs all in turns; the first is what the others are measured
// against.
func compare(ctx context.Context, o options, out io.Writer) (err error) {
	all := o.contenders()
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
	for i, c := range all {
		d, err := c.open(ctx, fmt.Sprintf("%s/%d", root, i))
		if err != nil {
			return err
		}
		drivers = append(drivers, d)
	}
	rates := make([][]float64, len(drivers))
	ratios := make([][]float64, len(drivers))
	lat := make([][]time.Duration, len(drivers))
	for round := range o.rounds {
		for i, d := range drivers {
			rate, l, err := drive(ctx, d, o, round)
			if err != nil {
				return fmt.Errorf("%s: %w", d.name(), err)
			}
			rates[i] = append(rates[i], rate)
			lat[i] = append(lat[i], l...)
			ratios[i] = append(ratios[i], rate/rates[0][round])
		}
	}
	fmt.Fprintf(out, "%d clients, objects of %d bytes, %d turns of %s each; medians\n", o.clients, o.size, o.rounds, o.duration)
	fmt.Fprintf(out, "%-30s %10s %9s %9s %7s %13s %7s %7s\n", "", "objects/s", "p50", "p99", "ratio", "of turns", "limit", "aim")
	base := median(rates[0])
	for i, d := range drivers {
		slices.Sort(lat[i])
		slices.Sort(ratios[i])
		fmt.Fprintf(out, "%-30s %10.0f %9s %9s %6.2fx %5.2f ..%5.2f %6.1fx %6.1fx\n", d.name(), median(rates[i]),
			quantile(lat[i], 0.5).Round(10*time.Microsecond), quantile(lat[i], 0.99).Round(10*time.Microsecond),
			median(rates[i])/base, ratios[i][0], ratios[i][len(ratios[i])-1], all[i].limit, all[i].aim)
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
	return float64(len(lat)*d.objects()) / time.Since(start).Seconds(), lat, errors.Join(fails...)
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
