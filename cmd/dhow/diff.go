package main

import (
	"context"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"dhow.dev/dhow/cmd/internal/diff"
	"dhow.dev/dhow/cmd/internal/manifest"
	"dhow.dev/dhow/cmd/internal/output"
	dhowv1 "dhow.dev/dhow/proto/dhow/v1"
	"dhow.dev/dhow/proto/spec"
)

func diffCmd(a *app) *cobra.Command {
	var files []string
	cmd := &cobra.Command{
		Use:   "diff -f FILE|DIR|-",
		Short: "Show what apply would change; exits 1 when there is something",
		Args:  args(0, 0, ""),
		RunE: func(cmd *cobra.Command, _ []string) error {
			set, err := a.load(cmd, files)
			if err != nil {
				return err
			}
			ctx, cancel := a.within(cmd.Context(), answerTimeout)
			defer cancel()
			return set.diff(ctx, a)
		},
	}
	fileFlag(cmd, &files)
	return cmd
}

func (s *set) diff(ctx context.Context, a *app) error {
	differs := false
	for _, o := range s.objects() {
		ref := spec.RefOf(o)
		ref.Uid = ""
		live, err := getObject(ctx, s.c, ref)
		old := ""
		switch {
		case err == nil:
			old = written(live)
		case spec.CodeOf(err) != spec.CodeNotFound:
			return err
		}
		text := diff.Unified("cluster: "+output.Name(o), "manifest: "+output.Name(o), old, written(o))
		differs = differs || text != ""
		if err := a.printDiff(text); err != nil {
			return err
		}
	}
	if differs {
		return &exitError{exitFailed}
	}
	return nil
}

// written is the part of an object that users write, as YAML.
func written(o *dhowv1.Object) string {
	m := spec.MetaOf(o)
	meta := &dhowv1.Meta{Name: m.GetName(), Namespace: m.GetNamespace(), Labels: m.GetLabels(), Annotations: m.GetAnnotations()}
	var part *dhowv1.Object
	switch k := o.GetKind().(type) {
	case *dhowv1.Object_Workload:
		part = spec.Wrap(&dhowv1.Workload{Meta: meta, Spec: k.Workload.GetSpec()})
	case *dhowv1.Object_Node:
		part = spec.Wrap(&dhowv1.Node{Meta: meta, Spec: k.Node.GetSpec()})
	default:
		part = spec.Wrap(&dhowv1.Namespace{Meta: meta})
	}
	var b strings.Builder
	_ = manifest.WriteYAML(&b, part) // a Builder takes everything
	return b.String()
}

func (a *app) printDiff(text string) error {
	for line := range strings.Lines(text) {
		hue := output.Plain
		switch line[0] {
		case '+':
			hue = output.Good
		case '-':
			hue = output.Bad
		case '@':
			hue = output.Dim
		}
		if _, err := fmt.Fprintln(a.stdout, a.style.Paint(hue, strings.TrimSuffix(line, "\n"))); err != nil {
			return err
		}
	}
	return nil
}
