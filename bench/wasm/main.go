// Command wasm measures wasmrt against what people would use instead: plain
// wazero, its own way of ending a guest, runc, Extism's SDK. Each figure is
// taken with its peer in turns in the same run, and printed next to the limit
// it is held against.
//
//	wasm [-rounds N] [-only NAME,...] [-out FILE] [FIGURE...]
package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"maps"
	"os"
	"os/signal"
	"slices"
	"strings"
)

type options struct {
	rounds int      // turns each contender gets
	only   []string // parts of names; empty: all
	forms  []string // of metering
	out    string   // a file that gets the table too
}

func (o options) picks(name string) bool {
	return len(o.only) == 0 || slices.ContainsFunc(o.only, func(part string) bool { return strings.Contains(name, part) })
}

// bench takes figures, adds them to the table, and writes details.
type bench func(ctx context.Context, o options, t *table, details io.Writer) error

func benches() map[string]bench {
	return map[string]bench{
		"metering":   benchMetering,
		"pauses":     benchPauses,
		"starts":     benchStarts,
		"idle":       benchIdle,
		"cgi":        benchCGI,
		"extism":     benchExtism,
		"neighbours": benchNeighbours,
	}
}

func main() { os.Exit(run(os.Args[1:], os.Stdout, os.Stderr)) }

func run(args []string, out, errs io.Writer) int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if len(args) > 0 && args[0] == childCommand {
		return runChild(ctx, args[1:], os.Stdin, out, errs)
	}
	o, figures, err := parse(args, errs)
	if err != nil {
		return 2
	}
	var t table
	for _, name := range figures {
		if err := benches()[name](ctx, o, &t, out); err != nil {
			fmt.Fprintf(errs, "wasm: %s: %v\n", name, err)
			return 1
		}
	}
	t.write(out)
	if o.out != "" {
		var text strings.Builder
		t.write(&text)
		if err := os.WriteFile(o.out, []byte(text.String()), 0o644); err != nil {
			fmt.Fprintln(errs, "wasm:", err)
			return 1
		}
	}
	return 0
}

// parse takes flags before and after the names of figures.
func parse(args []string, errs io.Writer) (o options, figures []string, err error) {
	fs := flag.NewFlagSet("wasm", flag.ContinueOnError)
	fs.SetOutput(errs)
	fs.IntVar(&o.rounds, "rounds", 5, "turns each contender gets")
	fs.StringVar(&o.out, "out", "", "a file that gets the table too")
	forms := fs.String("forms", "plain,done,exact,preempt", "what metering compares; the first is what the others are measured against")
	only := fs.String("only", "", "measure only what has one of these, with commas between them, in its name")
	known := slices.Sorted(maps.Keys(benches()))
	for rest := args; ; {
		if err := fs.Parse(rest); err != nil {
			return o, nil, err
		}
		if fs.NArg() == 0 {
			break
		}
		if !slices.Contains(known, fs.Arg(0)) {
			fmt.Fprintf(errs, "wasm: unknown figure %q; there are: %s\n", fs.Arg(0), strings.Join(known, ", "))
			return o, nil, flag.ErrHelp
		}
		figures = append(figures, fs.Arg(0))
		rest = fs.Args()[1:]
	}
	o.forms = strings.Split(*forms, ",")
	if *only != "" {
		o.only = strings.Split(*only, ",")
	}
	if len(figures) == 0 {
		figures = known
	}
	return o, figures, nil
}
