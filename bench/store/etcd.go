package main

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"syscall"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"
)

// etcd is a server of its own, on the same disk.
type etcd struct {
	cmd     *exec.Cmd
	clients []*clientv3.Client
}

// openEtcd shares so many connections among its clients.
func openEtcd(connections int) opener {
	return func(ctx context.Context, dir string) (driver, error) { return startEtcd(ctx, dir, connections) }
}

func startEtcd(ctx context.Context, dir string, connections int) (driver, error) {
	path, err := exec.LookPath("etcd")
	if err != nil {
		return nil, fmt.Errorf("etcd is missing: apt-get install etcd-server: %w", err)
	}
	addrs, err := addresses(2)
	if err != nil {
		return nil, err
	}
	client, peer := addrs[0], addrs[1]
	cmd := exec.CommandContext(ctx, path, "--data-dir", dir, "--logger", "zap", "--log-level", "fatal",
		"--listen-client-urls", "http://"+client, "--advertise-client-urls", "http://"+client,
		"--listen-peer-urls", "http://"+peer, "--initial-advertise-peer-urls", "http://"+peer,
		"--initial-cluster", "default=http://"+peer, "--quota-backend-bytes", "8000000000")
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	e := &etcd{cmd: cmd}
	for range connections {
		c, err := clientv3.New(clientv3.Config{Endpoints: []string{client}, DialTimeout: 10 * time.Second, Logger: zap.NewNop(), Context: ctx})
		if err != nil {
			return nil, errors.Join(err, e.close())
		}
		e.clients = append(e.clients, c)
	}
	wait, cancel := context.WithTimeout(ctx, 15*time.Second)
	defer cancel()
	for {
		once, stop := context.WithTimeout(wait, time.Second)
		_, err := e.clients[0].Put(once, "ready", "1")
		stop()
		if err == nil {
			return e, nil
		}
		if wait.Err() != nil {
			return nil, errors.Join(fmt.Errorf("etcd does not answer: %w", err), e.close())
		}
	}
}

func (e *etcd) name() string { return "etcd, gRPC" }

func (e *etcd) objects() int { return 1 }

func (e *etcd) put(ctx context.Context, worker, n int, value string) error {
	_, err := e.clients[worker%len(e.clients)].Put(ctx, fmt.Sprintf("artifact/w%d-%d", worker, n), value)
	return err
}

func (e *etcd) close() error {
	var err error
	for _, c := range e.clients {
		err = errors.Join(err, c.Close())
	}
	if e.cmd.Process != nil {
		err = errors.Join(err, e.cmd.Process.Kill())
		_ = e.cmd.Wait()
	}
	return err
}
