package main

import (
	"context"
	"errors"
	"io"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"dhow.dev/dhow/cmd/internal/output"
	"dhow.dev/dhow/internal/client"
	"dhow.dev/dhow/proto/spec"
)

// How long commands take at most, unless --timeout says otherwise.
const (
	answerTimeout = 30 * time.Second
	waitTimeout   = 5 * time.Minute
)

// app is what verbs share: streams, settings and the client of the cluster.
type app struct {
	stdin          io.Reader
	stdout, stderr io.Writer
	global         globals
	now            func() time.Time

	outTerminal, errTerminal bool
	width                    func() int // of the terminal at stderr
	style, errStyle          output.Style
	format                   output.Format

	conn *client.Client
	used client.Context // that conn was made from
	// By flag or environment, not by the context.
	namespaceGiven bool
}

func newApp(stdin io.Reader, stdout, stderr io.Writer) *app {
	a := &app{stdin: stdin, stdout: stdout, stderr: stderr, now: time.Now, width: func() int { return 80 }}
	a.outTerminal = isTerminal(stdout)
	a.errTerminal = isTerminal(stderr)
	if f, ok := stderr.(*os.File); ok && a.errTerminal {
		a.width = func() int {
			if w, _, err := term.GetSize(int(f.Fd())); err == nil {
				return w
			}
			return 80
		}
	}
	a.setColors()
	return a
}

func isTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}

func (a *app) setColors() {
	color := !a.global.noColor && os.Getenv("NO_COLOR") == "" && os.Getenv("TERM") != "dumb"
	a.style = output.Style{Color: color && a.outTerminal}
	a.errStyle = output.Style{Color: color && a.errTerminal}
}

// setOutput reads the flags about output, and refuses -o where it would be
// ignored.
func (a *app) setOutput(cmd *cobra.Command) error {
	a.setColors()
	f, err := output.ParseFormat(a.global.output)
	if err != nil {
		return err
	}
	a.format = f
	if flag := cmd.Flags().Lookup("output"); flag != nil && flag.Changed && cmd.Annotations[formats] == "" {
		return usagef(cmd, "%s has one form of output: leave -o out", cmd.CommandPath())
	}
	return nil
}

// within bounds a command by --timeout, or by its default; 0 is no bound.
func (a *app) within(ctx context.Context, standard time.Duration) (context.Context, context.CancelFunc) {
	d := standard
	if a.global.timeout.given {
		d = a.global.timeout.d
	}
	if d == 0 {
		return context.WithCancel(ctx)
	}
	cause := &spec.Error{Code: spec.CodeTimeout, Message: "no answer within " + d.String() + " (--timeout)", Err: context.DeadlineExceeded}
	return context.WithTimeoutCause(ctx, d, cause)
}

// settings of the cluster to talk to: the context with what flags say.
func (a *app) cluster() (client.Context, error) {
	path, err := a.contextPath()
	if err != nil {
		return client.Context{}, err
	}
	g := &a.global
	var c client.Context
	if g.server != "" && g.ca != "" && g.context == "" {
		c = client.Context{Name: "(flags)"} // needs no file at all
	} else {
		file, err := client.Load(path)
		if err != nil {
			return client.Context{}, err
		}
		if c, err = file.Find(g.context); err != nil {
			return client.Context{}, err
		}
	}
	if g.server != "" {
		c.Servers, c.Pinned = strings.Split(g.server, ","), true
	}
	if g.token != "" {
		c.Token = g.token
	}
	if g.ca != "" {
		pem, err := os.ReadFile(g.ca)
		if err != nil {
			return c, spec.Errorf(spec.CodeInvalid, "--ca: %w", err)
		}
		c.CA = string(pem)
	}
	return c, nil
}

func (a *app) contextPath() (string, error) {
	if a.global.contextFile != "" {
		return a.global.contextFile, nil
	}
	return client.Path(os.Getenv)
}

// client connects, lazily, to the cluster.
func (a *app) client() (*client.Client, error) {
	if a.conn != nil {
		return a.conn, nil
	}
	c, err := a.cluster()
	if err != nil {
		return nil, err
	}
	if a.namespaceGiven = a.global.namespace != ""; !a.namespaceGiven {
		a.global.namespace = c.Namespace
	}
	if a.conn, err = client.FromContext(c, a.now); err == nil {
		a.used = c
	}
	return a.conn, err
}

// namespace is what objects without one belong to; call client first.
func (a *app) namespace() string {
	if a.global.namespace == "" {
		return spec.DefaultNamespace
	}
	return a.global.namespace
}

func (a *app) close() {
	if a.conn == nil {
		return
	}
	a.conn.Close()
	a.remember()
}

// remember keeps what was learned of the servers, so that the next command
// finds the cluster when the servers it began with are gone. A file that
// cannot be written costs only that.
func (a *app) remember() {
	now := a.conn.Servers()
	have := slices.Sorted(slices.Values(a.used.Servers))
	if a.used.Name == "" || a.used.Pinned || slices.Equal(have, slices.Sorted(slices.Values(now))) {
		return
	}
	path, err := a.contextPath()
	if err != nil {
		return
	}
	file, err := client.Load(path)
	if err != nil {
		return
	}
	if c, err := file.Find(a.used.Name); err == nil {
		c.Servers = now
		_ = client.Save(path, c, false)
	}
}

// progress makes a line on stderr.
func (a *app) progress() *output.Progress {
	return output.NewProgress(a.stderr, a.errTerminal, a.width, a.now)
}

// timedOut gives a time that ran out the words of its cause.
func timedOut(ctx context.Context, err error) error {
	if err == nil || !errors.Is(ctx.Err(), context.DeadlineExceeded) {
		return err
	}
	if cause, ok := errors.AsType[*spec.Error](context.Cause(ctx)); ok && spec.CodeOf(err) != spec.CodeInvalid {
		return cause
	}
	return err
}

// progressAfter is how long something may take before it shows progress.
const progressAfter = time.Second
