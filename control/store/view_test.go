package store_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"

	"dhow.dev/dhow/control/store"
	dhowv1 "dhow.dev/dhow/proto/dhow/v1"
	"dhow.dev/dhow/proto/spec"
)

func TestListUsesIndexes(t *testing.T) {
	n := fresh(t)
	n.do(put(instance("web", "web-0-a", "n1")), put(instance("web", "web-1-a", "n2")), put(instance("api", "api-0-a", "n1")),
		put(&dhowv1.Revision{Meta: meta("default", "web.1"), Workload: "web", Number: 1}),
		put(&dhowv1.Event{Meta: meta("default", "e1"), Regarding: ref(kindInstance, "default", "web-0-a")}),
		put(&dhowv1.Event{Meta: meta("default", "e2"), Regarding: ref(kindWorkload, "default", "api")}),
		put(&dhowv1.Event{Meta: meta("default", "e3"), Regarding: ref(dhowv1.Kind_KIND_REVISION, "default", "web.1")}))
	for _, c := range []struct {
		sel  *dhowv1.Selector
		want string
	}{
		{&dhowv1.Selector{Kind: kindInstance}, "api-0-a web-0-a web-1-a"},
		{&dhowv1.Selector{Kind: kindInstance, Namespace: "default", Workload: "web"}, "web-0-a web-1-a"},
		{&dhowv1.Selector{Kind: kindInstance, Workload: "web"}, "web-0-a web-1-a"},
		{&dhowv1.Selector{Kind: kindInstance, Node: "n1"}, "api-0-a web-0-a"},
		{&dhowv1.Selector{Kind: kindInstance, Node: "n1", Workload: "web"}, "web-0-a"},
		{&dhowv1.Selector{Kind: kindInstance, Node: "n"}, ""},
		{&dhowv1.Selector{Kind: dhowv1.Kind_KIND_EVENT, Namespace: "default", Workload: "web"}, "e1 e3"},
		{&dhowv1.Selector{Kind: dhowv1.Kind_KIND_REVISION, Namespace: "default", Workload: "web"}, "web.1"},
		{&dhowv1.Selector{Kind: kindInstance, Namespace: "other"}, ""},
		{&dhowv1.Selector{Kind: kindInstance, Namespace: "default", Name: "web-1-a"}, "web-1-a"},
		{&dhowv1.Selector{Kind: kindInstance, Name: "web-1-a"}, "web-1-a"},
	} {
		if got := strings.Join(n.names(c.sel), " "); got != c.want {
			t.Errorf("%v: got %q, want %q", c.sel, got, c.want)
		}
	}
	// The indexes follow changes and deletes.
	n.do(put(instance("web", "web-2-a", "")))
	n.do(put(instance("web", "web-2-a", "n1")), del(ref(kindInstance, "default", "web-0-a")))
	if got := n.names(&dhowv1.Selector{Kind: kindInstance, Node: "n1"}); !slices.Equal(got, []string{"api-0-a", "web-2-a"}) {
		t.Errorf("on n1: %v", got)
	}
	v := n.View()
	defer v.Close()
	for _, sel := range []*dhowv1.Selector{{}, {Kind: 77}, {Kind: kindInstance, Node: "a\x00b"}, nil} {
		if _, _, err := v.List(sel, "", 0); spec.CodeOf(err) != spec.CodeInvalid {
			t.Errorf("%v: %v", sel, err)
		}
	}
}

func TestListPages(t *testing.T) {
	n := fresh(t)
	for i := range 25 {
		n.do(put(instance("web", fmt.Sprintf("web-%02d-a", i), "n1")), put(instance("api", fmt.Sprintf("api-%02d-a", i), "n2")))
	}
	v := n.View()
	defer v.Close()
	for _, sel := range []*dhowv1.Selector{
		{Kind: kindInstance, Namespace: "default", Workload: "web"},
		{Kind: kindInstance, Node: "n1"},
		{Kind: kindInstance, Workload: "web"},
	} {
		var got []string
		after := ""
		for pages := 1; ; pages++ {
			objs, next, err := v.List(sel, after, 10)
			if err != nil {
				t.Fatal(err)
			}
			for _, o := range objs {
				got = append(got, spec.MetaOf(o).GetName())
			}
			if next == "" {
				if pages != 3 {
					t.Errorf("%v: %d pages", sel, pages)
				}
				break
			}
			after = next
		}
		if len(got) != 25 || !slices.IsSorted(got) || got[24] != "web-24-a" {
			t.Errorf("%v: %v", sel, got)
		}
	}
	if _, _, err := v.List(&dhowv1.Selector{Kind: kindInstance}, "?", 0); spec.CodeOf(err) != spec.CodeInvalid {
		t.Errorf("a bad token: %v", err)
	}
}

func TestViewIsImmutable(t *testing.T) {
	n := fresh(t)
	n.do(put(workload("web", 1)))
	v := n.View()
	defer v.Close()
	rev := n.index
	n.do(put(workload("web", 2)), put(workload("new", 1)))
	o, err := v.Get(ref(kindWorkload, "default", "web"))
	if err != nil || o.GetWorkload().GetSpec().GetReplicas() != 1 || v.Revision() != rev {
		t.Errorf("%v %v at %d", o, err, v.Revision())
	}
	if _, err := v.Get(ref(kindWorkload, "default", "new")); spec.CodeOf(err) != spec.CodeNotFound {
		t.Errorf("a later object: %v", err)
	}
}

// next takes what is there within a bubble in which all else is asleep.
func next(t *testing.T, w *store.Watcher) (string, uint64) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	evs, rev, err := w.Next(ctx)
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for _, e := range evs {
		s := spec.MetaOf(e.GetObject()).GetName()
		if e.GetType() == dhowv1.WatchEventType_WATCH_EVENT_TYPE_DELETE {
			s = "-" + s
		}
		out = append(out, s)
	}
	return strings.Join(out, " "), rev
}

func TestWatch(t *testing.T) {
	n := fresh(t)
	n.do(put(workload("a", 1)))
	from := n.index
	w, err := n.Watch(from, &dhowv1.Selector{Kind: kindWorkload})
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	n.do(put(workload("b", 1)), put(artifact("x", "")))
	n.do(del(ref(kindWorkload, "default", "a")))
	if got, rev := next(t, w); got != "b -a" || rev != n.index {
		t.Errorf("got %q at %d", got, rev)
	}
	// Another resumes in the middle.
	w2, err := n.Watch(from + 1)
	if err != nil {
		t.Fatal(err)
	}
	if got, _ := next(t, w2); got != "-a" {
		t.Errorf("resumed with %q", got)
	}
	w2.Close()
	if _, _, err := w2.Next(t.Context()); err == nil {
		t.Error("a closed watcher goes on")
	}
	// An instance that gets its node is seen by who watches the node.
	n.do(put(instance("web", "i", "")))
	wn, err := n.Watch(n.index, &dhowv1.Selector{Kind: kindInstance, Node: "n1"})
	if err != nil {
		t.Fatal(err)
	}
	defer wn.Close()
	n.do(put(workload("c", 1)))
	n.do(put(instance("web", "i", "n1")))
	if got, _ := next(t, wn); got != "i" {
		t.Errorf("got %q", got)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, _, err := wn.Next(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
}

// A watcher that waits for a later entry wakes when it comes.
func TestWatchWakes(t *testing.T) {
	n := fresh(t)
	w, err := n.Watch(0)
	if err != nil {
		t.Fatal(err)
	}
	got := make(chan uint64)
	go func() {
		_, rev, _ := w.Next(t.Context())
		got <- rev
	}()
	waited := make(chan error)
	go func() { waited <- n.WaitRevision(t.Context(), 1) }()
	n.do(put(workload("a", 1)))
	if rev := <-got; rev != 1 {
		t.Errorf("woke at %d", rev)
	}
	if err := <-waited; err != nil {
		t.Error(err)
	}
}

func TestWatchTooOld(t *testing.T) {
	n := open(t, t.TempDir(), store.Options{FeedEvents: 100})
	defer n.Close()
	slow, err := n.Watch(0)
	if err != nil {
		t.Fatal(err)
	}
	for i := range 101 {
		n.do(put(artifact("x", fmt.Sprint(i))))
	}
	if _, _, err := slow.Next(t.Context()); spec.CodeOf(err) != spec.CodeTooOld {
		t.Errorf("the slow watcher: %v", err)
	}
	if _, err := n.Watch(0); spec.CodeOf(err) != spec.CodeTooOld {
		t.Errorf("from the start: %v", err)
	}
	w, err := n.Watch(1)
	if err != nil {
		t.Fatalf("what is kept: %v", err)
	}
	evs, rev, err := w.Next(t.Context())
	if len(evs) != 100 || rev != 101 || err != nil {
		t.Errorf("%d events up to %d, %v", len(evs), rev, err)
	}
}

// A watcher of a quiet kind sleeps through the others' changes, and yet never
// becomes too old, however many there are.
func TestWatchOfAQuietKindNeverBecomesTooOld(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := open(t, t.TempDir(), store.Options{FeedEvents: 100})
		defer n.Close()
		w, err := n.Watch(0, &dhowv1.Selector{Kind: dhowv1.Kind_KIND_NODE})
		if err != nil {
			t.Fatal(err)
		}
		got := make(chan int, 1)
		go func() {
			for {
				evs, _, err := w.Next(t.Context())
				if err != nil {
					t.Errorf("the watcher: %v", err)
				}
				if err != nil || len(evs) > 0 {
					got <- len(evs)
					return
				}
			}
		}()
		for i := range 1000 {
			n.do(put(artifact("x", fmt.Sprint(i))))
			synctest.Wait() // whoever was woken has gone on
		}
		n.do(put(machine("n1")))
		if evs := <-got; evs != 1 {
			t.Errorf("%d events", evs)
		}
	})
}

func TestFeedIsBoundByBytes(t *testing.T) {
	n := open(t, t.TempDir(), store.Options{FeedBytes: 64 << 10})
	defer n.Close()
	for i := range 100 {
		n.do(put(artifact("x", fmt.Sprint(i)+strings.Repeat("x", 4<<10))))
	}
	if _, err := n.Watch(50); spec.CodeOf(err) != spec.CodeTooOld {
		t.Errorf("400 KiB of events in 64 KiB: %v", err)
	}
	if w, err := n.Watch(95); err != nil {
		t.Error(err)
	} else if evs, _, _ := w.Next(t.Context()); len(evs) != 5 {
		t.Errorf("%d events", len(evs))
	}
}

// Many events that nobody takes still move a watcher's revision.
func TestWatchTellsHowFarItIs(t *testing.T) {
	n := fresh(t)
	w, err := n.Watch(0, &dhowv1.Selector{Kind: kindWorkload})
	if err != nil {
		t.Fatal(err)
	}
	cs := make([]*dhowv1.Change, 5000)
	for i := range cs {
		cs[i] = put(artifact(fmt.Sprint(i), ""))
	}
	n.do(cs...)
	evs, rev, err := w.Next(t.Context())
	if len(evs) != 0 || rev != n.index || err != nil {
		t.Errorf("%d events, revision %d, %v", len(evs), rev, err)
	}
}

func TestCloseWakesAll(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := store.NewFeedForTest(10, 1<<20, 0)
		errs := make(chan error, 2)
		go func() { errs <- f.Wait(t.Context(), 5) }()
		go func() { errs <- f.Wait(t.Context(), 6) }()
		synctest.Wait()
		f.Close()
		for range 2 {
			if err := <-errs; spec.CodeOf(err) != spec.CodeUnavailable {
				t.Error(err)
			}
		}
	})
}
