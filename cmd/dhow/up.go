package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"

	"dhow.dev/dhow/cmd/internal/agentcmd"
	"dhow.dev/dhow/control"
	"dhow.dev/dhow/internal/client"
	"dhow.dev/dhow/node"
	"dhow.dev/dhow/node/machine"
	dhowv1 "dhow.dev/dhow/proto/dhow/v1"
	"dhow.dev/dhow/proto/spec"
	"dhow.dev/dhow/wasmrt"
)

const maxUpNodes = 100

// up is `dhow up`: a server and nodes in one process, each the same code as
// on a machine of its own.
type up struct {
	app      *app
	server   control.Config
	nodes    int
	context  string
	logLevel string
	reach    agentcmd.Reach
}

func upCmd(a *app) *cobra.Command {
	u := up{app: a}
	cmd := &cobra.Command{
		Use:   "up",
		Short: "Run a whole cluster on this machine: a server and nodes in one process",
		Long: `Run a whole cluster on this machine: a server and nodes in one process, until
Ctrl-C. The next start with the same data directory finds everything again.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return u.run(cmd.Context()) },
	}
	flags := cmd.Flags()
	flags.IntVar(&u.nodes, "nodes", 1, "how many nodes")
	flags.StringVar(&u.server.Dir, "data-dir", filepath.Join(dataHome(), "up"), "where everything is kept")
	flags.StringVar(&u.server.API, "api", "127.0.0.1:7400", "host:port of the API (TLS)")
	flags.StringVar(&u.server.Raft, "raft", "127.0.0.1:7401", "host:port for other servers (mutual TLS)")
	flags.StringVar(&u.server.Gossip, "gossip", "127.0.0.1:7402", "host:port for gossip, TCP and UDP (encrypted)")
	flags.StringVar(&u.context, "context-name", "up", "name of the context that is written for the command line")
	u.reach.Add(flags)
	flags.StringVar(&u.logLevel, "log-level", "warn", "debug, info, warn or error")
	return cmd
}

func (u *up) run(ctx context.Context) error {
	if u.nodes < 0 || u.nodes > maxUpNodes {
		return spec.Errorf(spec.CodeInvalid, "--nodes %d: from 0 to %d", u.nodes, maxUpNodes)
	}
	logger, err := newLogger(u.app.stderr, u.logLevel)
	if err != nil {
		return err
	}
	begin := u.app.now()
	dir := u.server.Dir
	u.server.Name, u.server.Dir, u.server.Logger = "server-1", filepath.Join(dir, "server"), logger
	server, err := control.New(ctx, u.server)
	if err != nil {
		return err
	}
	// Nodes stop before the server, so that the last they say is heard.
	serving, stopServer := context.WithCancel(context.WithoutCancel(ctx))
	defer stopServer()
	served := make(chan error, 1)
	go func() { served <- server.Run(serving) }()
	select {
	case <-server.Ready():
	case err := <-served:
		return err
	case <-ctx.Done():
		stopServer()
		return <-served
	}
	err = u.withNodes(ctx, server, dir, logger, begin, served)
	stopServer()
	return errors.Join(err, <-served)
}

func (u *up) withNodes(ctx context.Context, server *control.Server, dir string, logger *slog.Logger, begin time.Time, served chan error) error {
	c, file, err := u.writeContext(server, dir)
	if err != nil {
		return err
	}
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error {
		select {
		case err := <-served:
			served <- err
			return err
		case <-ctx.Done():
			return nil
		}
	})
	if err := u.startNodes(ctx, group, server, dir, c, logger); err != nil {
		return errors.Join(err, stopped(group))
	}
	u.greet(c, file, u.app.now().Sub(begin))
	if err := group.Wait(); err != nil && !errors.Is(err, context.Canceled) {
		return err
	}
	_, _ = fmt.Fprintln(u.app.stdout, "\nStopped. The next dhow up finds everything again.")
	return nil
}

func stopped(g *errgroup.Group) error {
	g.Go(func() error { return context.Canceled })
	if err := g.Wait(); !errors.Is(err, context.Canceled) {
		return err
	}
	return nil
}

// startNodes starts each node with a directory and ports of its own. They
// share the machine: each says it has its part of it.
func (u *up) startNodes(ctx context.Context, group *errgroup.Group, server *control.Server, dir string, c client.Context, logger *slog.Logger) error {
	if u.nodes == 0 {
		return nil
	}
	engine, err := wasmrt.NewEngine(ctx, wasmrt.Options{CacheDir: filepath.Join(dir, "compiled"), Host: node.HostModules()})
	if err != nil {
		return err
	}
	whole := machine.Capacity("/")
	share := &dhowv1.ResourceList{Cpu: whole.GetCpu() / uint64(u.nodes), Memory: whole.GetMemory() / uint64(u.nodes)}
	host, _, _ := net.SplitHostPort(u.server.API)
	for i := 1; i <= u.nodes; i++ {
		config := node.Config{
			Name: "node-" + strconv.Itoa(i), Dir: filepath.Join(dir, "node-"+strconv.Itoa(i)), Join: c.Servers,
			Address: host, Gossip: net.JoinHostPort(host, "0"), Engine: engine, Logger: logger, Capacity: share,
		}
		if err := u.reach.Apply(&config); err != nil {
			return err
		}
		if _, err := os.Stat(config.Dir); errors.Is(err, os.ErrNotExist) {
			if config.Token, err = server.JoinToken(ctx, dhowv1.Role_ROLE_JOIN_NODE, time.Hour); err != nil {
				return err
			}
		}
		n, err := node.New(config)
		if err != nil {
			return err
		}
		group.Go(func() error { return n.Run(ctx) })
	}
	return nil
}

// writeContext gives the user the context: a new one after a birth, else the
// one that was kept with the data.
func (u *up) writeContext(server *control.Server, dir string) (client.Context, string, error) {
	secret := server.Admin().Secret
	if secret == "" {
		kept, err := client.Load(filepath.Join(dir, "admin.yaml"))
		if err != nil {
			return client.Context{}, "", err
		}
		old, err := kept.Find("")
		if err != nil {
			return client.Context{}, "", err
		}
		secret = old.Token
	}
	c := server.Context(u.context, secret)
	file, err := u.app.saveContext(dir, c)
	return c, file, err
}

func (u *up) greet(c client.Context, file string, took time.Duration) {
	_, _ = fmt.Fprintf(u.app.stdout, `dhow is up after %d ms: a server at https://%s and %s. Ctrl-C stops it.
The context %q is in %s; in another terminal, try:

  dhow node list
  dhow deploy NAME FILE.wasm --replicas 3
  dhow get instances -o wide
  dhow logs -f NAME --all
`, took.Milliseconds(), c.Servers[0], count(u.nodes, "node"), c.Name, file)
}
