package main

import (
	"context"
	"fmt"
	"slices"

	"github.com/spf13/cobra"

	"dhow.dev/dhow/cmd/internal/await"
	"dhow.dev/dhow/cmd/internal/manifest"
	"dhow.dev/dhow/internal/client"
	dhowv1 "dhow.dev/dhow/proto/dhow/v1"
	"dhow.dev/dhow/proto/spec"
)

// deleteFlags are delete's.
type deleteFlags struct {
	files              []string
	dry, ignoreMissing bool
	wait               waitFlags
}

func deleteCmd(a *app) *cobra.Command {
	var f deleteFlags
	cmd := &cobra.Command{
		Use:   "delete KIND NAME... | KIND/NAME... | -f FILE",
		Short: "Delete objects, all or none",
		Long: `Delete objects, all or none. A workload's instances are stopped. Deleting an
instance stops it; the workload it belongs to gets a new one in its place.`,
		Aliases:           []string{"rm"},
		ValidArgsFunction: a.completeKindsAndNames,
		RunE: func(cmd *cobra.Command, args []string) error {
			wait, err := f.wait.wanted(cmd, a)
			if err != nil {
				return err
			}
			c, err := a.client()
			if err != nil {
				return err
			}
			refs, err := a.refsToDelete(cmd, f.files, args)
			if err != nil {
				return err
			}
			ctx, cancel := a.within(cmd.Context(), waitTimeout)
			defer cancel()
			return a.delete(ctx, c, refs, &f, wait && !f.dry)
		},
	}
	fileFlag(cmd, &f.files)
	cmd.Flags().BoolVar(&f.dry, "dry-run", false, "say what would be deleted, and delete nothing")
	cmd.Flags().BoolVar(&f.ignoreMissing, "ignore-not-found", false, "what is not there is no error")
	f.wait.add(cmd, "the instances of deleted workloads have ended")
	return cmd
}

func (a *app) refsToDelete(cmd *cobra.Command, files, args []string) ([]*dhowv1.Ref, error) {
	if (len(files) > 0) == (len(args) > 0) {
		return nil, usagef(cmd, "say what to delete: KIND NAME..., KIND/NAME..., or -f FILE")
	}
	var refs []*dhowv1.Ref
	if len(files) > 0 {
		docs, err := manifest.Load(files, a.stdin)
		if err != nil {
			return nil, err
		}
		// What was created first goes last: a namespace after its workloads.
		for _, d := range slices.Backward(docs) {
			m := spec.MetaOf(d.Object)
			if m.GetName() == "" {
				return nil, d.Locate(&spec.Error{Code: spec.CodeInvalid, Path: "metadata.name", Message: "is missing"})
			}
			ref := a.ref(spec.KindOf(d.Object), m.GetName())
			if m.GetNamespace() != "" {
				ref.Namespace = m.GetNamespace()
			}
			refs = append(refs, ref)
		}
		return refs, nil
	}
	kind, names, err := parseRefs(args)
	if err == nil && len(names) == 0 {
		err = usagef(cmd, "say which %ss: at least one name is needed", spec.KindName(kind))
	}
	for _, n := range names {
		refs = append(refs, a.ref(kind, n))
	}
	return refs, err
}

func (a *app) delete(ctx context.Context, c *client.Client, refs []*dhowv1.Ref, f *deleteFlags, wait bool) error {
	if f.ignoreMissing || wait {
		var there []*dhowv1.Ref
		for _, r := range refs {
			o, err := getObject(ctx, c, r)
			if f.ignoreMissing && spec.CodeOf(err) == spec.CodeNotFound {
				continue
			}
			if err != nil {
				return err
			}
			there = append(there, spec.RefOf(o))
		}
		if refs = there; len(refs) == 0 {
			return nil
		}
	}
	res, err := c.Objects.Delete(ctx, &dhowv1.DeleteRequest{Refs: refs, DryRun: f.dry})
	if err != nil {
		return timedOut(ctx, err)
	}
	suffix := ""
	if f.dry {
		suffix = " (dry run)"
	}
	for i, r := range refs {
		if _, err := fmt.Fprintf(a.stdout, "%s/%s %s%s\n", spec.KindName(r.GetKind()), r.GetName(), outcomeWord(res.GetOutcomes()[i]), suffix); err != nil {
			return err
		}
	}
	if !wait {
		return nil
	}
	var judges []awaited
	var metas []*dhowv1.Meta
	for _, r := range refs {
		if r.GetKind() == dhowv1.Kind_KIND_WORKLOAD {
			judges = append(judges, await.NewGone(r.GetName(), r.GetUid()))
			metas = append(metas, &dhowv1.Meta{Namespace: r.GetNamespace(), Name: r.GetName()})
		}
	}
	if len(judges) == 0 {
		return nil
	}
	w := a.startWait(ctx, c, selectorsFor(metas), judges...)
	if err := w.ready(ctx); err != nil {
		return err
	}
	return w.run(ctx)
}
