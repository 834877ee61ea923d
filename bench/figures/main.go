// Command figures measures dhow as its users meet it: the built binary, from
// outside, each figure next to the limit it is held against.
//
//	figures -bin DIR deploy|up|idle|size|heal|leader
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	bin := flag.String("bin", "bin", "where dhow, dhow-agent and guests/ are")
	flag.Parse()
	if err := run(ctx, *bin, flag.Args()); err != nil {
		fmt.Fprintln(os.Stderr, "figures:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, bin string, what []string) error {
	bin, err := filepath.Abs(bin)
	if err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "dhow-figures-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	benches := map[string]func(context.Context, *lab) error{
		"deploy": benchDeploy, "up": benchUp, "idle": benchIdle, "size": benchSize, "heal": benchHeal, "leader": benchLeader,
	}
	for _, name := range what {
		bench := benches[name]
		if bench == nil {
			return fmt.Errorf("unknown bench %q", name)
		}
		l := &lab{bin: bin, dir: filepath.Join(dir, name)}
		if err := os.MkdirAll(l.dir, 0o700); err != nil {
			return err
		}
		err := bench(ctx, l)
		l.end()
		if err != nil {
			return errors.Join(fmt.Errorf("%s: %w", name, err), l.logs())
		}
	}
	return nil
}

// figure prints one line: what, the value, the limit, and their ratio.
func figure(what string, value, limit float64, unit string) {
	fmt.Printf("%-58s %9.2f %-4s limit %8.2f %-4s  %.2f x\n", what, value, unit, limit, unit, value/limit)
}

func ms(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }

// quantile of durations, 0.5 for the median.
func quantile(ds []time.Duration, q float64) time.Duration {
	sorted := slices.Sorted(slices.Values(ds))
	return sorted[int(q*float64(len(sorted)-1))]
}

func (l *lab) logs() error {
	var text strings.Builder
	for _, p := range l.procs {
		data, _ := os.ReadFile(p.log)
		fmt.Fprintf(&text, "--- %s\n%s", p.log, data[max(0, len(data)-2000):])
	}
	return errors.New(text.String())
}
