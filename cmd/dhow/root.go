package main

import (
	"os"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"dhow.dev/dhow/cmd/internal/settings"
	"dhow.dev/dhow/proto/spec"
)

// newRoot makes the command tree. To add a verb, write a file with a function
// that makes its command, and list it here.
func newRoot(a *app) *cobra.Command {
	root := group("dhow", "Run WebAssembly modules and containers on a fleet of machines as if they were one computer")
	root.SilenceErrors, root.SilenceUsage = true, true
	root.SetIn(a.stdin)
	root.SetOut(a.stdout)
	root.SetErr(a.stderr)
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		return usagef(cmd, "%v", err)
	})
	globalFlags(root.PersistentFlags(), &a.global)
	root.PersistentPreRunE = func(cmd *cobra.Command, _ []string) error {
		if err := settings.Load(root.PersistentFlags(), "", os.LookupEnv); err != nil {
			return err
		}
		return a.setOutput(cmd)
	}
	completeFlags(a, root)
	const work, cluster, here = "work", "cluster", "here"
	root.AddGroup(
		&cobra.Group{ID: work, Title: "Workloads:"},
		&cobra.Group{ID: cluster, Title: "The cluster:"},
		&cobra.Group{ID: here, Title: "On this machine:"},
	)
	add := func(id string, cmds ...*cobra.Command) {
		for _, c := range cmds {
			c.GroupID = id
			root.AddCommand(c)
		}
	}
	server := serverCmd(a)
	addServe(server, a)
	add(work, deployCmd(a), applyCmd(a), diffCmd(a), deleteCmd(a), getCmd(a), describeCmd(a),
		callCmd(a), logsCmd(a), topCmd(a), eventsCmd(a), scaleCmd(a), whyCmd(a), waitCmd(a), pushCmd(a), nsCmd(a))
	add(cluster, upCmd(a), server, agentCmd(a), nodeCmd(a), tokenCmd(a), debugCmd(a))
	add(here, runCmd(a), contextCmd(a), versionCmd(a))
	root.SetCompletionCommandGroupID(here)
	root.SetHelpCommandGroupID(here)
	return root
}

// globals are the flags of every verb that talks to a cluster. Each may come
// from the environment: DHOW_NAMESPACE for --namespace.
type globals struct {
	contextFile, context, namespace, server, token, ca, output string
	timeout                                                    durationFlag
	noColor                                                    bool
}

func globalFlags(f *pflag.FlagSet, g *globals) {
	f.StringVar(&g.contextFile, "context-file", "", "file of contexts (default $XDG_CONFIG_HOME/dhow/config.yaml)")
	f.StringVar(&g.context, "context", "", "context to use (default: the file's current one)")
	f.StringVarP(&g.namespace, "namespace", "n", "", "namespace (default: the context's, else \"default\")")
	f.StringVar(&g.server, "server", "", "host:port of a server's API, instead of the context's (several: a,b,c)")
	f.StringVar(&g.token, "token", "", "access token, instead of the context's")
	f.StringVar(&g.ca, "ca", "", "file with the cluster's CA certificate (PEM), instead of the context's")
	f.StringVarP(&g.output, "output", "o", "", "table, wide, json, yaml or name")
	f.Var(&g.timeout, "timeout", "give up after this long, such as 30s (default: 30s to answer, 5m to wait)")
	f.BoolVar(&g.noColor, "no-color", false, "no colours (also: NO_COLOR)")
}

// group makes a command that only has commands below it.
func group(use, short string, aliases ...string) *cobra.Command {
	return &cobra.Command{
		Use: use, Short: short, Aliases: aliases,
		Args: cobra.ArbitraryArgs, // so that RunE can say what was meant
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 {
				return cmd.Help()
			}
			return unknownCommand(cmd, args[0])
		},
	}
}

func unknownCommand(cmd *cobra.Command, word string) error {
	cmd.SuggestionsMinimumDistance = 2
	hint := ""
	if near := cmd.SuggestionsFor(word); len(near) > 0 {
		hint = "; did you mean " + strings.Join(near, " or ") + "?"
	}
	return spec.Errorf(spec.CodeInvalid, "unknown command %q for %q%s (see %s --help)", word, cmd.CommandPath(), hint, cmd.CommandPath())
}

// formats is the annotation of verbs that heed -o.
const formats = "formats"

// withOutput marks a verb as one that heeds -o.
func withOutput(cmd *cobra.Command) *cobra.Command {
	if cmd.Annotations == nil {
		cmd.Annotations = map[string]string{}
	}
	cmd.Annotations[formats] = "yes"
	return cmd
}
