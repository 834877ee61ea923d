package main

import (
	"context"
	"fmt"
	"time"

	"dhow.dev/dhow/internal/client"
	dhowv1 "dhow.dev/dhow/proto/dhow/v1"
)

// watcher counts running instances, by workload, as a client sees them.
type watcher struct {
	events chan *dhowv1.Instance
	failed chan error
}

func watchInstances(ctx context.Context, c *client.Client) (*watcher, error) {
	stream, err := c.Objects.Watch(ctx, &dhowv1.WatchRequest{Selectors: []*dhowv1.Selector{{Kind: dhowv1.Kind_KIND_INSTANCE}}})
	if err != nil {
		return nil, err
	}
	w := &watcher{events: make(chan *dhowv1.Instance, 100_000), failed: make(chan error, 1)}
	go func() {
		for stream.Receive() {
			for _, e := range stream.Msg().GetEvents() {
				w.events <- e.GetObject().GetInstance()
			}
		}
		w.failed <- fmt.Errorf("the watch ended: %w", stream.Err())
	}()
	return w, nil
}

// running waits until n distinct instances of the workload were seen running.
func (w *watcher) running(ctx context.Context, name string, n int) error {
	seen := map[string]bool{}
	for {
		select {
		case i := <-w.events:
			if i.GetSpec().GetWorkload() == name && i.GetStatus().GetState() == dhowv1.InstanceState_INSTANCE_STATE_RUNNING {
				seen[i.GetMeta().GetUid()] = true
			}
			if len(seen) >= n {
				return nil
			}
		case err := <-w.failed:
			return err
		case <-ctx.Done():
			return fmt.Errorf("%d of %d running: %w", len(seen), n, ctx.Err())
		}
	}
}

func benchDeploy(ctx context.Context, l *lab) error {
	ctx, cancel := context.WithTimeout(ctx, 3*time.Minute)
	defer cancel()
	addrs, err := ports(3)
	if err != nil {
		return err
	}
	c, _, err := l.up(ctx, 1, addrs)
	if err != nil {
		return err
	}
	digest, err := l.push(ctx, "ticker")
	if err != nil {
		return err
	}
	w, err := watchInstances(ctx, c)
	if err != nil {
		return err
	}
	var took []time.Duration
	for i := range 60 {
		name := fmt.Sprintf("one-%d", i)
		begin := time.Now()
		if err := apply(ctx, c, workload(name, digest, 1)); err != nil {
			return err
		}
		if err := w.running(ctx, name, 1); err != nil {
			return err
		}
		if i >= 10 { // the first compile and warm up
			took = append(took, time.Since(begin))
		}
	}
	figure("deploy, cached Go module, request to Running seen, p50", ms(quantile(took, 0.5)), 15, "ms")
	figure("the same, p99", ms(quantile(took, 0.99)), 15, "ms")

	begin := time.Now()
	if err := apply(ctx, c, workload("thousand", digest, 1000)); err != nil {
		return err
	}
	if err := w.running(ctx, "thousand", 1000); err != nil {
		return err
	}
	figure("deploy of 1,000 replicas, all Running", time.Since(begin).Seconds(), 2, "s")
	return nil
}
