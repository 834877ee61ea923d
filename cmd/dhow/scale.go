package main

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"dhow.dev/dhow/cmd/internal/await"
	"dhow.dev/dhow/cmd/internal/output"
	dhowv1 "dhow.dev/dhow/proto/dhow/v1"
	"dhow.dev/dhow/proto/spec"
)

func scaleCmd(a *app) *cobra.Command {
	var wait waitFlags
	replicas := int64(-1)
	cmd := withOutput(&cobra.Command{
		Use:               "scale WORKLOAD REPLICAS",
		Short:             "Change how many instances a workload has",
		Args:              args(1, 2, "WORKLOAD"),
		ValidArgsFunction: a.completeNames(dhowv1.Kind_KIND_WORKLOAD),
		RunE: func(cmd *cobra.Command, args []string) error {
			n := replicas
			if len(args) == 2 {
				var err error
				if n, err = strconv.ParseInt(args[1], 10, 64); err != nil {
					n = -1
				}
			}
			if n < 0 || n > spec.MaxReplicas {
				return usagef(cmd, "say how many: REPLICAS is 0 to %d", spec.MaxReplicas)
			}
			waiting, err := wait.wanted(cmd, a)
			if err != nil {
				return err
			}
			return a.scale(cmd, strings.TrimPrefix(strings.TrimPrefix(args[0], "workload/"), "wl/"), uint32(n), waiting)
		},
	})
	cmd.Flags().Int64Var(&replicas, "replicas", -1, "how many, as kubectl has it")
	wait.add(cmd, "it is so")
	return cmd
}

func (a *app) scale(cmd *cobra.Command, name string, n uint32, wait bool) error {
	c, err := a.client()
	if err != nil {
		return err
	}
	limit := answerTimeout
	if wait {
		limit = waitTimeout
	}
	ctx, cancel := a.within(cmd.Context(), limit)
	defer cancel()
	start := a.now()
	rollout := await.NewRollout(name)
	var waiting *waiter
	if wait {
		waiting = a.startWait(ctx, c, selectorsFor([]*dhowv1.Meta{{Namespace: a.namespace(), Name: name}}), rollout)
		if err := waiting.ready(ctx); err != nil {
			return err
		}
	}
	o, outcome, err := modify(ctx, c, a.ref(dhowv1.Kind_KIND_WORKLOAD, name), func(o *dhowv1.Object) error {
		o.GetWorkload().Spec.Replicas = new(n)
		return nil
	})
	if err != nil {
		return err
	}
	if err := a.outcome(o, outcome, false); err != nil || !wait {
		return err
	}
	rollout.Target(o.GetWorkload())
	if err := waiting.run(ctx); err != nil {
		return rolloutError(err)
	}
	if a.format.Table() {
		_, err = fmt.Fprintf(a.stdout, "%s in %s\n", rollout.Progress().Line, output.Elapsed(a.now().Sub(start)))
	}
	return err
}
