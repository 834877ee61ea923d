package main

import (
	"github.com/spf13/cobra"

	"dhow.dev/dhow/cmd/internal/agentcmd"
)

func agentCmd(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "agent --join HOST:7400 --token TOKEN",
		Short: "Run a node",
		Long: `Run a node: a machine that runs instances. The first start joins the cluster with
a join token (dhow token create --role join-node); later starts need neither
--join nor --token, and start what ran before even when no server answers.`,
		Args: cobra.NoArgs,
	}
	flags := agentcmd.Add(cmd.Flags())
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		return flags.Run(cmd.Context(), a.stderr)
	}
	return cmd
}
