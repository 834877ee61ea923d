package main

import (
	"fmt"

	"github.com/spf13/cobra"
	"google.golang.org/protobuf/proto"

	"dhow.dev/dhow/cmd/internal/manifest"
	"dhow.dev/dhow/cmd/internal/output"
	dhowv1 "dhow.dev/dhow/proto/dhow/v1"
	"dhow.dev/dhow/proto/spec"
)

func whyCmd(a *app) *cobra.Command {
	return withOutput(&cobra.Command{
		Use:               "why INSTANCE|WORKLOAD",
		Short:             "Say, node by node, why an instance is where it is, or nowhere",
		Args:              args(1, 1, "INSTANCE or WORKLOAD"),
		ValidArgsFunction: a.completeNames(dhowv1.Kind_KIND_WORKLOAD, dhowv1.Kind_KIND_INSTANCE),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := a.client()
			if err != nil {
				return err
			}
			ctx, cancel := a.within(cmd.Context(), answerTimeout)
			defer cancel()
			o, err := a.workloadOrInstance(ctx, c, args[0])
			if err != nil {
				return err
			}
			res, err := c.Cluster.Why(ctx, &dhowv1.WhyRequest{Ref: spec.RefOf(o)})
			if err != nil {
				return timedOut(ctx, err)
			}
			return a.printWhy(args[0], res.GetExplanations())
		},
	})
}

func (a *app) printWhy(name string, all []*dhowv1.Explanation) error {
	switch a.format {
	case output.FormatJSON, output.FormatYAML:
		ms := make([]proto.Message, len(all))
		for i, e := range all {
			ms[i] = e
		}
		if a.format == output.FormatYAML {
			return manifest.WriteYAML(a.stdout, ms...)
		}
		return manifest.WriteJSON(a.stdout, true, ms...)
	case output.FormatName:
		for _, e := range all {
			if _, err := fmt.Fprintln(a.stdout, output.RefName(e.GetRef())); err != nil {
				return err
			}
		}
		return nil
	default:
	}
	if len(all) == 0 {
		_, err := fmt.Fprintf(a.stdout, "Nothing to explain: %s has no instances.\n", name)
		return err
	}
	for i, e := range all {
		if i > 0 {
			_, _ = fmt.Fprintln(a.stdout)
		}
		if err := a.printExplanation(e); err != nil {
			return err
		}
	}
	return nil
}

func (a *app) printExplanation(e *dhowv1.Explanation) error {
	head := output.Clean(e.GetSummary())
	if n := e.GetNode(); n != "" && head == "" {
		head = "on " + n
	}
	if _, err := fmt.Fprintf(a.stdout, "%s: %s\n", output.RefName(e.GetRef()), head); err != nil {
		return err
	}
	if len(e.GetRefusals()) == 0 {
		return nil
	}
	t := output.NewTable(a.stdout, a.style, true, output.Column{Name: "  NODE"}, output.Column{Name: "REFUSED BY"}, output.Column{Name: "WHY"})
	for _, r := range e.GetRefusals() {
		filter := output.Cell{Text: r.GetFilter(), Hue: output.Warn}
		if filter.Text == "" {
			filter = output.Cell{Text: "fits", Hue: output.Good}
		}
		t.Add(output.Cell{Text: "  " + r.GetNode()}, filter, output.Cell{Text: r.GetMessage()})
	}
	return t.Flush()
}
