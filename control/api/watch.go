package api

import (
	"context"
	"strconv"
	"time"

	"connectrpc.com/connect"
	"google.golang.org/protobuf/proto"

	"dhow.dev/dhow/control/auth"
	"dhow.dev/dhow/control/store"
	dhowv1 "dhow.dev/dhow/proto/dhow/v1"
	"dhow.dev/dhow/proto/spec"
	"dhow.dev/dhow/proto/wire"
)

const (
	maxSelectors = 32
	// Events in one message.
	watchBatch = 500
	// How long a server that is behind may take to reach the revision that a
	// watch resumes from.
	behindTimeout = 10 * time.Second
)

// Watch streams changes. The message that a slow client has not taken yet is
// all that it costs: the feed is shared, and one that falls too far behind is
// told to list again.
func (o objects) Watch(ctx context.Context, req *dhowv1.WatchRequest, out *connect.ServerStream[dhowv1.WatchResponse]) error {
	sels := req.GetSelectors()
	if len(sels) == 0 || len(sels) > maxSelectors {
		return &spec.Error{Code: spec.CodeInvalid, Path: "selectors", Message: "want 1 to 32 of them"}
	}
	for i, s := range sels {
		if err := checkSelector(ctx, "selectors["+strconv.Itoa(i)+"]", s); err != nil {
			return err
		}
	}
	wire.Arrived(ctx)
	guard := wire.WriteGuard(ctx, o.c.WriteTimeout)
	send := func(r *dhowv1.WatchResponse) error {
		guard.Start()
		defer guard.Stop()
		return out.Send(r)
	}
	from := req.GetRevision()
	if from == 0 {
		rev, err := o.initial(ctx, sels, send)
		if err != nil {
			return err
		}
		from = rev
	} else {
		if err := o.reach(ctx, from); err != nil {
			return err
		}
	}
	w, err := o.c.Store.Watch(from, sels...)
	if err != nil {
		return err
	}
	defer w.Close()
	if req.GetRevision() != 0 {
		// So that the client knows at once that it will be told.
		if err := send(&dhowv1.WatchResponse{Revision: from}); err != nil {
			return err
		}
	}
	return o.follow(ctx, w, sels, send)
}

// initial sends what is there and returns its revision.
func (o objects) initial(ctx context.Context, sels []*dhowv1.Selector, send func(*dhowv1.WatchResponse) error) (uint64, error) {
	v, err := o.view(ctx, false)
	if err != nil {
		return 0, err
	}
	defer v.Close()
	for _, sel := range sels {
		if err := initialOf(Caller(ctx), v, sel, send); err != nil {
			return 0, err
		}
	}
	return v.Revision(), send(&dhowv1.WatchResponse{Revision: v.Revision(), Synced: true})
}

func initialOf(to auth.Identity, v *store.View, sel *dhowv1.Selector, send func(*dhowv1.WatchResponse) error) error {
	for after := ""; ; {
		var events []*dhowv1.WatchEvent
		next, err := page(to, v, sel, after, 0, func(objs []*dhowv1.Object) {
			for _, ob := range objs {
				events = append(events, &dhowv1.WatchEvent{Type: dhowv1.WatchEventType_WATCH_EVENT_TYPE_PUT, Object: ob})
			}
		})
		if err != nil {
			return err
		}
		if len(events) > 0 {
			if err := send(&dhowv1.WatchResponse{Events: events}); err != nil {
				return err
			}
		}
		if next == "" {
			return nil
		}
		after = next
	}
}

// reach waits for the revision that another server has told the client.
func (o objects) reach(ctx context.Context, rev uint64) error {
	if o.c.Store.Revision() >= rev {
		return nil
	}
	wait, cancel := context.WithTimeout(ctx, behindTimeout)
	defer cancel()
	if err := o.c.Store.WaitRevision(wait, rev); err != nil {
		if ctx.Err() != nil {
			return err
		}
		return spec.Errorf(spec.CodeUnavailable, "this server is at revision %d and does not reach %d: try another server; if all say so, list again", o.c.Store.Revision(), rev)
	}
	return nil
}

func (o objects) follow(ctx context.Context, w *store.Watcher, sels []*dhowv1.Selector, send func(*dhowv1.WatchResponse) error) error {
	for {
		events, rev, err := w.Next(ctx)
		if err != nil {
			return err
		}
		// A token that was taken back or has ended takes its watches with it.
		if err := o.still(ctx, auth.VerbRead, sels); err != nil {
			return err
		}
		events = publicEvents(Caller(ctx), events)
		for {
			n := fits(events)
			if n == len(events) {
				break
			}
			if err := send(&dhowv1.WatchResponse{Events: events[:n]}); err != nil {
				return err
			}
			events = events[n:]
		}
		if err := send(&dhowv1.WatchResponse{Events: events, Revision: rev}); err != nil {
			return err
		}
	}
}

// fits is how many of the events go into one message.
func fits(events []*dhowv1.WatchEvent) int {
	size := 0
	for i, e := range events {
		size += proto.Size(e)
		if i > 0 && (size > pageBytes || i >= watchBatch) {
			return i
		}
	}
	return len(events)
}

// still tells whether the caller may go on reading.
func (o objects) still(ctx context.Context, verb auth.Verb, sels []*dhowv1.Selector) error {
	c := callOf(ctx)
	if c == nil {
		return allowed(ctx, verb)
	}
	id, err := o.identify(c.r)
	if err != nil {
		return err
	}
	for _, s := range sels {
		if err := auth.Authorize(id, verb, s.GetKind()); err != nil {
			return err
		}
	}
	return nil
}
