package main

import (
	"fmt"

	"github.com/spf13/cobra"
	"google.golang.org/protobuf/proto"

	"dhow.dev/dhow/cmd/internal/manifest"
	"dhow.dev/dhow/cmd/internal/output"
	dhowv1 "dhow.dev/dhow/proto/dhow/v1"
)

// serverCmd looks after servers; addServe makes it run one, too.
func serverCmd(a *app) *cobra.Command {
	cmd := group("server", "Run a server, or look after those there are", "servers")
	cmd.AddCommand(withOutput(&cobra.Command{
		Use: "list", Aliases: []string{"ls"}, Short: "List servers", Args: args(0, 0, ""),
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := a.client()
			if err != nil {
				return err
			}
			ctx, cancel := a.within(cmd.Context(), answerTimeout)
			defer cancel()
			res, err := c.Cluster.Info(ctx, &dhowv1.InfoRequest{})
			if err != nil {
				return timedOut(ctx, err)
			}
			return a.printServers(res.GetServers())
		},
	}), &cobra.Command{
		Use: "remove NAME", Short: "Remove a server that is gone for good from the cluster", Args: args(1, 1, "NAME"),
		ValidArgsFunction: a.completeServers,
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := a.client()
			if err != nil {
				return err
			}
			ctx, cancel := a.within(cmd.Context(), answerTimeout)
			defer cancel()
			if _, err := c.Cluster.RemoveServer(ctx, &dhowv1.RemoveServerRequest{Name: args[0]}); err != nil {
				return timedOut(ctx, err)
			}
			_, err = fmt.Fprintf(a.stdout, "server/%s removed\n", args[0])
			return err
		},
	})
	return cmd
}

func (a *app) printServers(servers []*dhowv1.Server) error {
	ms := make([]proto.Message, len(servers))
	for i, s := range servers {
		ms[i] = s
	}
	switch a.format {
	case output.FormatJSON:
		return manifest.WriteJSON(a.stdout, true, ms...)
	case output.FormatYAML:
		return manifest.WriteYAML(a.stdout, ms...)
	case output.FormatName:
		for _, s := range servers {
			if _, err := fmt.Fprintln(a.stdout, "server/"+s.GetName()); err != nil {
				return err
			}
		}
		return nil
	default:
	}
	t := output.NewTable(a.stdout, a.style, a.format == output.FormatWide,
		output.Column{Name: "NAME"}, output.Column{Name: "STATUS"}, output.Column{Name: "ROLE"}, output.Column{Name: "API"},
		output.Column{Name: "VERSION"}, output.Column{Name: "ZONE"}, output.Column{Name: "RAFT", Wide: true})
	for _, s := range servers {
		status := output.Cell{Text: s.GetState(), Hue: output.Warn}
		switch s.GetState() {
		case "alive":
			status = output.Cell{Text: "Alive", Hue: output.Good}
		case "failed":
			status = output.Cell{Text: "Failed", Hue: output.Bad}
		}
		role := "standby"
		if s.GetVoter() {
			role = "voter"
		}
		if s.GetLeader() {
			role = "leader"
		}
		t.Add(output.Cell{Text: s.GetName()}, status, output.Cell{Text: role}, output.Cell{Text: s.GetApiAddress()},
			output.Cell{Text: s.GetVersion()}, output.Cell{Text: s.GetZone()}, output.Cell{Text: s.GetRaftAddress()})
	}
	return t.Flush()
}
