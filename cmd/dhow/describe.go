package main

import (
	"context"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"dhow.dev/dhow/cmd/internal/manifest"
	"dhow.dev/dhow/cmd/internal/output"
	"dhow.dev/dhow/internal/client"
	dhowv1 "dhow.dev/dhow/proto/dhow/v1"
	"dhow.dev/dhow/proto/spec"
)

func describeCmd(a *app) *cobra.Command {
	return &cobra.Command{
		Use:               "describe KIND NAME... | KIND/NAME... | WORKLOAD|INSTANCE",
		Short:             "Show all about an object: what it is, what belongs to it, what happened",
		Args:              args(1, -1, "what to describe"),
		ValidArgsFunction: a.completeKindsAndNames,
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := a.client()
			if err != nil {
				return err
			}
			ctx, cancel := a.within(cmd.Context(), answerTimeout)
			defer cancel()
			objs, err := a.toDescribe(ctx, cmd, c, args)
			if err != nil {
				return err
			}
			for i, o := range objs {
				if i > 0 {
					_, _ = fmt.Fprintln(a.stdout)
				}
				if err := a.describe(ctx, c, o); err != nil {
					return err
				}
			}
			return nil
		},
	}
}

func (a *app) toDescribe(ctx context.Context, cmd *cobra.Command, c *client.Client, args []string) ([]*dhowv1.Object, error) {
	kind, names, err := parseRefs(args)
	switch {
	case err != nil && len(args) == 1 && !strings.Contains(args[0], "/"):
		o, err := a.workloadOrInstance(ctx, c, args[0])
		return []*dhowv1.Object{o}, err
	case err != nil:
		return nil, err
	case len(names) == 0:
		return nil, usagef(cmd, "say which %s", spec.KindName(kind))
	}
	objs, missing, err := a.getNamed(ctx, c, kind, names)
	if err == nil && len(missing) > 0 {
		err = missing[0]
	}
	return objs, err
}

// describe prints the object as YAML, which is complete and can be applied,
// under a line for people, then what belongs to it.
func (a *app) describe(ctx context.Context, c *client.Client, o *dhowv1.Object) error {
	a.heading(output.Name(o), a.statusOf(o))
	if err := manifest.WriteYAML(a.stdout, o); err != nil {
		return err
	}
	m := spec.MetaOf(o)
	var sel *dhowv1.Selector
	switch spec.KindOf(o) {
	case dhowv1.Kind_KIND_WORKLOAD:
		sel = &dhowv1.Selector{Kind: dhowv1.Kind_KIND_INSTANCE, Namespace: m.GetNamespace(), Workload: m.GetName()}
	case dhowv1.Kind_KIND_NODE:
		sel = &dhowv1.Selector{Kind: dhowv1.Kind_KIND_INSTANCE, Node: m.GetName()}
	case dhowv1.Kind_KIND_INSTANCE:
		a.describeUsage(ctx, c, o.GetInstance())
	default:
	}
	if sel != nil {
		objs, err := list(ctx, c, sel)
		if err != nil {
			return err
		}
		if err := a.section("instances", sel.GetKind(), objs); err != nil {
			return err
		}
	}
	return a.describeEvents(ctx, c, o)
}

// describeUsage says what a running instance uses, if its node says so.
func (a *app) describeUsage(ctx context.Context, c *client.Client, i *dhowv1.Instance) {
	if i.GetStatus().GetState() != dhowv1.InstanceState_INSTANCE_STATE_RUNNING {
		return
	}
	m := i.GetMeta()
	res, err := c.Usage.Usage(ctx, &dhowv1.UsageRequest{Namespace: m.GetNamespace(), Instance: m.GetName()})
	_, _ = fmt.Fprintln(a.stdout, "\nusage:")
	for _, s := range res.GetSilent() {
		err = spec.Errorf(spec.CodeUnavailable, "%s", s.GetMessage())
	}
	if err != nil {
		_, _ = fmt.Fprintf(a.stdout, "not known: %s\n", output.Clean(err.Error()))
		return
	}
	for _, u := range res.GetInstances() {
		for _, line := range output.TaskUsages(u) {
			_, _ = fmt.Fprintln(a.stdout, output.Clean(line))
		}
	}
}

func (a *app) heading(name string, status output.Cell) {
	_, _ = fmt.Fprintf(a.stdout, "%s: %s\n\n", name, a.style.Paint(status.Hue, output.Clean(status.Text)))
}

func (a *app) statusOf(o *dhowv1.Object) output.Cell {
	cell, message := output.Cell{Text: "there"}, ""
	switch k := o.GetKind().(type) {
	case *dhowv1.Object_Workload:
		cell, message = output.WorkloadStatus(k.Workload), k.Workload.GetStatus().GetMessage()
		cell.Text += ", " + output.WorkloadReady(k.Workload).Text
	case *dhowv1.Object_Instance:
		cell, message = output.InstanceStatus(k.Instance), output.InstanceMessage(k.Instance)
	case *dhowv1.Object_Node:
		cell, message = output.NodeStatus(k.Node), k.Node.GetLiveness().GetMessage()
	default:
	}
	if message != "" {
		cell.Text += ": " + message
	}
	return cell
}

func (a *app) section(title string, kind dhowv1.Kind, objs []*dhowv1.Object) error {
	if len(objs) == 0 {
		return nil
	}
	_, _ = fmt.Fprintf(a.stdout, "\n%s:\n", title)
	order(kind, objs)
	t := output.NewObjectTable(a.stdout, a.style, kind, true, false, a.now)
	for _, o := range objs {
		t.Add(o, false)
	}
	return t.Flush()
}

// describeEvents lists what happened to the object, and to a workload's
// instances.
func (a *app) describeEvents(ctx context.Context, c *client.Client, o *dhowv1.Object) error {
	m := spec.MetaOf(o)
	sel := &dhowv1.Selector{Kind: dhowv1.Kind_KIND_EVENT, Namespace: m.GetNamespace()}
	workload := spec.KindOf(o) == dhowv1.Kind_KIND_WORKLOAD
	if workload {
		sel.Workload = m.GetName()
	} else if i := o.GetInstance(); i != nil {
		sel.Workload = i.GetSpec().GetWorkload()
	}
	all, err := list(ctx, c, sel)
	if err != nil {
		return err
	}
	var objs []*dhowv1.Object
	for _, e := range all {
		r := e.GetEvent().GetRegarding()
		if workload || (r.GetKind() == spec.KindOf(o) && r.GetName() == m.GetName()) {
			objs = append(objs, e)
		}
	}
	return a.section("events", dhowv1.Kind_KIND_EVENT, objs)
}
