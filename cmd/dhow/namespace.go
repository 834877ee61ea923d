package main

import (
	"github.com/spf13/cobra"

	dhowv1 "dhow.dev/dhow/proto/dhow/v1"
	"dhow.dev/dhow/proto/spec"
)

func nsCmd(a *app) *cobra.Command {
	cmd := group("ns", "Make, list and delete namespaces", "namespace", "namespaces")
	var f getFlags
	cmd.AddCommand(
		withOutput(&cobra.Command{
			Use: "create NAME", Short: "Make a namespace", Args: args(1, 1, "NAME"),
			RunE: func(cmd *cobra.Command, args []string) error {
				o := spec.Wrap(&dhowv1.Namespace{Meta: &dhowv1.Meta{Name: args[0]}})
				if err := spec.Validate(o); err != nil {
					return err
				}
				c, err := a.client()
				if err != nil {
					return err
				}
				ctx, cancel := a.within(cmd.Context(), answerTimeout)
				defer cancel()
				res, err := c.Objects.Apply(ctx, &dhowv1.ApplyRequest{Objects: []*dhowv1.Object{o}, CreateOnly: true})
				if err != nil {
					return timedOut(ctx, err)
				}
				return a.outcome(res.GetObjects()[0], res.GetOutcomes()[0], false)
			},
		}),
		withOutput(&cobra.Command{
			Use: "list", Aliases: []string{"ls"}, Short: "List namespaces", Args: args(0, 0, ""),
			RunE: func(cmd *cobra.Command, _ []string) error {
				return a.get(cmd.Context(), dhowv1.Kind_KIND_NAMESPACE, nil, &f)
			},
		}),
		deleteKindCmd(a, dhowv1.Kind_KIND_NAMESPACE, "Delete namespaces that are empty"))
	return cmd
}
