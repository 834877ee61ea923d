package main

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"

	"dhow.dev/dhow/cmd/internal/settings"
	"dhow.dev/dhow/control"
	"dhow.dev/dhow/internal/client"
	dhowv1 "dhow.dev/dhow/proto/dhow/v1"
	"dhow.dev/dhow/proto/spec"
)

const joinTokenTTL = 24 * time.Hour

// serveFlags are the settings of `dhow server`; each may also come from the
// environment or the config file.
type serveFlags struct {
	control.Config
	app                               *app
	configFile, contextName, logLevel string
}

// addServe makes cmd, which lists and removes servers, also run one.
func addServe(cmd *cobra.Command, a *app) {
	f := serveFlags{app: a}
	flags := cmd.Flags()
	flags.StringVar(&f.configFile, "config", "", "file of settings, named as these flags")
	flags.StringVar(&f.Name, "name", hostname(), "this server's name in the cluster")
	flags.StringVar(&f.Dir, "data-dir", filepath.Join(dataHome(), "server"), "where everything is kept")
	flags.StringVar(&f.API, "api", ":7400", "host:port of the API (TLS)")
	flags.StringVar(&f.Raft, "raft", ":7401", "host:port for the other servers (mutual TLS)")
	flags.StringVar(&f.Gossip, "gossip", ":7402", "host:port for gossip, TCP and UDP (encrypted)")
	flags.StringVar(&f.Advertise, "advertise", "", "host that others reach this server at (default: this machine's address)")
	flags.StringVar(&f.Zone, "zone", "", "where this server stands")
	flags.StringArrayVar(&f.Join, "join", nil, "API address of a running cluster to join (repeatable); without it the first start makes a new cluster")
	flags.StringVar(&f.Token, "token", "", "join token: dhow token create --role join-server")
	flags.DurationVar(&f.LeaderTimeout, "leader-timeout", 0, "how long a silent leader is waited for (default 300ms)")
	flags.StringVar(&f.contextName, "context-name", "dhow", "name of the context that a new cluster's first start writes for the command line")
	flags.StringVar(&f.logLevel, "log-level", "info", "debug, info, warn or error")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if len(args) > 0 {
			return spec.Errorf(spec.CodeInvalid, "unknown command %q for \"dhow server\"; see dhow server --help", args[0])
		}
		if err := settings.Load(cmd.LocalFlags(), f.configFile, os.LookupEnv); err != nil {
			return err
		}
		return f.run(cmd.Context(), a.stdout, a.stderr)
	}
}

func (f *serveFlags) run(ctx context.Context, stdout, stderr io.Writer) error {
	logger, err := newLogger(stderr, f.logLevel)
	if err != nil {
		return err
	}
	f.Logger = logger
	server, err := control.New(ctx, f.Config)
	if err != nil {
		return err
	}
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error { return server.Run(ctx) })
	group.Go(func() error {
		select {
		case <-server.Ready():
		case <-ctx.Done():
			return nil
		}
		return f.greet(ctx, server, stdout)
	})
	return group.Wait()
}

// greet tells the owner what to do next.
func (f *serveFlags) greet(ctx context.Context, server *control.Server, out io.Writer) error {
	born := server.Admin().Secret != ""
	context := server.Context(f.contextName, server.Admin().Secret)
	api := context.Servers[0]
	_, _ = fmt.Fprintf(out, "dhow server %s is ready: https://%s\n", f.Name, api)
	if !born {
		_, _ = fmt.Fprintf(out, "To add a node: dhow agent --join %s --token $(dhow token create --role join-node --quiet)\n", api)
		return nil
	}
	where, err := f.app.saveContext(f.Dir, context)
	if err != nil {
		return err
	}
	token, err := server.JoinToken(ctx, dhowv1.Role_ROLE_JOIN_NODE, joinTokenTTL)
	if err != nil {
		return err
	}
	_, _ = fmt.Fprintf(out, `This is a new cluster. The context %q is in %s, so that dhow works here at once.

To add a node, run there (good for %s):
  dhow agent --join %s --token %s
To add a server:
  dhow server --join %s --token $(dhow token create --role join-server --quiet)
`, context.Name, where, "a day", api, token, api)
	return nil
}

// saveContext keeps a new cluster's context with its data, from where it is
// never lost, and gives it to the user.
func (a *app) saveContext(dir string, c client.Context) (file string, err error) {
	if err := client.Save(filepath.Join(dir, "admin.yaml"), c, true); err != nil {
		return "", err
	}
	if file, err = a.contextPath(); err != nil {
		return "", err
	}
	return file, client.Save(file, c, true)
}

func newLogger(w io.Writer, level string) (*slog.Logger, error) {
	var l slog.Level
	if err := l.UnmarshalText([]byte(level)); err != nil {
		return nil, spec.Errorf(spec.CodeInvalid, "log level %q: use debug, info, warn or error", level)
	}
	return slog.New(slog.NewTextHandler(w, &slog.HandlerOptions{Level: l})), nil
}

// dataHome is /var/lib/dhow for root, else under the user's own data.
func dataHome() string {
	if os.Geteuid() == 0 {
		return "/var/lib/dhow"
	}
	if dir := os.Getenv("XDG_DATA_HOME"); dir != "" {
		return filepath.Join(dir, "dhow")
	}
	home, err := os.UserHomeDir()
	if err != nil {
		home = "."
	}
	return filepath.Join(home, ".local", "share", "dhow")
}

// hostname is the machine's name as a DNS label.
func hostname() string {
	name, err := os.Hostname()
	if err != nil {
		return "server-1"
	}
	name, _, _ = strings.Cut(strings.ToLower(name), ".")
	if spec.CheckName(name) != "" {
		return "server-1"
	}
	return name
}
