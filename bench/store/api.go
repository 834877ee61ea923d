package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"

	"dhow.dev/dhow/internal/client"
	"dhow.dev/dhow/internal/pki"
	dhowv1 "dhow.dev/dhow/proto/dhow/v1"
	"dhow.dev/dhow/proto/spec"
)

// server is a `dhow server` of its own, called as the command line calls it:
// Connect over HTTP/2, TLS and a token, with every check that the API makes.
type server struct {
	batch   int
	cmd     *exec.Cmd
	log     *os.File
	clients []*client.Client
}

// openAPI writes batch objects with each call, over so many connections.
func openAPI(bin string, batch, connections int, h1 bool) opener {
	return func(ctx context.Context, dir string) (driver, error) {
		s := &server{batch: batch}
		if err := s.open(ctx, bin, dir, connections, h1); err != nil {
			return nil, errors.Join(err, s.close())
		}
		return s, nil
	}
}

func (s *server) open(ctx context.Context, bin, dir string, connections int, h1 bool) error {
	addrs, err := addresses(3)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	if s.log, err = os.Create(filepath.Join(dir, "log")); err != nil {
		return err
	}
	config := filepath.Join(dir, "config.yaml")
	s.cmd = exec.CommandContext(ctx, bin, "server", "--name", "s1", "--data-dir", filepath.Join(dir, "data"), "--advertise", "127.0.0.1",
		"--api", addrs[0], "--raft", addrs[1], "--gossip", addrs[2], "--context-file", config)
	s.cmd.Stdout, s.cmd.Stderr = s.log, s.log
	s.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := s.cmd.Start(); err != nil {
		return err
	}
	reach, err := s.context(ctx, config)
	if err != nil {
		return err
	}
	for range connections {
		c, err := dial(reach, h1)
		if err != nil {
			return err
		}
		s.clients = append(s.clients, c)
	}
	return nil
}

// dial is client.FromContext, but for the choice of HTTP/1.1.
func dial(reach client.Context, h1 bool) (*client.Client, error) {
	der, err := pki.DecodeCert([]byte(reach.CA))
	if err != nil {
		return nil, err
	}
	conf, err := pki.PinnedTLS(der, time.Now)
	if err != nil {
		return nil, err
	}
	return client.New(client.Options{Servers: reach.Servers, TLS: conf, Token: reach.Token, HTTP1: h1})
}

// context waits until the server, being ready, has written how to reach it.
func (s *server) context(ctx context.Context, path string) (client.Context, error) {
	ctx, cancel := context.WithTimeout(ctx, 15*time.Second)
	defer cancel()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for {
		if file, err := client.Load(path); err == nil {
			if c, err := file.Find(""); err == nil {
				return c, nil
			}
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			text, _ := os.ReadFile(s.log.Name())
			return client.Context{}, fmt.Errorf("dhow server is not ready: %w\n%s", ctx.Err(), text)
		}
	}
}

// addresses are free ports of this machine.
func addresses(n int) ([]string, error) {
	var out []string
	for range n {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return nil, err
		}
		defer func() { _ = l.Close() }()
		out = append(out, l.Addr().String())
	}
	return out, nil
}

func (s *server) name() string {
	if s.batch == 1 {
		return "dhow API, 1 object a call"
	}
	return fmt.Sprintf("dhow API, %d objects a call", s.batch)
}

func (s *server) objects() int { return s.batch }

func (s *server) put(ctx context.Context, worker, n int, value string) error {
	objs := make([]*dhowv1.Object, s.batch)
	for i := range objs {
		objs[i] = spec.Wrap(&dhowv1.Namespace{Meta: &dhowv1.Meta{
			Name: fmt.Sprintf("w%d-%d-%d", worker, n, i), Annotations: map[string]string{"note": value},
		}})
	}
	_, err := s.clients[worker%len(s.clients)].Objects.Apply(ctx, &dhowv1.ApplyRequest{Objects: objs})
	return err
}

func (s *server) close() error {
	for _, c := range s.clients {
		c.Close()
	}
	var err error
	if s.cmd != nil && s.cmd.Process != nil {
		err = s.cmd.Process.Kill()
		_ = s.cmd.Wait()
	}
	if s.log != nil {
		err = errors.Join(err, s.log.Close())
	}
	return err
}
