package main

import (
	"context"
	"fmt"
	"time"

	dhowv1 "dhow.dev/dhow/proto/dhow/v1"
	"dhow.dev/dhow/proto/spec"
)

const rounds = 5

// benchHeal kills nodes and times the replacement.
func benchHeal(ctx context.Context, l *lab) error {
	ctx, cancel := context.WithTimeout(ctx, 3*time.Minute)
	defer cancel()
	_, api, err := l.server(ctx, "s1", "")
	if err != nil {
		return err
	}
	c, err := l.answering(ctx)
	if err != nil {
		return err
	}
	nodes := map[string]*process{}
	for i := range 3 {
		name := fmt.Sprintf("n%d", i)
		if nodes[name], err = l.agent(ctx, "dhow", name, api); err != nil {
			return err
		}
	}
	if err := nodesReady(ctx, c, 3); err != nil {
		return err
	}
	digest, err := l.push(ctx, l.guest("ticker"))
	if err != nil {
		return err
	}
	w, err := watchInstances(ctx, c)
	if err != nil {
		return err
	}
	var took []time.Duration
	for i := range rounds {
		name := fmt.Sprintf("lost-%d", i)
		if err := apply(ctx, c, workload(name, digest, 1)); err != nil {
			return err
		}
		if err := w.running(ctx, name, 1); err != nil {
			return err
		}
		node, err := nodeOf(ctx, c.Objects.List, name)
		if err != nil {
			return err
		}
		begin := time.Now()
		nodes[node].kill()
		if err := w.running(ctx, name, 1); err != nil {
			return err
		}
		took = append(took, time.Since(begin))
		if nodes[node], err = l.start("dhow", nodes[node].cmd.Args[1:]...); err != nil {
			return err
		}
		if err := nodesReady(ctx, c, 3); err != nil {
			return err
		}
	}
	figure("node kill -9 to replacement Running, 3 nodes, median", quantile(took, 0.5).Seconds(), 5, "s")
	figure("the same, worst of 5 (Nomad: 21 s median)", quantile(took, 1).Seconds(), 21, "s")
	return nil
}

type lister = func(context.Context, *dhowv1.ListRequest) (*dhowv1.ListResponse, error)

func nodeOf(ctx context.Context, list lister, name string) (string, error) {
	res, err := list(ctx, &dhowv1.ListRequest{Selector: &dhowv1.Selector{Kind: dhowv1.Kind_KIND_INSTANCE, Namespace: "default", Workload: name}})
	if err != nil {
		return "", err
	}
	for _, o := range res.GetObjects() {
		if o.GetInstance().GetStatus().GetState() == dhowv1.InstanceState_INSTANCE_STATE_RUNNING {
			return o.GetInstance().GetSpec().GetNode(), nil
		}
	}
	return "", fmt.Errorf("%s runs nowhere", name)
}

// benchLeader kills leaders and times the next acknowledged write.
func benchLeader(ctx context.Context, l *lab) error {
	ctx, cancel := context.WithTimeout(ctx, 3*time.Minute)
	defer cancel()
	servers := map[string]*process{}
	apis := ""
	for i := range 3 {
		name := fmt.Sprintf("s%d", i+1)
		p, api, err := l.server(ctx, name, apis)
		if err != nil {
			return err
		}
		servers[name] = p
		if apis == "" {
			apis = api
		}
	}
	c, err := l.answering(ctx)
	if err != nil {
		return err
	}
	var took []time.Duration
	for i := range rounds {
		info, err := c.Cluster.Info(ctx, &dhowv1.InfoRequest{})
		if err != nil {
			return err
		}
		for _, s := range info.GetServers() {
			if s.GetName() != info.GetLeader() { // a client that has another server to go to
				c.SetServers([]string{s.GetApiAddress()})
			}
		}
		c.Next()
		begin := time.Now()
		servers[info.GetLeader()].kill()
		n := 0
		if err := await(ctx, "a write", func() error {
			n++
			space := &dhowv1.Namespace{Meta: &dhowv1.Meta{Name: fmt.Sprintf("after-%d-%d", i, n)}}
			_, err := c.Objects.Apply(ctx, &dhowv1.ApplyRequest{Objects: []*dhowv1.Object{spec.Wrap(space)}})
			return err
		}); err != nil {
			return err
		}
		took = append(took, time.Since(begin))
		old := servers[info.GetLeader()]
		if servers[info.GetLeader()], err = l.start("dhow", old.cmd.Args[1:]...); err != nil {
			return err
		}
		if err := pause(ctx, 3*time.Second); err != nil { // let it catch up
			return err
		}
	}
	figure("leader kill -9 to next acknowledged write, median", quantile(took, 0.5).Seconds(), 2, "s")
	figure("the same, worst of 5 (Nomad: 2.9 s median)", quantile(took, 1).Seconds(), 2.9, "s")
	return nil
}
