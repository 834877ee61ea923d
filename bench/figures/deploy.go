package main

import (
	"context"
	_ "embed" // the C guest's source
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
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

// benchDeploy times deploys of modules that the node has compiled: a Go guest,
// of which most of an instance's cost is its own, and a C guest, which costs
// next to nothing, so that the rest is the control plane's.
func benchDeploy(ctx context.Context, l *lab) error {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Minute)
	defer cancel()
	guests := []string{"Go", l.guest("ticker")}
	if c, err := l.compileC(ctx); err == nil {
		guests = append(guests, "C", c)
	} else {
		fmt.Println("no C guest:", err)
	}
	for i := 0; i < len(guests); i += 2 {
		at := &lab{bin: l.bin, dir: filepath.Join(l.dir, guests[i])}
		if err := os.MkdirAll(at.dir, 0o700); err != nil {
			return err
		}
		err := deploys(ctx, at, guests[i], guests[i+1])
		at.end()
		if err != nil {
			return errors.Join(err, at.logs())
		}
	}
	return nil
}

// compileC builds the C guest. It needs clang and wasi-libc.
func (l *lab) compileC(ctx context.Context) (string, error) {
	source, out := filepath.Join(l.dir, "ticker.c"), filepath.Join(l.dir, "ticker.wasm")
	if err := os.WriteFile(source, tickerC, 0o600); err != nil {
		return "", err
	}
	if text, err := exec.CommandContext(ctx, "clang", "--target=wasm32-wasi", "--sysroot=/usr", "-O2", "-o", out, source).CombinedOutput(); err != nil {
		return "", fmt.Errorf("clang: %w: %s", err, text)
	}
	return out, nil
}

//go:embed guests/ticker.c
var tickerC []byte

func deploys(ctx context.Context, l *lab, language, module string) error {
	addrs, err := ports(3)
	if err != nil {
		return err
	}
	c, up, err := l.up(ctx, 1, addrs)
	if err != nil {
		return err
	}
	digest, err := l.push(ctx, module)
	if err != nil {
		return err
	}
	w, err := watchInstances(ctx, c)
	if err != nil {
		return err
	}
	const warm, rounds, many = 10, 50, 1000
	var took []time.Duration
	var before time.Duration
	for i := range warm + rounds {
		name := fmt.Sprintf("one-%d", i)
		if i == warm { // the first compile is done
			if before, err = cpuTime(up); err != nil {
				return err
			}
		}
		begin := time.Now()
		if err := apply(ctx, c, workload(name, digest, 1)); err != nil {
			return err
		}
		if err := w.running(ctx, name, 1); err != nil {
			return err
		}
		if i >= warm {
			took = append(took, time.Since(begin))
		}
	}
	after, err := cpuTime(up)
	if err != nil {
		return err
	}
	figure("deploy, cached "+language+" module, request to Running seen, p50", ms(quantile(took, 0.5)), 15, "ms")
	figure("the same, p99", ms(quantile(took, 0.99)), 15, "ms")
	figure("the same, CPU of dhow up", ms(after-before)/rounds, 15, "ms")

	begin := time.Now()
	if err := apply(ctx, c, workload("thousand", digest, many)); err != nil {
		return err
	}
	if err := w.running(ctx, "thousand", many); err != nil {
		return err
	}
	figure("deploy of 1,000 replicas ("+language+"), all Running", time.Since(begin).Seconds(), 2, "s")
	before = after
	if after, err = cpuTime(up); err != nil {
		return err
	}
	figure("the same, CPU of dhow up", (after - before).Seconds(), 2, "s")
	return nil
}
