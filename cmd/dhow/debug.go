package main

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"
	"google.golang.org/protobuf/proto"

	"dhow.dev/dhow/cmd/internal/manifest"
	"dhow.dev/dhow/cmd/internal/output"
	"dhow.dev/dhow/internal/client"
	dhowv1 "dhow.dev/dhow/proto/dhow/v1"
)

func debugCmd(a *app) *cobra.Command {
	cmd := group("debug", "Look inside: the cluster, the state's hash, who you are")
	cmd.AddCommand(
		debugCall(a, "info", "Show the cluster as the server that answers sees it", func(ctx context.Context, c *client.Client) (proto.Message, string, error) {
			res, err := c.Cluster.Info(ctx, &dhowv1.InfoRequest{})
			return res, fmt.Sprintf("cluster %s, revision %d, leader %s; %s answers, version %s",
				res.GetClusterId(), res.GetRevision(), res.GetLeader(), res.GetServer(), res.GetVersion()), err
		}),
		debugCall(a, "hash", "Hash the state of the server that answers (--server chooses it)", func(ctx context.Context, c *client.Client) (proto.Message, string, error) {
			res, err := c.Cluster.StateHash(ctx, &dhowv1.StateHashRequest{})
			return res, fmt.Sprintf("%d %x", res.GetRevision(), res.GetHash()), err
		}),
		debugCall(a, "whoami", "Show who the cluster takes you for", func(ctx context.Context, c *client.Client) (proto.Message, string, error) {
			res, err := c.Auth.WhoAmI(ctx, &dhowv1.WhoAmIRequest{})
			return res, fmt.Sprintf("%s (%s)", res.GetSubject(), manifest.Word(res.GetRole())), err
		}))
	return cmd
}

// debugCall makes a verb that prints one answer.
func debugCall(a *app, use, short string, call func(context.Context, *client.Client) (proto.Message, string, error)) *cobra.Command {
	return withOutput(&cobra.Command{
		Use: use, Short: short, Args: args(0, 0, ""),
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := a.client()
			if err != nil {
				return err
			}
			ctx, cancel := a.within(cmd.Context(), answerTimeout)
			defer cancel()
			m, text, err := call(ctx, c)
			switch {
			case err != nil:
				return timedOut(ctx, err)
			case a.format == output.FormatJSON:
				return manifest.WriteJSON(a.stdout, false, m)
			case a.format == output.FormatYAML:
				return manifest.WriteYAML(a.stdout, m)
			}
			_, err = fmt.Fprintln(a.stdout, text)
			return err
		},
	})
}
