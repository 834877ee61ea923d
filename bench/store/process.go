package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"path/filepath"

	"dhow.dev/dhow/control/replica"
	"dhow.dev/dhow/control/store"
	dhowv1 "dhow.dev/dhow/proto/dhow/v1"
)

// process is one server's store and replica, proposed to in process.
type process struct {
	store   *store.Store
	replica *replica.Replica
}

func openProcess(ctx context.Context, dir string) (driver, error) {
	s, err := store.Open(dir, store.Options{ClusterID: "bench"})
	if err != nil {
		return nil, err
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, errors.Join(err, s.Close())
	}
	var d net.Dialer
	r, err := replica.Open(replica.Config{
		Name: "s1", Address: l.Addr().String(), Bootstrap: true, Dir: filepath.Join(dir, "snapshots"),
		Log: s.Log(), FSM: s, Listener: l,
		Dial: func(ctx context.Context, addr string) (net.Conn, error) { return d.DialContext(ctx, "tcp", addr) },
	})
	if err != nil {
		return nil, errors.Join(err, s.Close())
	}
	s.SetProposer(r)
	_, _, err = r.Lead(ctx)
	return &process{store: s, replica: r}, err
}

func (p *process) name() string { return "dhow, proposed in process" }

func (p *process) objects() int { return 1 }

func (p *process) put(ctx context.Context, worker, n int, value string) error {
	name := fmt.Sprintf("w%d-%d", worker, n)
	_, err := p.store.Propose(ctx, &dhowv1.Proposal{Changes: []*dhowv1.Change{{Op: &dhowv1.Change_Put{Put: &dhowv1.Object{
		Kind: &dhowv1.Object_Artifact{Artifact: &dhowv1.Artifact{Meta: &dhowv1.Meta{Name: name, Uid: name}, File: value}},
	}}}}})
	return err
}

func (p *process) close() error {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	return errors.Join(p.replica.Shutdown(ctx), p.store.Close())
}
