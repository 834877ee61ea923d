package main

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"dhow.dev/dhow/cmd/internal/await"
	"dhow.dev/dhow/internal/client"
	dhowv1 "dhow.dev/dhow/proto/dhow/v1"
	"dhow.dev/dhow/proto/spec"
)

// again is the pause between two tries to reach a server that is starting.
const again = 50 * time.Millisecond

func waitCmd(a *app) *cobra.Command {
	var nodes int
	var state string
	cmd := &cobra.Command{
		Use:   "wait server | nodes | node/NAME | workload/NAME...",
		Short: "Wait until something is ready",
		Long: `Wait until something is ready, up to --timeout (default 5m; exit code 4 then):
the servers answer, so many nodes are ready, a node is in a state, workloads run
as they should.`,
		Example: `  dhow wait nodes --count 3
  dhow wait node/node-2 --state lost
  dhow wait workload/web workload/api --timeout 1m`,
		Args:              args(1, -1, "server, nodes, node/NAME or workload/NAME"),
		ValidArgsFunction: cobra.FixedCompletions([]string{"server", "nodes", "node/", "workload/"}, cobra.ShellCompDirectiveNoSpace),
		RunE: func(cmd *cobra.Command, targets []string) error {
			ctx, cancel := a.within(cmd.Context(), waitTimeout)
			defer cancel()
			c, err := a.reach(ctx)
			if err != nil {
				return err
			}
			for _, target := range targets {
				if err := a.waitFor(ctx, c, target, nodes, state); err != nil {
					return err
				}
			}
			return nil
		},
	}
	cmd.Flags().IntVar(&nodes, "count", 1, "how many nodes")
	cmd.Flags().StringVar(&state, "state", "ready", "state of a node to wait for: ready, suspect or lost")
	return cmd
}

// reach waits until a server answers and has a leader.
func (a *app) reach(ctx context.Context) (*client.Client, error) {
	for {
		c, err := a.client()
		if err == nil {
			_, err = c.Objects.List(ctx, &dhowv1.ListRequest{Selector: &dhowv1.Selector{Kind: dhowv1.Kind_KIND_NAMESPACE}, Limit: 1})
		}
		code := spec.CodeOf(err)
		if err == nil || ctx.Err() == nil && code != spec.CodeUnavailable && code != spec.CodeNotFound && code != spec.CodeInvalid {
			return c, err
		}
		select {
		case <-time.After(again):
		case <-ctx.Done():
			return nil, spec.Errorf(spec.CodeTimeout, "no server answered in time: %w", err)
		}
	}
}

func (a *app) waitFor(ctx context.Context, c *client.Client, target string, nodes int, state string) error {
	kind, name, _ := strings.Cut(target, "/")
	all := []*dhowv1.Selector{{Kind: dhowv1.Kind_KIND_NODE}}
	switch {
	case target == "server":
		return nil
	case target == "nodes":
		return a.startWait(ctx, c, all, await.NewNodes(nodes)).run(ctx)
	case kind == "node" && name != "":
		n, ok := dhowv1.NodeState_value["NODE_STATE_"+strings.ToUpper(state)]
		if !ok || n == 0 {
			return spec.Errorf(spec.CodeInvalid, "--state %q: use ready, suspect or lost", state)
		}
		return a.startWait(ctx, c, all, await.NewNode(name, dhowv1.NodeState(n))).run(ctx)
	case kind == "workload" && name != "":
		return a.waitForWorkload(ctx, c, name)
	}
	return spec.Errorf(spec.CodeInvalid, "wait for what? %q is none of server, nodes, node/NAME and workload/NAME", target)
}

func (a *app) waitForWorkload(ctx context.Context, c *client.Client, name string) error {
	ref := &dhowv1.Ref{Kind: dhowv1.Kind_KIND_WORKLOAD, Namespace: a.namespace(), Name: name}
	res, err := c.Objects.Get(ctx, &dhowv1.GetRequest{Ref: ref})
	if err != nil {
		return err
	}
	w := res.GetObject().GetWorkload()
	rollout := await.NewRollout(name)
	rollout.Target(w)
	if err := a.startWait(ctx, c, selectorsFor([]*dhowv1.Meta{w.GetMeta()}), rollout).run(ctx); err != nil {
		return err
	}
	_, err = fmt.Fprintf(a.stdout, "workload/%s is ready\n", name)
	return err
}
