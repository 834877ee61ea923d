package main

import (
	"crypto/rand"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"dhow.dev/dhow/cmd/internal/manifest"
	"dhow.dev/dhow/cmd/internal/output"
	dhowv1 "dhow.dev/dhow/proto/dhow/v1"
	"dhow.dev/dhow/proto/spec"
)

func tokenCmd(a *app) *cobra.Command {
	cmd := group("token", "Make and revoke tokens: for people and programs, and for machines that join", "tokens")
	var f getFlags
	cmd.AddCommand(tokenCreateCmd(a),
		withOutput(&cobra.Command{
			Use: "list", Aliases: []string{"ls"}, Short: "List tokens, without their secrets", Args: args(0, 0, ""),
			RunE: func(cmd *cobra.Command, _ []string) error {
				return a.get(cmd.Context(), dhowv1.Kind_KIND_TOKEN, nil, &f)
			},
		}),
		deleteKindCmd(a, dhowv1.Kind_KIND_TOKEN, "Revoke tokens"))
	return cmd
}

// deleteKindCmd is delete for one kind.
func deleteKindCmd(a *app, kind dhowv1.Kind, short string) *cobra.Command {
	return &cobra.Command{
		Use: "delete NAME...", Aliases: []string{"rm"}, Short: short,
		Args:              args(1, -1, "NAME"),
		ValidArgsFunction: a.completeNames(kind),
		RunE: func(cmd *cobra.Command, names []string) error {
			c, err := a.client()
			if err != nil {
				return err
			}
			ctx, cancel := a.within(cmd.Context(), answerTimeout)
			defer cancel()
			var refs []*dhowv1.Ref
			for _, n := range names {
				refs = append(refs, a.ref(kind, n))
			}
			return a.delete(ctx, c, refs, &deleteFlags{}, false)
		},
	}
}

func tokenCreateCmd(a *app) *cobra.Command {
	var role, description string
	var ttl durationFlag
	var quiet bool
	cmd := withOutput(&cobra.Command{
		Use:   "create [NAME] --role ROLE",
		Short: "Make a token; its secret is shown once",
		Example: `  dhow token create ci --role deployer --ttl 720h
  dhow agent --join HOST:7400 --token $(dhow token create --role join-node --quiet)`,
		Args: args(0, 1, ""),
		RunE: func(cmd *cobra.Command, args []string) error {
			number, ok := manifest.ParseWord(dhowv1.Role(0).Descriptor(), role)
			if !ok {
				return usagef(cmd, "--role %q: say viewer, deployer, admin, join-node or join-server", role)
			}
			name := strings.ToLower(role) + "-" + strings.ToLower(rand.Text()[:6])
			if len(args) == 1 {
				name = args[0]
			}
			if why := spec.CheckName(name); why != "" {
				return &spec.Error{Code: spec.CodeInvalid, Path: "NAME", Message: why}
			}
			c, err := a.client()
			if err != nil {
				return err
			}
			ctx, cancel := a.within(cmd.Context(), answerTimeout)
			defer cancel()
			res, err := c.Auth.CreateToken(ctx, &dhowv1.CreateTokenRequest{
				Name: name, Role: dhowv1.Role(number), Ttl: ttl.proto(), Description: description,
			})
			if err != nil {
				return timedOut(ctx, err)
			}
			return a.printToken(res, quiet)
		},
	})
	flags := cmd.Flags()
	flags.StringVar(&role, "role", "", "viewer, deployer, admin, join-node or join-server")
	flags.Var(&ttl, "ttl", "how long it is good for, such as 24h (default: a year; to join: a day)")
	flags.StringVar(&description, "description", "", "what it is for")
	flags.BoolVarP(&quiet, "quiet", "q", false, "print the token only")
	_ = cmd.RegisterFlagCompletionFunc("role", cobra.FixedCompletions([]string{"viewer", "deployer", "admin", "join-node", "join-server"}, cobra.ShellCompDirectiveNoFileComp))
	return cmd
}

func (a *app) printToken(res *dhowv1.CreateTokenResponse, quiet bool) error {
	switch {
	case quiet:
		_, err := fmt.Fprintln(a.stdout, res.GetSecret())
		return err
	case a.format == output.FormatJSON:
		return manifest.WriteJSON(a.stdout, false, res)
	case a.format == output.FormatYAML:
		return manifest.WriteYAML(a.stdout, res)
	case a.format == output.FormatName:
		return output.Objects(a.stdout, a.format, true, []*dhowv1.Object{spec.Wrap(res.GetToken())})
	}
	t := res.GetToken()
	until := ""
	if e := t.GetExpiresAt(); e != nil {
		until = ", good for " + output.Short(e.AsTime().Sub(a.now()))
	}
	_, _ = fmt.Fprintf(a.stderr, "token/%s created (%s%s). This is the only time that it is shown:\n", t.GetMeta().GetName(), manifest.Word(t.GetRole()), until)
	_, err := fmt.Fprintln(a.stdout, res.GetSecret())
	return err
}
