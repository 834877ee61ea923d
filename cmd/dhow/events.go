package main

import (
	"github.com/spf13/cobra"

	dhowv1 "dhow.dev/dhow/proto/dhow/v1"
)

func eventsCmd(a *app) *cobra.Command {
	var f getFlags
	cmd := withOutput(&cobra.Command{
		Use:               "events [WORKLOAD]",
		Short:             "Show what happened lately, oldest first",
		Args:              args(0, 1, ""),
		ValidArgsFunction: a.completeNames(dhowv1.Kind_KIND_WORKLOAD),
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) == 1 {
				f.workload = args[0]
			}
			return a.get(cmd.Context(), dhowv1.Kind_KIND_EVENT, nil, &f)
		},
	})
	cmd.Flags().BoolVarP(&f.all, "all-namespaces", "A", false, "of all namespaces")
	cmd.Flags().BoolVarP(&f.watch, "watch", "w", false, "go on and show new ones")
	return cmd
}
