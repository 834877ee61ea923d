package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"dhow.dev/dhow/cmd/internal/await"
	"dhow.dev/dhow/cmd/internal/output"
	"dhow.dev/dhow/internal/client"
	dhowv1 "dhow.dev/dhow/proto/dhow/v1"
	"dhow.dev/dhow/proto/spec"
)

// awaited is what the await package's judges have in common.
type awaited interface {
	Reset()
	Observe(e *dhowv1.WatchEvent)
	Progress() await.Progress
}

// againEvery is how often progress is brought up to date when nothing happens.
const againEvery = 200 * time.Millisecond

// waiter follows several judges over one watch and shows their progress.
type waiter struct {
	app     *app
	pending []awaited
	// Closed when the watch has sent what was there: the connection stands.
	synced chan struct{}
	all    []awaited
	events chan *dhowv1.WatchResponse
	resets chan struct{}
	broken chan error
}

// startWait opens the watch at once, in the background.
func (a *app) startWait(ctx context.Context, c *client.Client, sels []*dhowv1.Selector, judges ...awaited) *waiter {
	w := &waiter{
		app: a, all: judges, synced: make(chan struct{}),
		events: make(chan *dhowv1.WatchResponse, 16), resets: make(chan struct{}), broken: make(chan error, 1),
	}
	go w.read(ctx, c, sels)
	return w
}

// read hands the stream's messages over.
func (w *waiter) read(ctx context.Context, c *client.Client, sels []*dhowv1.Selector) {
	synced := false
	w.broken <- follow(ctx, c, 0, watcher{
		reset: func() {
			select {
			case w.resets <- struct{}{}:
			case <-ctx.Done():
			}
		},
		take: func(m *dhowv1.WatchResponse) (bool, error) {
			if m.GetSynced() && !synced {
				synced = true
				close(w.synced)
			}
			select {
			case w.events <- m:
				return false, nil
			case <-ctx.Done():
				return true, ctx.Err()
			}
		},
	}, sels...)
}

// ready waits until the watch stands, or cannot.
func (w *waiter) ready(ctx context.Context) error {
	for {
		select {
		case <-w.synced:
			return nil
		case m := <-w.events: // more than the buffer holds
			w.observe(m)
		case err := <-w.broken:
			return timedOut(ctx, err)
		case <-ctx.Done():
			return timedOut(ctx, ctx.Err())
		}
	}
}

func (w *waiter) observe(m *dhowv1.WatchResponse) {
	for _, e := range m.GetEvents() {
		for _, j := range w.all {
			j.Observe(e)
		}
	}
}

// run returns when all judges are content, or the first has failed.
func (w *waiter) run(ctx context.Context) error {
	line := w.app.progress()
	defer line.Clear()
	// What is shown at most so often must be shown at last.
	again := time.NewTicker(againEvery)
	defer again.Stop()
	w.pending = slices.Clone(w.all)
	for {
		texts, blockers, err := w.judge()
		if err != nil || len(w.pending) == 0 {
			return err
		}
		line.Update(strings.Join(texts, " · "))
		select {
		case m := <-w.events:
			w.observe(m)
		case <-again.C:
		case <-w.resets:
			for _, j := range w.all {
				j.Reset()
			}
		case err := <-w.broken:
			// The server knows the deadline too, and may be first to see it pass.
			if ctx.Err() == nil && spec.CodeOf(err) != spec.CodeTimeout {
				return err
			}
			return w.late(ctx, texts, blockers)
		case <-ctx.Done():
			return w.late(ctx, texts, blockers)
		}
	}
}

// judge drops those that are content.
func (w *waiter) judge() (texts, blockers []string, err error) {
	const shown = 4
	w.pending = slices.DeleteFunc(w.pending, func(j awaited) bool {
		p := j.Progress()
		if p.Err != nil && err == nil {
			err = p.Err
		}
		if p.Done || err != nil {
			return p.Done
		}
		if len(texts) < shown {
			texts = append(texts, p.Line)
		} else if len(texts) == shown {
			texts = append(texts, "…")
		}
		if p.Blocker != "" && !strings.Contains(p.Line, p.Blocker) {
			blockers = append(blockers, p.Blocker)
		}
		return false
	})
	return texts, blockers, err
}

// late says what was not done in time, and why.
func (w *waiter) late(ctx context.Context, texts, blockers []string) error {
	if err := ctx.Err(); err != nil && !errors.Is(err, context.DeadlineExceeded) {
		return err
	}
	limit := waitTimeout
	if w.app.global.timeout.given {
		limit = w.app.global.timeout.d
	}
	msg := fmt.Sprintf("not done after %s: %s", limit, strings.Join(texts, "; "))
	if len(blockers) > 0 {
		msg += ": " + blockers[0]
	}
	return spec.Errorf(spec.CodeTimeout, "%s", msg)
}

// selectorsFor watches workloads and their instances: each by itself while
// there are few, else all of their namespaces.
func selectorsFor(workloads []*dhowv1.Meta) []*dhowv1.Selector {
	const few = 16 // two selectors each, and a watch takes 32
	var out []*dhowv1.Selector
	seen := map[string]bool{}
	for _, m := range workloads {
		ns, name := m.GetNamespace(), m.GetName()
		if len(workloads) > few {
			if seen[ns] {
				continue
			}
			seen[ns], name = true, ""
		}
		out = append(out,
			&dhowv1.Selector{Kind: dhowv1.Kind_KIND_WORKLOAD, Namespace: ns, Name: name},
			&dhowv1.Selector{Kind: dhowv1.Kind_KIND_INSTANCE, Namespace: ns, Workload: name})
	}
	if len(out) > 2*few {
		return []*dhowv1.Selector{{Kind: dhowv1.Kind_KIND_WORKLOAD}, {Kind: dhowv1.Kind_KIND_INSTANCE}}
	}
	return out
}

// narrow lets a judge see one workload only, where a watch covers several.
type narrow struct {
	*await.Rollout
	namespace, name string
}

// Observe implements awaited.
func (n narrow) Observe(e *dhowv1.WatchEvent) {
	m := spec.MetaOf(e.GetObject())
	if m.GetNamespace() != n.namespace {
		return
	}
	if w := e.GetObject().GetWorkload(); w != nil && w.GetMeta().GetName() != n.name {
		return
	}
	if i := e.GetObject().GetInstance(); i != nil && i.GetSpec().GetWorkload() != n.name {
		return
	}
	n.Rollout.Observe(e)
}

// outcome says what became of an object: workload/web created.
func (a *app) outcome(o *dhowv1.Object, out dhowv1.Outcome, dry bool) error {
	if !a.format.Table() {
		return output.Objects(a.stdout, a.format, true, []*dhowv1.Object{o})
	}
	word := outcomeWord(out)
	suffix := ""
	if dry {
		suffix = " (dry run)"
	}
	hue := output.Good
	if out == dhowv1.Outcome_OUTCOME_UNCHANGED {
		hue = output.Plain
	}
	_, err := fmt.Fprintf(a.stdout, "%s %s%s\n", output.Name(o), a.style.Paint(hue, word), suffix)
	return err
}

func outcomeWord(o dhowv1.Outcome) string {
	switch o {
	case dhowv1.Outcome_OUTCOME_CREATED:
		return "created"
	case dhowv1.Outcome_OUTCOME_CHANGED:
		return "changed"
	case dhowv1.Outcome_OUTCOME_UNCHANGED:
		return "unchanged"
	case dhowv1.Outcome_OUTCOME_DELETED:
		return "deleted"
	case dhowv1.Outcome_OUTCOME_UNSPECIFIED:
	}
	return "done"
}
