package client

import (
	"context"
	"errors"
	"time"

	dhowv1 "dhow.dev/dhow/proto/dhow/v1"
	"dhow.dev/dhow/proto/spec"
)

const (
	// Pauses between tries to go on with a watch, and how many fail in a row
	// before it is given up: about half a minute.
	watchFirst = 50 * time.Millisecond
	watchMost  = 2 * time.Second
	watchTries = 20
)

// Watch follows objects across servers: when one goes away it goes on with
// another from the revision it was at. It calls f with each message until the
// context ends, f fails or no server can be reached for a while. When reset is
// set, a full set begins: what was seen before counts no more.
func (c *Client) Watch(ctx context.Context, sels []*dhowv1.Selector, from uint64, f func(m *dhowv1.WatchResponse, reset bool) error) error {
	pause, failed := watchFirst, 0
	for {
		at, err := c.watchOnce(ctx, sels, from, f)
		if at > from {
			pause, failed = watchFirst, 0
		}
		from = at
		if own, ok := errors.AsType[callback](err); ok {
			return own.err
		}
		switch spec.CodeOf(err) {
		case spec.CodeTooOld:
			from = 0
		case spec.CodeUnavailable, spec.CodeNotLeader, "":
		default:
			return err
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if failed++; failed >= watchTries {
			return err
		}
		wait := time.NewTimer(pause)
		select {
		case <-ctx.Done():
			wait.Stop()
			return ctx.Err()
		case <-wait.C:
		}
		pause = min(2*pause, watchMost)
	}
}

// callback marks an error of the caller's own function.
type callback struct{ err error }

func (c callback) Error() string { return c.err.Error() }
func (c callback) Unwrap() error { return c.err }

// watchOnce makes one stream and returns the revision that it came to; 0 when
// the full set was not complete.
func (c *Client) watchOnce(ctx context.Context, sels []*dhowv1.Selector, from uint64, f func(m *dhowv1.WatchResponse, reset bool) error) (uint64, error) {
	epoch := c.servers.epoch()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	in, err := c.Objects.Watch(ctx, &dhowv1.WatchRequest{Selectors: sels, Revision: from})
	if err != nil {
		return from, err
	}
	reset := from == 0
	for in.Receive() {
		m := in.Msg()
		if err := f(m, reset); err != nil {
			return from, callback{err}
		}
		reset = false
		from = max(from, m.GetRevision())
	}
	err = in.Err()
	if spec.CodeOf(err) == spec.CodeUnavailable {
		c.servers.next(epoch)
	}
	return from, err
}

// List reads all pages of a list. The revision is where to watch from.
func (c *Client) List(ctx context.Context, sel *dhowv1.Selector) (objects []*dhowv1.Object, revision uint64, err error) {
	req := &dhowv1.ListRequest{Selector: sel}
	for {
		res, err := c.Objects.List(ctx, req)
		if err != nil {
			return nil, 0, err
		}
		objects = append(objects, res.GetObjects()...)
		if req.Continue = res.GetContinue(); req.Continue == "" {
			return objects, res.GetRevision(), nil
		}
	}
}
