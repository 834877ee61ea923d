package main

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"dhow.dev/dhow/cmd/internal/output"
	"dhow.dev/dhow/internal/client"
	dhowv1 "dhow.dev/dhow/proto/dhow/v1"
	"dhow.dev/dhow/proto/spec"
)

// topFlags are top's.
type topFlags struct {
	all, watch bool
	node, sort string
	interval   durationFlag
}

func topCmd(a *app) *cobra.Command {
	f := topFlags{interval: durationFlag{d: time.Second}}
	cmd := withOutput(&cobra.Command{
		Use:   "top [WORKLOAD|INSTANCE]",
		Short: "Show what instances use: CPU, memory, fuel, calls",
		Long: `Show what instances use, as their nodes measure it: CPU over the interval (1 is
a core), memory now and at most, and since their start the fuel (wasm
instructions), the calls and requests, and how long a CPU limit kept them
waiting. It measures twice, one interval apart.`,
		Example: `  dhow top
  dhow top web -w
  dhow top -A --node n1 --sort memory`,
		Args:              args(0, 1, ""),
		ValidArgsFunction: a.completeNames(dhowv1.Kind_KIND_WORKLOAD, dhowv1.Kind_KIND_INSTANCE),
		RunE: func(cmd *cobra.Command, args []string) error {
			if !slices.Contains(output.UsageOrders(), f.sort) {
				return usagef(cmd, "--sort %s is unknown: say %s", f.sort, strings.Join(output.UsageOrders(), ", "))
			}
			limit := answerTimeout
			if f.watch {
				limit = 0
			}
			ctx, cancel := a.within(cmd.Context(), limit)
			defer cancel()
			err := a.top(ctx, args, &f)
			if f.watch {
				return ended(ctx, err)
			}
			return timedOut(ctx, err)
		},
	})
	flags := cmd.Flags()
	flags.BoolVarP(&f.all, "all-namespaces", "A", false, "of all namespaces")
	flags.BoolVarP(&f.watch, "watch", "w", false, "go on and show changes")
	flags.StringVar(&f.node, "node", "", "instances on this node only")
	flags.StringVar(&f.sort, "sort", "cpu", "what comes first: "+strings.Join(output.UsageOrders(), ", "))
	flags.Var(&f.interval, "interval", "time between two measurements (default 1s)")
	return cmd
}

func (a *app) top(ctx context.Context, args []string, f *topFlags) error {
	c, err := a.client()
	if err != nil {
		return err
	}
	req := &dhowv1.UsageRequest{Node: f.node}
	if !f.all {
		req.Namespace = a.namespace()
	}
	if len(args) > 0 {
		o, err := a.workloadOrInstance(ctx, c, args[0])
		if err != nil {
			return err
		}
		req.Namespace = spec.MetaOf(o).GetNamespace()
		if o.GetInstance() != nil {
			req.Instance = spec.MetaOf(o).GetName()
		} else {
			req.Workload = spec.MetaOf(o).GetName()
		}
	}
	before, err := c.Usage.Usage(ctx, req)
	if err != nil {
		return err
	}
	if !a.format.Table() {
		return output.Message(a.stdout, a.format, before)
	}
	return a.topLoop(ctx, c, req, before, f)
}

// topLoop shows the difference between each measurement and the one before.
func (a *app) topLoop(ctx context.Context, c *client.Client, req *dhowv1.UsageRequest, before *dhowv1.UsageResponse, f *topFlags) error {
	tick := time.NewTicker(max(f.interval.d, 10*time.Millisecond))
	defer tick.Stop()
	for first := true; first || f.watch; first = false {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
		}
		now, err := c.Usage.Usage(ctx, req)
		if err != nil {
			return err
		}
		switch {
		case f.watch && a.outTerminal:
			_, _ = fmt.Fprint(a.stdout, "\x1b[H\x1b[2J")
		case !first:
			_, _ = fmt.Fprintln(a.stdout)
		}
		if err := output.UsageTable(a.stdout, a.style, a.format == output.FormatWide, f.all, f.sort, before, now); err != nil {
			return err
		}
		for _, s := range now.GetSilent() {
			_, _ = fmt.Fprintf(a.stderr, "node %s: %s\n", output.Clean(s.GetName()), output.Clean(s.GetMessage()))
		}
		if first && !f.watch && len(now.GetInstances()) == 0 {
			_, _ = fmt.Fprintln(a.stderr, "nothing runs here")
		}
		before = now
	}
	return nil
}
