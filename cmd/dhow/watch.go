package main

import (
	"context"
	"time"

	"dhow.dev/dhow/internal/client"
	dhowv1 "dhow.dev/dhow/proto/dhow/v1"
	"dhow.dev/dhow/proto/spec"
)

// Between attempts to open a watch again.
const (
	firstPause = 100 * time.Millisecond
	lastPause  = 2 * time.Second
)

// watcher follows changes. reset is called when all begins anew; take gets
// each message and says when to stop.
type watcher struct {
	reset func()
	take  func(*dhowv1.WatchResponse) (done bool, err error)
}

// follow watches until take is done or the context ends. A stream that breaks
// is opened again where it was, at any server; a first one that cannot be
// opened is an error.
func follow(ctx context.Context, c *client.Client, from uint64, w watcher, sels ...*dhowv1.Selector) error {
	rev, opened, pause := from, false, firstPause
	for {
		done, err := followOnce(ctx, c, &rev, &opened, w, sels)
		if done {
			return err
		}
		if ctx.Err() != nil {
			return timedOut(ctx, ctx.Err())
		}
		switch spec.CodeOf(err) {
		case spec.CodeTooOld:
			rev = 0
			w.reset()
			continue
		case spec.CodeUnavailable, spec.CodeNotLeader, spec.CodeInternal, "":
			if !opened {
				return err
			}
		default:
			return err
		}
		select {
		case <-time.After(pause):
			pause = min(2*pause, lastPause)
		case <-ctx.Done():
		}
	}
}

// followOnce reads one stream to its end.
func followOnce(ctx context.Context, c *client.Client, rev *uint64, opened *bool, w watcher, sels []*dhowv1.Selector) (done bool, err error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stream, err := c.Objects.Watch(ctx, &dhowv1.WatchRequest{Selectors: sels, Revision: *rev})
	if err != nil {
		return false, err
	}
	defer func() { _ = stream.Close() }()
	if *rev == 0 && *opened {
		w.reset() // all that is there comes once more
	}
	for stream.Receive() {
		*opened = true
		msg := stream.Msg()
		if done, err := w.take(msg); done || err != nil {
			return true, err
		}
		if msg.GetRevision() > 0 {
			*rev = msg.GetRevision()
		}
	}
	return false, stream.Err()
}

// list reads all pages.
func list(ctx context.Context, c *client.Client, sel *dhowv1.Selector) ([]*dhowv1.Object, error) {
	var all []*dhowv1.Object
	for after := ""; ; {
		res, err := c.Objects.List(ctx, &dhowv1.ListRequest{Selector: sel, Continue: after})
		if err != nil {
			return nil, timedOut(ctx, err)
		}
		all = append(all, res.GetObjects()...)
		if after = res.GetContinue(); after == "" {
			return all, nil
		}
	}
}

// getObject reads one.
func getObject(ctx context.Context, c *client.Client, ref *dhowv1.Ref) (*dhowv1.Object, error) {
	res, err := c.Objects.Get(ctx, &dhowv1.GetRequest{Ref: ref})
	if err != nil {
		return nil, timedOut(ctx, err)
	}
	return res.GetObject(), nil
}
