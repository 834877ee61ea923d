package main

import (
	"context"
	"fmt"
	"maps"
	"strings"

	"github.com/spf13/cobra"

	"dhow.dev/dhow/cmd/internal/await"
	dhowv1 "dhow.dev/dhow/proto/dhow/v1"
	"dhow.dev/dhow/proto/spec"
)

func nodeCmd(a *app) *cobra.Command {
	cmd := group("node", "Look after nodes", "nodes")
	cmd.AddCommand(nodeListCmd(a),
		nodeSpecCmd(a, "cordon", "Place no new instances on nodes", "cordoned", func(s *dhowv1.NodeSpec) { s.Cordoned = true }),
		nodeSpecCmd(a, "uncordon", "Take nodes back into use", "in use again", func(s *dhowv1.NodeSpec) { s.Cordoned, s.Draining = false, false }),
		nodeDrainCmd(a), nodeLabelCmd(a))
	return cmd
}

func nodeListCmd(a *app) *cobra.Command {
	var f getFlags
	cmd := withOutput(&cobra.Command{
		Use: "list", Aliases: []string{"ls"}, Short: "List nodes", Args: args(0, 0, ""),
		RunE: func(cmd *cobra.Command, _ []string) error {
			return a.get(cmd.Context(), dhowv1.Kind_KIND_NODE, nil, &f)
		},
	})
	cmd.Flags().BoolVarP(&f.watch, "watch", "w", false, "go on and show changes")
	cmd.Flags().StringArrayVarP(&f.labels, "selector", "l", nil, "only with these labels: a=b,c=d")
	return cmd
}

// nodeSpecCmd makes a verb that sets something in nodes' specs.
func nodeSpecCmd(a *app, verb, short, done string, set func(*dhowv1.NodeSpec)) *cobra.Command {
	return withOutput(&cobra.Command{
		Use: verb + " NODE...", Short: short,
		Args:              args(1, -1, "NODE"),
		ValidArgsFunction: a.completeNames(dhowv1.Kind_KIND_NODE),
		RunE: func(cmd *cobra.Command, names []string) error {
			ctx, cancel := a.within(cmd.Context(), answerTimeout)
			defer cancel()
			for _, name := range names {
				if err := a.setNode(ctx, name, done, func(n *dhowv1.Node) error {
					set(n.Spec)
					return nil
				}); err != nil {
					return err
				}
			}
			return nil
		},
	})
}

func (a *app) setNode(ctx context.Context, name, done string, change func(*dhowv1.Node) error) error {
	c, err := a.client()
	if err != nil {
		return err
	}
	o, outcome, err := modify(ctx, c, a.ref(dhowv1.Kind_KIND_NODE, strings.TrimPrefix(name, "node/")), func(o *dhowv1.Object) error {
		n := o.GetNode()
		if n.Spec == nil {
			n.Spec = &dhowv1.NodeSpec{}
		}
		return change(n)
	})
	if err != nil {
		return err
	}
	if !a.format.Table() {
		return a.outcome(o, outcome, false)
	}
	if outcome == dhowv1.Outcome_OUTCOME_UNCHANGED {
		done += " already"
	}
	_, err = fmt.Fprintf(a.stdout, "node/%s %s\n", o.GetNode().GetMeta().GetName(), done)
	return err
}

func nodeDrainCmd(a *app) *cobra.Command {
	var wait waitFlags
	cmd := withOutput(&cobra.Command{
		Use: "drain NODE...", Short: "Move all instances away from nodes, and place no new ones there",
		Args:              args(1, -1, "NODE"),
		ValidArgsFunction: a.completeNames(dhowv1.Kind_KIND_NODE),
		RunE: func(cmd *cobra.Command, names []string) error {
			waiting, err := wait.wanted(cmd, a)
			if err != nil {
				return err
			}
			ctx, cancel := a.within(cmd.Context(), waitTimeout)
			defer cancel()
			return a.drain(ctx, names, waiting)
		},
	})
	wait.add(cmd, "no instance is left")
	return cmd
}

func (a *app) drain(ctx context.Context, names []string, wait bool) error {
	c, err := a.client()
	if err != nil {
		return err
	}
	var judges []awaited
	var sels []*dhowv1.Selector
	for _, name := range names {
		if err := a.setNode(ctx, name, "draining", func(n *dhowv1.Node) error {
			n.Spec.Cordoned, n.Spec.Draining = true, true
			return nil
		}); err != nil {
			return err
		}
		judges = append(judges, await.NewDrain(name))
		sels = append(sels, &dhowv1.Selector{Kind: dhowv1.Kind_KIND_INSTANCE, Node: name})
	}
	if !wait {
		return nil
	}
	if len(sels) > 32 {
		sels = []*dhowv1.Selector{{Kind: dhowv1.Kind_KIND_INSTANCE}}
	}
	w := a.startWait(ctx, c, sels, judges...)
	if err := w.ready(ctx); err != nil {
		return err
	}
	return w.run(ctx)
}

func nodeLabelCmd(a *app) *cobra.Command {
	return withOutput(&cobra.Command{
		Use: "label NODE KEY=VALUE... KEY-...", Short: "Set and (with - behind the key) remove labels of a node",
		Args:              args(2, -1, "NODE or KEY=VALUE"),
		ValidArgsFunction: a.completeNames(dhowv1.Kind_KIND_NODE),
		RunE: func(cmd *cobra.Command, args []string) error {
			set, remove := map[string]string{}, []string{}
			for _, arg := range args[1:] {
				k, v, ok := strings.Cut(arg, "=")
				gone, minus := strings.CutSuffix(arg, "-")
				switch {
				case ok && spec.CheckLabelKey(k) == "" && spec.CheckLabelValue(v) == "":
					set[k] = v
				case !ok && minus:
					remove = append(remove, gone)
				default:
					return usagef(cmd, "%q is neither KEY=VALUE nor KEY-", arg)
				}
			}
			ctx, cancel := a.within(cmd.Context(), answerTimeout)
			defer cancel()
			return a.setNode(ctx, args[0], "labelled", func(n *dhowv1.Node) error {
				if n.Meta.Labels == nil {
					n.Meta.Labels = map[string]string{}
				}
				maps.Copy(n.Meta.Labels, set)
				for _, k := range remove {
					delete(n.Meta.Labels, k)
				}
				return nil
			})
		},
	})
}
