package api_test

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"runtime"
	"strings"
	"testing"
	"time"

	"dhow.dev/dhow/control/api"
	"dhow.dev/dhow/control/store"
	"dhow.dev/dhow/internal/client"
	dhowv1 "dhow.dev/dhow/proto/dhow/v1"
	"dhow.dev/dhow/proto/spec"
)

type clientOptions = client.Options

func gzipped(t *testing.T, b []byte) []byte {
	t.Helper()
	var out bytes.Buffer
	z := gzip.NewWriter(&out)
	if _, err := z.Write(b); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func namespaces() []*dhowv1.Selector {
	return []*dhowv1.Selector{{Kind: dhowv1.Kind_KIND_NAMESPACE}}
}

func TestWatchSetSyncedDeltasResume(t *testing.T) {
	w := newWorld(t)
	c := w.as(w.admin)
	w.put(&dhowv1.Namespace{Meta: &dhowv1.Meta{Name: "a"}})
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	in, err := c.Objects.Watch(ctx, &dhowv1.WatchRequest{Selectors: namespaces()})
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for in.Receive() {
		for _, e := range in.Msg().Events {
			names = append(names, e.Object.GetNamespace().Meta.Name)
		}
		if in.Msg().Synced {
			break
		}
	}
	if strings.Join(names, " ") != "a default" || in.Msg().Revision != w.store.Revision() {
		t.Fatalf("%v at %d: %v", names, in.Msg().Revision, in.Err())
	}
	w.put(&dhowv1.Namespace{Meta: &dhowv1.Meta{Name: "b"}})
	if !in.Receive() || in.Msg().Events[0].Object.GetNamespace().Meta.Name != "b" {
		t.Fatal(in.Msg(), in.Err())
	}
	at := in.Msg().Revision
	cancel()
	// What happens meanwhile is not lost.
	w.propose(&dhowv1.Change{Op: &dhowv1.Change_Delete{Delete: &dhowv1.Ref{Kind: dhowv1.Kind_KIND_NAMESPACE, Name: "b"}}})
	w.put(&dhowv1.Namespace{Meta: &dhowv1.Meta{Name: "c"}})
	ctx, cancel = context.WithCancel(t.Context())
	defer cancel()
	if in, err = c.Objects.Watch(ctx, &dhowv1.WatchRequest{Selectors: namespaces(), Revision: at}); err != nil {
		t.Fatal(err)
	}
	if !in.Receive() || in.Msg().Revision != at || !in.Receive() {
		t.Fatal(in.Err())
	}
	e := in.Msg().Events
	if len(e) != 2 || e[0].Type != dhowv1.WatchEventType_WATCH_EVENT_TYPE_DELETE || e[1].Object.GetNamespace().Meta.Name != "c" {
		t.Errorf("resumed: %v", in.Msg())
	}
}

func TestWatchTooOldListsAgain(t *testing.T) {
	s, err := store.Open(t.TempDir(), store.Options{FeedEvents: 64})
	if err != nil {
		t.Fatal(err)
	}
	d := &direct{s: s}
	s.SetProposer(d)
	w := newWorldOn(t, s, func(c *api.Config) { c.Reads = d })
	for i := range 200 {
		w.put(&dhowv1.Namespace{Meta: &dhowv1.Meta{Name: fmt.Sprintf("n-%d", i)}})
	}
	c := w.as(w.admin)
	in, err := c.Objects.Watch(t.Context(), &dhowv1.WatchRequest{Selectors: namespaces(), Revision: 3})
	if err != nil {
		t.Fatal(err)
	}
	if in.Receive() {
		t.Fatal("changes that are no longer kept:", in.Msg())
	}
	wantCode(t, in.Err(), spec.CodeTooOld, "list again")
	// The client's Watch does that by itself, and says so.
	resets, seen := 0, 0
	err = c.Watch(t.Context(), namespaces(), 3, func(m *dhowv1.WatchResponse, reset bool) error {
		if reset {
			resets, seen = resets+1, 0
		}
		seen += len(m.Events)
		if m.Synced {
			return errStop
		}
		return nil
	})
	if !errors.Is(err, errStop) || resets != 1 || seen != 201 {
		t.Errorf("%v, %d resets, %d objects", err, resets, seen)
	}
}

// A server that is behind the revision a client has from another server says
// so, rather than telling of changes the client knows.
func TestWatchWaitsForTheRevision(t *testing.T) {
	w := newWorld(t)
	c := w.as(w.admin)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	next := w.store.Revision() + 1
	got := make(chan string)
	go func() {
		_ = c.Watch(ctx, namespaces(), next, func(m *dhowv1.WatchResponse, reset bool) error {
			for _, e := range m.Events {
				got <- e.Object.GetNamespace().Meta.Name
				return errStop
			}
			return nil
		})
	}()
	w.put(&dhowv1.Namespace{Meta: &dhowv1.Meta{Name: "known"}})
	w.put(&dhowv1.Namespace{Meta: &dhowv1.Meta{Name: "new"}})
	if name := <-got; name != "new" {
		t.Error(name)
	}
}

// Many clients that stop reading: each ends with an error, and what they cost
// while they hang is not what was written.
func TestWatchersThatStopReading(t *testing.T) {
	w := newWorld(t, func(c *api.Config) { c.WriteTimeout = 200 * time.Millisecond })
	const watchers = 20
	const written = 64 << 20
	var streams []interface {
		Receive() bool
		Err() error
		Msg() *dhowv1.WatchResponse
	}
	for range watchers {
		c := w.as(w.admin)
		in, err := c.Objects.Watch(t.Context(), &dhowv1.WatchRequest{Selectors: namespaces()})
		if err != nil {
			t.Fatal(err)
		}
		for in.Receive() && !in.Msg().Synced {
		}
		streams = append(streams, in)
	}
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	pad := strings.Repeat("x", 1<<20)
	for i := range written >> 20 {
		w.put(&dhowv1.Namespace{Meta: &dhowv1.Meta{Name: "big", Annotations: map[string]string{"n": fmt.Sprint(i), "pad": pad}}})
	}
	runtime.GC()
	runtime.ReadMemStats(&after)
	if grown := int64(after.HeapAlloc) - int64(before.HeapAlloc); grown > watchers*written/4 {
		t.Errorf("%d watchers that do not read cost %d MiB", watchers, grown>>20)
	}
	for i, s := range streams {
		for s.Receive() {
			if s.Msg().Revision == w.store.Revision() {
				t.Fatalf("watcher %d was sent all", i)
			}
		}
		if s.Err() == nil {
			t.Errorf("watcher %d ended without an error", i)
		}
	}
}
