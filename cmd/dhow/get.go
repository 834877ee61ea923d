package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"dhow.dev/dhow/cmd/internal/output"
	"dhow.dev/dhow/internal/client"
	dhowv1 "dhow.dev/dhow/proto/dhow/v1"
	"dhow.dev/dhow/proto/spec"
)

// getFlags are get's, and those of verbs like it.
type getFlags struct {
	all, watch     bool
	stopped        bool
	labels         []string
	workload, node string
}

func getCmd(a *app) *cobra.Command {
	var f getFlags
	cmd := withOutput(&cobra.Command{
		Use:   "get KIND [NAME...] | KIND/NAME...",
		Short: "List objects, or show some by name",
		Long: `List objects, or show some by name. Kinds: workloads (wl), instances (i),
nodes (no), events (ev), artifacts, namespaces (ns), revisions (rev), tokens.`,
		Example: `  dhow get workloads -A
  dhow get i --workload web -o wide
  dhow get wl/web -o yaml
  dhow get i -l team=shop -w`,
		Args:              args(1, -1, "KIND"),
		ValidArgsFunction: a.completeKindsAndNames,
		RunE: func(cmd *cobra.Command, args []string) error {
			kind, names, err := parseRefs(args)
			if err != nil {
				return err
			}
			return a.get(cmd.Context(), kind, names, &f)
		},
	})
	flags := cmd.Flags()
	flags.BoolVarP(&f.all, "all-namespaces", "A", false, "of all namespaces")
	flags.BoolVarP(&f.watch, "watch", "w", false, "go on and show changes")
	flags.StringArrayVarP(&f.labels, "selector", "l", nil, "only with these labels: a=b,c=d")
	flags.StringVar(&f.workload, "workload", "", "instances, revisions and events of this workload only")
	flags.StringVar(&f.node, "node", "", "instances on this node only")
	flags.BoolVar(&f.stopped, "stopped", false, "in tables, also instances that have stopped as they were told")
	return cmd
}

func (a *app) get(ctx context.Context, kind dhowv1.Kind, names []string, f *getFlags) error {
	c, err := a.client()
	if err != nil {
		return err
	}
	sel := &dhowv1.Selector{Kind: kind, Workload: f.workload, Node: f.node}
	if spec.Namespaced(kind) && !f.all {
		sel.Namespace = a.namespace()
	}
	if len(f.labels) > 0 {
		if sel.Labels, err = parsePairs("--selector", f.labels); err != nil {
			return err
		}
	}
	if f.watch {
		ctx, cancel := a.within(ctx, 0)
		defer cancel()
		return ended(ctx, a.getWatch(ctx, c, sel, names, f.all))
	}
	ctx, cancel := a.within(ctx, answerTimeout)
	defer cancel()
	var objs []*dhowv1.Object
	var missing []error
	if len(names) > 0 {
		objs, missing, err = a.getNamed(ctx, c, kind, names)
	} else {
		objs, err = list(ctx, c, sel)
		if !f.stopped && a.format.Table() {
			objs = slices.DeleteFunc(objs, isStopped)
		}
	}
	if err != nil {
		return err
	}
	if err := a.print(kind, objs, len(names) == 1, f.all); err != nil {
		return err
	}
	return errors.Join(missing...)
}

// isStopped tells of instances that were replaced, scaled away or deleted.
// They are kept for a while, for their output, and would crowd the tables.
func isStopped(o *dhowv1.Object) bool {
	return o.GetInstance().GetStatus().GetState() == dhowv1.InstanceState_INSTANCE_STATE_STOPPED
}

func (a *app) getNamed(ctx context.Context, c *client.Client, kind dhowv1.Kind, names []string) (objs []*dhowv1.Object, missing []error, err error) {
	for _, n := range names {
		o, err := getObject(ctx, c, a.ref(kind, n))
		switch {
		case spec.CodeOf(err) == spec.CodeNotFound:
			missing = append(missing, err)
		case err != nil:
			return nil, nil, err
		default:
			objs = append(objs, o)
		}
	}
	return objs, missing, nil
}

// print shows objects in the format asked for.
func (a *app) print(kind dhowv1.Kind, objs []*dhowv1.Object, single, namespaces bool) error {
	if !a.format.Table() {
		if len(objs) == 0 && single {
			return nil // an error says why
		}
		return output.Objects(a.stdout, a.format, single, objs)
	}
	if len(objs) == 0 {
		if !single {
			where := ""
			if spec.Namespaced(kind) && !namespaces {
				where = fmt.Sprintf(" in the namespace %s", a.namespace())
			}
			_, err := fmt.Fprintf(a.stderr, "No %ss%s.\n", spec.KindName(kind), where)
			return err
		}
		return nil
	}
	order(kind, objs)
	t := output.NewObjectTable(a.stdout, a.style, kind, a.format == output.FormatWide, namespaces, a.now)
	for _, o := range objs {
		t.Add(o, false)
	}
	return t.Flush()
}

// order sorts events by time; the rest comes sorted by name.
func order(kind dhowv1.Kind, objs []*dhowv1.Object) {
	if kind == dhowv1.Kind_KIND_EVENT {
		slices.SortStableFunc(objs, func(x, y *dhowv1.Object) int {
			return x.GetEvent().GetTime().AsTime().Compare(y.GetEvent().GetTime().AsTime())
		})
	}
}

// getWatch prints what is there, then each change.
func (a *app) getWatch(ctx context.Context, c *client.Client, sel *dhowv1.Selector, names []string, namespaces bool) error {
	t := output.NewObjectTable(a.stdout, a.style, sel.GetKind(), a.format == output.FormatWide, namespaces, a.now)
	var first []*dhowv1.Object
	synced := false
	seen := map[string]uint64{} // what a watch that began anew need not repeat
	show := func(o *dhowv1.Object, deleted bool) error {
		m := spec.MetaOf(o)
		if seen[m.GetUid()] == m.GetVersion() && m.GetVersion() != 0 && !deleted {
			return nil
		}
		if seen[m.GetUid()] = m.GetVersion(); deleted {
			delete(seen, m.GetUid())
		}
		if a.format.Table() {
			t.Add(o, deleted)
			return nil
		}
		return output.Objects(a.stdout, a.format, true, []*dhowv1.Object{o})
	}
	return follow(ctx, c, 0, watcher{
		reset: func() { first, synced = nil, false },
		take: func(m *dhowv1.WatchResponse) (bool, error) {
			for _, e := range m.GetEvents() {
				o := e.GetObject()
				if len(names) > 0 && !slices.Contains(names, spec.MetaOf(o).GetName()) {
					continue
				}
				if !synced {
					first = append(first, o)
				} else if err := show(o, e.GetType() == dhowv1.WatchEventType_WATCH_EVENT_TYPE_DELETE); err != nil {
					return true, err
				}
			}
			if m.GetSynced() && !synced {
				synced = true
				order(sel.GetKind(), first)
				for _, o := range first {
					if err := show(o, false); err != nil {
						return true, err
					}
				}
				first = nil
			}
			if synced && a.format.Table() {
				return false, t.Flush()
			}
			return false, nil
		},
	}, sel)
}

// ended: a verb that goes on until it is interrupted has then done its work.
func ended(ctx context.Context, err error) error {
	if errors.Is(ctx.Err(), context.Canceled) && errors.Is(err, context.Canceled) {
		return nil
	}
	return err
}

// workloadOrInstance finds what a name stands for: both are asked for at once.
func (a *app) workloadOrInstance(ctx context.Context, c *client.Client, arg string) (*dhowv1.Object, error) {
	if word, name, slash := strings.Cut(arg, "/"); slash {
		kind, err := parseKind(word)
		if err != nil {
			return nil, err
		}
		if kind != dhowv1.Kind_KIND_WORKLOAD && kind != dhowv1.Kind_KIND_INSTANCE {
			return nil, spec.Errorf(spec.CodeInvalid, "%s: want a workload or an instance", arg)
		}
		return getObject(ctx, c, a.ref(kind, name))
	}
	type answer struct {
		o   *dhowv1.Object
		err error
	}
	second := make(chan answer, 1)
	go func() {
		o, err := getObject(ctx, c, a.ref(dhowv1.Kind_KIND_INSTANCE, arg))
		second <- answer{o, err}
	}()
	o, err := getObject(ctx, c, a.ref(dhowv1.Kind_KIND_WORKLOAD, arg))
	i := <-second
	switch {
	case err == nil:
		return o, nil
	case i.err == nil:
		return i.o, nil
	case spec.CodeOf(err) == spec.CodeNotFound && spec.CodeOf(i.err) == spec.CodeNotFound:
		return nil, spec.Errorf(spec.CodeNotFound, "no workload and no instance named %q in the namespace %s", arg, a.namespace())
	case spec.CodeOf(err) == spec.CodeNotFound:
		return nil, i.err
	}
	return nil, err
}
