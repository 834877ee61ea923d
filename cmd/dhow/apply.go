package main

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"dhow.dev/dhow/cmd/internal/await"
	"dhow.dev/dhow/cmd/internal/manifest"
	"dhow.dev/dhow/cmd/internal/output"
	"dhow.dev/dhow/internal/client"
	dhowv1 "dhow.dev/dhow/proto/dhow/v1"
	"dhow.dev/dhow/proto/spec"
)

func applyCmd(a *app) *cobra.Command {
	var files []string
	var dry bool
	var wait waitFlags
	cmd := withOutput(&cobra.Command{
		Use:   "apply -f FILE|DIR|-",
		Short: "Make the cluster as manifests say",
		Long: `Make the cluster as manifests say: create what is missing, change what differs,
all or nothing. A directory stands for its *.yaml, *.yml and *.json files.
Modules that manifests name as files are uploaded when the cluster lacks them.`,
		Args: args(0, 0, ""),
		RunE: func(cmd *cobra.Command, _ []string) error {
			waiting, err := wait.wanted(cmd, a)
			if err != nil {
				return err
			}
			set, err := a.load(cmd, files)
			if err != nil {
				return err
			}
			ctx, cancel := a.within(cmd.Context(), waitTimeout)
			defer cancel()
			return set.apply(ctx, a, dry, waiting && !dry)
		},
	})
	fileFlag(cmd, &files)
	cmd.Flags().BoolVar(&dry, "dry-run", false, "say what would be done, and change nothing")
	wait.add(cmd, "all workloads run")
	return cmd
}

func fileFlag(cmd *cobra.Command, files *[]string) {
	cmd.Flags().StringArrayVarP(files, "filename", "f", nil, "manifest, directory of manifests, or - for standard input (repeatable)")
}

// set is the documents of one command, complete and checked.
type set struct {
	c       *client.Client
	docs    []*manifest.Document
	modules []module
}

// load reads manifests, finds the digests of the modules they name, and checks
// all there is to check on this side.
func (a *app) load(cmd *cobra.Command, files []string) (*set, error) {
	if len(files) == 0 {
		return nil, usagef(cmd, "-f is missing: say which manifest, directory, or -")
	}
	docs, err := manifest.Load(files, a.stdin)
	if err != nil {
		return nil, err
	}
	s := &set{docs: docs}
	if s.c, err = a.client(); err != nil {
		return nil, err
	}
	var errs []error
	for _, d := range docs {
		if err := s.complete(a, d); err != nil {
			errs = append(errs, d.Locate(err))
		}
	}
	return s, errors.Join(errs...)
}

// complete fills in digests, namespace and defaults, and validates.
func (s *set) complete(a *app, d *manifest.Document) error {
	for _, m := range d.Modules {
		hashed, err := hashModule(m.Path, useOfSource(d.Object, m.Source))
		if err != nil {
			return &spec.Error{Code: spec.CodeInvalid, Path: m.Field, Message: err.Error()}
		}
		m.Source.Artifact = hashed.digest
		s.modules = append(s.modules, hashed)
	}
	if m := spec.MetaOf(d.Object); m != nil && spec.Namespaced(spec.KindOf(d.Object)) {
		switch {
		case m.GetNamespace() == "":
			m.Namespace = a.namespace()
		case a.namespaceGiven && m.GetNamespace() != a.global.namespace:
			return &spec.Error{Code: spec.CodeInvalid, Path: "metadata.namespace", Message: fmt.Sprintf("is %q, but --namespace says %q", m.GetNamespace(), a.global.namespace)}
		}
	}
	spec.Default(d.Object)
	return spec.Validate(d.Object)
}

func (s *set) objects() []*dhowv1.Object {
	out := make([]*dhowv1.Object, len(s.docs))
	for i, d := range s.docs {
		out[i] = d.Object
	}
	return out
}

func (s *set) apply(ctx context.Context, a *app, dry, wait bool) error {
	var metas []*dhowv1.Meta
	var judges []awaited
	rollouts := map[int]*await.Rollout{}
	for i, d := range s.docs {
		if m := d.Object.GetWorkload().GetMeta(); m != nil && wait {
			rollouts[i] = await.NewRollout(m.GetName())
			judges = append(judges, narrow{rollouts[i], m.GetNamespace(), m.GetName()})
			metas = append(metas, m)
		}
	}
	var waiting *waiter
	if len(judges) > 0 {
		waiting = a.startWait(ctx, s.c, selectorsFor(metas), judges...)
	}
	start := a.now()
	if err := connected(ctx, waiting); err != nil {
		return err
	}
	objs, outcomes, err := s.send(ctx, a, dry)
	if err != nil {
		return err
	}
	if a.format.Table() {
		for i, o := range objs {
			if err := a.outcome(o, outcomes[i], dry); err != nil {
				return err
			}
		}
	} else if err := output.Objects(a.stdout, a.format, len(objs) == 1, objs); err != nil {
		return err
	}
	if waiting == nil {
		return nil
	}
	for i, r := range rollouts {
		r.Target(objs[i].GetWorkload())
	}
	if err := waiting.run(ctx); err != nil {
		return rolloutError(err)
	}
	if a.format.Table() {
		_, err = fmt.Fprintf(a.stdout, "%s in %s\n", count(len(judges), "workload")+" as wanted", output.Elapsed(a.now().Sub(start)))
	}
	return err
}

func count(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return strconv.Itoa(n) + " " + what + "s"
}

// send uploads what is missing and applies. A dry run uploads nothing: what
// names a module that the cluster lacks is then judged on this side.
func (s *set) send(ctx context.Context, a *app, dry bool) ([]*dhowv1.Object, []dhowv1.Outcome, error) {
	if !dry {
		if err := a.upload(ctx, s.c, s.modules...); err != nil {
			return nil, nil, err
		}
	}
	res, err := s.c.Objects.Apply(ctx, &dhowv1.ApplyRequest{Objects: s.objects(), DryRun: dry})
	if err == nil {
		return res.GetObjects(), res.GetOutcomes(), nil
	}
	if dry && s.onlyModulesMissing(err) {
		return s.judge(ctx)
	}
	return nil, nil, s.locate(timedOut(ctx, err))
}

// onlyModulesMissing tells whether all that the server lacks are modules which
// a real run would upload.
func (s *set) onlyModulesMissing(err error) bool {
	if len(s.modules) == 0 {
		return false
	}
	for _, e := range spec.Errors(err) {
		if e.Code != spec.CodeNotFound || !strings.HasSuffix(e.Path, ".wasm.artifact") {
			return false
		}
	}
	return true
}

// judge compares with what is there.
func (s *set) judge(ctx context.Context) ([]*dhowv1.Object, []dhowv1.Outcome, error) {
	var outcomes []dhowv1.Outcome
	for _, o := range s.objects() {
		live, err := getObject(ctx, s.c, &dhowv1.Ref{Kind: spec.KindOf(o), Namespace: spec.MetaOf(o).GetNamespace(), Name: spec.MetaOf(o).GetName()})
		switch {
		case spec.CodeOf(err) == spec.CodeNotFound:
			outcomes = append(outcomes, dhowv1.Outcome_OUTCOME_CREATED)
		case err != nil:
			return nil, nil, err
		case written(live) == written(o):
			outcomes = append(outcomes, dhowv1.Outcome_OUTCOME_UNCHANGED)
		default:
			outcomes = append(outcomes, dhowv1.Outcome_OUTCOME_CHANGED)
		}
	}
	return s.objects(), outcomes, nil
}

// locate gives the server's errors the positions of the manifests.
func (s *set) locate(err error) error {
	var out []error
	for _, e := range spec.Errors(err) {
		doc, path := s.docs[0], e.Path
		if rest, ok := strings.CutPrefix(e.Path, "objects["); ok {
			index, tail, _ := strings.Cut(rest, "]")
			i, err := strconv.Atoi(index)
			if err != nil || i < 0 || i >= len(s.docs) {
				out = append(out, e)
				continue
			}
			doc, path = s.docs[i], strings.TrimPrefix(tail, ".")
		} else if e.Path == "" || len(s.docs) > 1 {
			out = append(out, e)
			continue
		}
		at := *e
		at.Path = path
		out = append(out, doc.Locate(&at))
	}
	return errors.Join(out...)
}
