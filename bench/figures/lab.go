package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"dhow.dev/dhow/internal/client"
	dhowv1 "dhow.dev/dhow/proto/dhow/v1"
	"dhow.dev/dhow/proto/spec"
)

// lab is a place to run dhow in.
type lab struct {
	bin, dir string
	procs    []*process
}

type process struct {
	cmd  *exec.Cmd
	log  string
	done chan struct{}
}

func (l *lab) config() string { return filepath.Join(l.dir, "config.yaml") }

// start runs a binary of ours in the background.
func (l *lab) start(name string, args ...string) (*process, error) {
	p := &process{log: filepath.Join(l.dir, fmt.Sprintf("%s-%d.log", name, len(l.procs))), done: make(chan struct{})}
	out, err := os.Create(p.log)
	if err != nil {
		return nil, err
	}
	p.cmd = exec.Command(filepath.Join(l.bin, name), args...)
	p.cmd.Stdout, p.cmd.Stderr = out, out
	p.cmd.Env = append(os.Environ(), "DHOW_CONTEXT_FILE="+l.config())
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := p.cmd.Start(); err != nil {
		return nil, err
	}
	go func() { _ = p.cmd.Wait(); _ = out.Close(); close(p.done) }()
	l.procs = append(l.procs, p)
	return p, nil
}

func (p *process) kill() { _ = p.cmd.Process.Kill(); <-p.done }

// stop ends it as systemd does.
func (p *process) stop() { _ = p.cmd.Process.Signal(syscall.SIGTERM); <-p.done }

func (l *lab) end() {
	for _, p := range l.procs {
		p.kill()
	}
}

// dhow runs one command.
func (l *lab) dhow(ctx context.Context, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, filepath.Join(l.bin, "dhow"), args...)
	cmd.Env = append(os.Environ(), "DHOW_CONTEXT_FILE="+l.config())
	out, err := cmd.CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("dhow %s: %w: %s", strings.Join(args, " "), err, out)
	}
	return strings.TrimSpace(string(out)), nil
}

func (l *lab) client() (*client.Client, error) {
	file, err := client.Load(l.config())
	if err != nil {
		return nil, err
	}
	c, err := file.Find("")
	if err != nil {
		return nil, err
	}
	return client.FromContext(c, time.Now)
}

// await tries until f succeeds.
func await(ctx context.Context, what string, f func() error) error {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	for {
		err := f()
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%s: %w", what, err)
		case <-time.After(2 * time.Millisecond):
		}
	}
}

// answering waits until the cluster answers a linearizable read.
func (l *lab) answering(ctx context.Context) (*client.Client, error) {
	var c *client.Client
	err := await(ctx, "the API answers", func() (err error) {
		if c == nil {
			if c, err = l.client(); err != nil {
				return err
			}
		}
		_, err = c.Objects.Get(ctx, &dhowv1.GetRequest{Ref: &dhowv1.Ref{Kind: dhowv1.Kind_KIND_NAMESPACE, Name: "default"}})
		if err != nil {
			c = nil
		}
		return err
	})
	return c, err
}

// nodesReady waits for so many nodes.
func nodesReady(ctx context.Context, c *client.Client, n int) error {
	return await(ctx, "nodes ready", func() error {
		res, err := c.Objects.List(ctx, &dhowv1.ListRequest{Selector: &dhowv1.Selector{Kind: dhowv1.Kind_KIND_NODE}})
		if err != nil {
			return err
		}
		ready := 0
		for _, o := range res.GetObjects() {
			if o.GetNode().GetLiveness().GetState() == dhowv1.NodeState_NODE_STATE_READY {
				ready++
			}
		}
		if ready < n {
			return fmt.Errorf("%d of %d ready", ready, n)
		}
		return nil
	})
}

func ports(n int) ([]string, error) {
	var out []string
	for range n {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return nil, err
		}
		defer l.Close()
		out = append(out, l.Addr().String())
	}
	return out, nil
}

// up starts `dhow up` and waits until its nodes are ready.
func (l *lab) up(ctx context.Context, nodes int, addrs []string) (*client.Client, *process, error) {
	p, err := l.start("dhow", "up", "--nodes", fmt.Sprint(nodes), "--data-dir", filepath.Join(l.dir, "data"), "--api", addrs[0], "--raft", addrs[1], "--gossip", addrs[2])
	if err != nil {
		return nil, nil, err
	}
	c, err := l.answering(ctx)
	if err != nil {
		return nil, nil, err
	}
	return c, p, nodesReady(ctx, c, nodes)
}

// server starts one server of several.
func (l *lab) server(ctx context.Context, name string, join string) (*process, string, error) {
	addrs, err := ports(3)
	if err != nil {
		return nil, "", err
	}
	args := []string{"server", "--name", name, "--data-dir", filepath.Join(l.dir, name), "--api", addrs[0], "--raft", addrs[1], "--gossip", addrs[2]}
	if join != "" {
		token, err := l.dhow(ctx, "token", "create", "--role", "join-server", "--quiet")
		if err != nil {
			return nil, "", err
		}
		args = append(args, "--join", join, "--token", token)
	}
	p, err := l.start("dhow", args...)
	if err != nil {
		return nil, "", err
	}
	c, err := l.answering(ctx)
	if err != nil {
		return nil, "", err
	}
	return p, addrs[0], await(ctx, name+" votes", func() error {
		info, err := c.Cluster.Info(ctx, &dhowv1.InfoRequest{})
		if err != nil {
			return err
		}
		for _, s := range info.GetServers() {
			if s.GetName() == name && s.GetVoter() {
				return nil
			}
		}
		return errors.New("not yet")
	})
}

// agent starts one node.
func (l *lab) agent(ctx context.Context, binary, name, join string, more ...string) (*process, error) {
	token, err := l.dhow(ctx, "token", "create", "--role", "join-node", "--quiet")
	if err != nil {
		return nil, err
	}
	args := []string{"--name", name, "--data-dir", filepath.Join(l.dir, name), "--join", join, "--token", token, "--address", "127.0.0.1", "--gossip", "127.0.0.1:0"}
	if binary == "dhow" {
		args = append([]string{"agent"}, args...)
	}
	return l.start(binary, append(args, more...)...)
}

// guest is the path of an example guest.
func (l *lab) guest(name string) string { return filepath.Join(l.bin, "guests", name+".wasm") }

// push uploads a module and returns its digest.
func (l *lab) push(ctx context.Context, module string) (string, error) {
	out, err := l.dhow(ctx, "push", module)
	if err != nil {
		return "", err
	}
	return out, nil
}

func workload(name, digest string, replicas uint32) *dhowv1.Workload {
	w := &dhowv1.Workload{
		Meta: &dhowv1.Meta{Name: name, Namespace: "default"},
		Spec: &dhowv1.WorkloadSpec{Replicas: &replicas, Template: &dhowv1.Template{Tasks: []*dhowv1.Task{{
			Source:    &dhowv1.Task_Wasm{Wasm: &dhowv1.WasmSource{Artifact: digest}},
			Resources: &dhowv1.Resources{Requests: &dhowv1.ResourceList{Cpu: 1, Memory: 1 << 20}},
		}}}},
	}
	return w
}

func apply(ctx context.Context, c *client.Client, ws ...*dhowv1.Workload) error {
	req := &dhowv1.ApplyRequest{}
	for _, w := range ws {
		req.Objects = append(req.Objects, spec.Wrap(w))
	}
	_, err := c.Objects.Apply(ctx, req)
	return err
}
