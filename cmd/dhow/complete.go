package main

import (
	"context"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"google.golang.org/protobuf/reflect/protoreflect"

	"dhow.dev/dhow/cmd/internal/manifest"
	"dhow.dev/dhow/cmd/internal/output"
	"dhow.dev/dhow/cmd/internal/settings"
	dhowv1 "dhow.dev/dhow/proto/dhow/v1"
	"dhow.dev/dhow/proto/spec"
)

// completeTimeout is how long a shell is kept waiting.
const completeTimeout = 500 * time.Millisecond

// most is how many names a shell is offered.
const most = 500

// names asks the cluster for the names of a kind's objects. A shell gets no
// errors: what cannot be had is not offered.
func (a *app) names(cmd *cobra.Command, kind dhowv1.Kind) []string {
	if settings.Load(cmd.Root().PersistentFlags(), "", os.LookupEnv) != nil {
		return nil
	}
	c, err := a.client()
	if err != nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(cmd.Root().Context(), completeTimeout)
	defer cancel()
	sel := &dhowv1.Selector{Kind: kind}
	if spec.Namespaced(kind) {
		sel.Namespace = a.namespace()
	}
	res, err := c.Objects.List(ctx, &dhowv1.ListRequest{Selector: sel, Limit: most, Stale: true})
	if err != nil {
		return nil
	}
	var out []string
	for _, o := range res.GetObjects() {
		out = append(out, spec.MetaOf(o).GetName())
	}
	return out
}

type completer = func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective)

// completeNames offers names of objects of the kinds.
func (a *app) completeNames(kinds ...dhowv1.Kind) completer {
	return func(cmd *cobra.Command, args []string, word string) ([]string, cobra.ShellCompDirective) {
		var out []string
		for _, k := range kinds {
			out = append(out, a.names(cmd, k)...)
		}
		return matching(out, word, args), cobra.ShellCompDirectiveNoFileComp
	}
}

// completeKindsAndNames offers kinds first, then names; or names after KIND/.
func (a *app) completeKindsAndNames(cmd *cobra.Command, args []string, word string) ([]string, cobra.ShellCompDirective) {
	const quiet = cobra.ShellCompDirectiveNoFileComp
	if typed, _, slash := strings.Cut(word, "/"); slash {
		kind, err := parseKind(typed)
		if err != nil {
			return nil, quiet
		}
		names := a.names(cmd, kind)
		for i := range names {
			names[i] = typed + "/" + names[i]
		}
		return matching(names, word, args), quiet
	}
	if len(args) == 0 {
		var out []string
		for _, k := range kindWords() {
			out = append(out, k.words[1])
		}
		return matching(out, word, nil), quiet
	}
	kind, err := parseKind(args[0])
	if err != nil {
		return nil, quiet
	}
	return matching(a.names(cmd, kind), word, args[1:]), quiet
}

// matching keeps what begins with the word and was not given yet.
func matching(all []string, word string, given []string) []string {
	return slices.DeleteFunc(all, func(s string) bool {
		return !strings.HasPrefix(s, word) || slices.Contains(given, s)
	})
}

func (a *app) completeServers(cmd *cobra.Command, args []string, word string) ([]string, cobra.ShellCompDirective) {
	const quiet = cobra.ShellCompDirectiveNoFileComp
	if settings.Load(cmd.Root().PersistentFlags(), "", os.LookupEnv) != nil {
		return nil, quiet
	}
	c, err := a.client()
	if err != nil {
		return nil, quiet
	}
	ctx, cancel := context.WithTimeout(cmd.Root().Context(), completeTimeout)
	defer cancel()
	res, err := c.Cluster.Info(ctx, &dhowv1.InfoRequest{})
	if err != nil {
		return nil, quiet
	}
	var out []string
	for _, s := range res.GetServers() {
		out = append(out, s.GetName())
	}
	return matching(out, word, args), quiet
}

// completeFlags completes the values of the global flags.
func completeFlags(a *app, root *cobra.Command) {
	const quiet = cobra.ShellCompDirectiveNoFileComp
	register := func(flag string, f completer) { _ = root.RegisterFlagCompletionFunc(flag, f) }
	register("output", func(_ *cobra.Command, _ []string, word string) ([]string, cobra.ShellCompDirective) {
		return matching(output.Formats(), word, nil), quiet
	})
	register("namespace", a.completeNames(dhowv1.Kind_KIND_NAMESPACE))
	register("context", func(_ *cobra.Command, _ []string, word string) ([]string, cobra.ShellCompDirective) {
		return matching(a.contextNames(), word, nil), quiet
	})
	for _, f := range []string{"server", "token", "timeout"} {
		register(f, cobra.NoFileCompletions)
	}
}

// completeWords completes a flag with an enumeration's words.
func completeWords(cmd *cobra.Command, flag string, d protoreflect.EnumDescriptor) {
	_ = cmd.RegisterFlagCompletionFunc(flag, func(_ *cobra.Command, _ []string, word string) ([]string, cobra.ShellCompDirective) {
		return matching(manifest.Words(d), word, nil), cobra.ShellCompDirectiveNoFileComp
	})
}
