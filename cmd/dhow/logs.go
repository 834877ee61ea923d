package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/spf13/cobra"
	"google.golang.org/protobuf/types/known/timestamppb"

	"dhow.dev/dhow/internal/client"
	dhowv1 "dhow.dev/dhow/proto/dhow/v1"
	"dhow.dev/dhow/proto/spec"
)

// maxStreams is of how many instances output is read at once.
const maxStreams = 256

// logFlags are logs'.
type logFlags struct {
	follow, all, timestamps bool
	since, task             string
	tail                    uint32
}

func logsCmd(a *app) *cobra.Command {
	var f logFlags
	cmd := &cobra.Command{
		Use:   "logs INSTANCE|WORKLOAD",
		Short: "Show what an instance, or all of a workload's, have written",
		Example: `  dhow logs web -f
  dhow logs web --all --since 10m
  dhow logs web-0-x7k2p --tail 20`,
		Args:              args(1, 1, "INSTANCE or WORKLOAD"),
		ValidArgsFunction: a.completeNames(dhowv1.Kind_KIND_WORKLOAD, dhowv1.Kind_KIND_INSTANCE),
		RunE: func(cmd *cobra.Command, args []string) error {
			limit := answerTimeout
			if f.follow {
				limit = 0
			}
			ctx, cancel := a.within(cmd.Context(), limit)
			defer cancel()
			err := a.logs(ctx, args[0], &f)
			if f.follow {
				return ended(ctx, err)
			}
			return timedOut(ctx, err)
		},
	}
	flags := cmd.Flags()
	flags.BoolVarP(&f.follow, "follow", "f", false, "go on as it is written")
	flags.BoolVar(&f.all, "all", false, "of all instances of the workload, each line with its instance in front")
	flags.BoolVar(&f.timestamps, "timestamps", false, "each line with its time in front")
	flags.StringVar(&f.since, "since", "", "only what is newer: 10m, or a time such as 2026-01-02T15:04:05Z")
	flags.Uint32Var(&f.tail, "tail", 0, "only the last so many lines (default: all)")
	flags.StringVar(&f.task, "task", "", "of this task only")
	return cmd
}

// query is what is asked of each instance's node.
func (f *logFlags) query(ref *dhowv1.Ref, now time.Time) (*dhowv1.LogQuery, error) {
	q := &dhowv1.LogQuery{Ref: ref, Task: f.task, Follow: f.follow, Tail: f.tail}
	if f.since == "" {
		return q, nil
	}
	if d, err := time.ParseDuration(f.since); err == nil && d >= 0 {
		q.Since = timestamppb.New(now.Add(-d))
		return q, nil
	}
	t, err := time.Parse(time.RFC3339, f.since)
	if err != nil {
		return nil, spec.Errorf(spec.CodeInvalid, "--since %q: want a duration such as 10m, or a time such as 2026-01-02T15:04:05Z", f.since)
	}
	q.Since = timestamppb.New(t)
	return q, nil
}

func (a *app) logs(ctx context.Context, name string, f *logFlags) error {
	if _, err := f.query(nil, a.now()); err != nil {
		return err
	}
	c, err := a.client()
	if err != nil {
		return err
	}
	o, err := a.workloadOrInstance(ctx, c, name)
	if err != nil {
		return err
	}
	out := &logWriter{w: a.stdout, timestamps: f.timestamps}
	if o.GetWorkload() == nil {
		return a.logsOf(ctx, c, spec.RefOf(o), f, func(l *dhowv1.LogLine) error { return out.write("", l) })
	}
	sel := &dhowv1.Selector{Kind: dhowv1.Kind_KIND_INSTANCE, Namespace: spec.MetaOf(o).GetNamespace(), Workload: spec.MetaOf(o).GetName()}
	if f.all && f.follow {
		return a.followAll(ctx, c, sel, f, out)
	}
	objs, err := list(ctx, c, sel)
	if err != nil {
		return err
	}
	objs = slices.DeleteFunc(objs, func(o *dhowv1.Object) bool { return o.GetInstance().GetSpec().GetNode() == "" })
	if len(objs) == 0 {
		return spec.Errorf(spec.CodeNotFound, "%s has no instance on any node yet: dhow why %s", name, name)
	}
	if f.all {
		return a.mergeAll(ctx, c, objs, f, out)
	}
	one := slices.MaxFunc(objs, preferred)
	if n := len(slices.DeleteFunc(slices.Clone(objs), isStopped)); n > 1 {
		_, _ = fmt.Fprintf(a.stderr, "%s has %d instances; this is %s (--all shows all)\n", name, n, spec.MetaOf(one).GetName())
	}
	return a.logsOf(ctx, c, spec.RefOf(one), f, func(l *dhowv1.LogLine) error { return out.write("", l) })
}

// preferred sorts instances by what someone who names the workload wants to
// see: running ones first, then the newest.
func preferred(x, y *dhowv1.Object) int {
	run := func(o *dhowv1.Object) int {
		if o.GetInstance().GetStatus().GetState() == dhowv1.InstanceState_INSTANCE_STATE_RUNNING {
			return 1
		}
		return 0
	}
	if d := run(x) - run(y); d != 0 {
		return d
	}
	if d := spec.MetaOf(x).GetCreatedAt().AsTime().Compare(spec.MetaOf(y).GetCreatedAt().AsTime()); d != 0 {
		return d
	}
	return strings.Compare(spec.MetaOf(y).GetName(), spec.MetaOf(x).GetName())
}

// logsOf reads one instance's lines.
func (a *app) logsOf(ctx context.Context, c *client.Client, ref *dhowv1.Ref, f *logFlags, take func(*dhowv1.LogLine) error) error {
	q, err := f.query(ref, a.now())
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stream, err := c.Logs.Logs(ctx, &dhowv1.LogsRequest{Query: q})
	if err != nil {
		return err
	}
	defer func() { _ = stream.Close() }()
	for stream.Receive() {
		for _, l := range stream.Msg().GetLines() {
			if err := take(l); err != nil {
				return err
			}
		}
	}
	return stream.Err()
}

// mergeAll prints several instances' lines in the order of their times. Only
// the first line of each is held at a time.
func (a *app) mergeAll(ctx context.Context, c *client.Client, objs []*dhowv1.Object, f *logFlags, out *logWriter) error {
	if len(objs) > maxStreams {
		return spec.Errorf(spec.CodeInvalid, "there are %d instances; --all shows at most %d at once: name one", len(objs), maxStreams)
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	type source struct {
		prefix string
		lines  chan *dhowv1.LogLine
		head   *dhowv1.LogLine
		err    error
	}
	sources := make([]*source, len(objs))
	for i, o := range objs {
		s := &source{prefix: a.prefix(i, spec.MetaOf(o).GetName()), lines: make(chan *dhowv1.LogLine, 64)}
		sources[i] = s
		go func() {
			defer close(s.lines)
			s.err = a.logsOf(ctx, c, spec.RefOf(o), f, func(l *dhowv1.LogLine) error {
				select {
				case s.lines <- l:
					return nil
				case <-ctx.Done():
					return ctx.Err()
				}
			})
		}()
	}
	var errs []error
	for {
		var first *source
		for _, s := range sources {
			if s.head == nil && s.lines != nil {
				line, ok := <-s.lines
				if s.head = line; !ok {
					s.lines = nil
					errs = append(errs, s.err)
				}
			}
			if s.head != nil && (first == nil || s.head.GetTime().AsTime().Before(first.head.GetTime().AsTime())) {
				first = s
			}
		}
		if first == nil {
			return errors.Join(errs...)
		}
		if err := out.write(first.prefix, first.head); err != nil {
			return err
		}
		first.head = nil
	}
}

// followAll prints lines as they come, also of instances that come later.
func (a *app) followAll(ctx context.Context, c *client.Client, sel *dhowv1.Selector, f *logFlags, out *logWriter) error {
	ctx, cancel := context.WithCancel(ctx)
	var group sync.WaitGroup
	defer group.Wait()
	defer cancel()
	begun := map[string]bool{}
	later := *f
	return follow(ctx, c, 0, watcher{
		reset: func() {},
		take: func(m *dhowv1.WatchResponse) (bool, error) {
			for _, e := range m.GetEvents() {
				i := e.GetObject().GetInstance()
				uid := i.GetMeta().GetUid()
				// What ends before it was seen to run is read, too: that is
				// when its output matters most.
				if begun[uid] || i.GetSpec().GetNode() == "" || i.GetStatus().GetState() < dhowv1.InstanceState_INSTANCE_STATE_STARTING {
					continue
				}
				if len(begun) >= maxStreams {
					return true, spec.Errorf(spec.CodeInvalid, "more than %d instances: name one", maxStreams)
				}
				prefix := a.prefix(len(begun), i.GetMeta().GetName())
				begun[uid] = true
				flags := later
				group.Go(func() {
					err := a.logsOf(ctx, c, spec.RefOf(e.GetObject()), &flags, func(l *dhowv1.LogLine) error { return out.write(prefix, l) })
					if err != nil && ctx.Err() == nil {
						a.errorf("%s: %v", i.GetMeta().GetName(), err)
					}
				})
			}
			if m.GetSynced() {
				later.tail, later.since = 0, "" // of new ones, all
			}
			return false, nil
		},
	}, sel)
}

// prefix is an instance's name in a colour of its own.
func (a *app) prefix(i int, name string) string { return a.style.Prefix(i, name) + " | " }

// logWriter writes lines whole, from many goroutines.
type logWriter struct {
	mu         sync.Mutex
	w          io.Writer
	timestamps bool
	buf        []byte
}

func (w *logWriter) write(prefix string, l *dhowv1.LogLine) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.buf = append(w.buf[:0], prefix...)
	if w.timestamps {
		w.buf = l.GetTime().AsTime().AppendFormat(w.buf, "2006-01-02T15:04:05.000000Z07:00 ")
	}
	w.buf = append(w.buf, l.GetText()...)
	w.buf = append(w.buf, '\n')
	_, err := w.w.Write(w.buf)
	return err
}
