package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
)

// childCommand is how this program calls itself, for a process that has one
// contender and nothing else in it.
const childCommand = "child"

// role is what a child does: it answers a request with a value, which is sent
// as JSON, as often as it is asked.
type (
	role   func(ctx context.Context, args []string) (answer, error)
	answer func(ctx context.Context) (any, error)
)

func roles() map[string]role {
	return map[string]role{
		"program":    programRole,
		"pauses":     pausesRole,
		"starts":     startsRole,
		"idle":       idleRole,
		"neighbours": neighboursRole,
	}
}

func runChild(ctx context.Context, args []string, in io.Reader, out, errs io.Writer) int {
	if err := serveChild(ctx, args, in, out); err != nil {
		fmt.Fprintln(errs, "wasm:", err)
		return 1
	}
	return 0
}

func serveChild(ctx context.Context, args []string, in io.Reader, out io.Writer) error {
	if len(args) == 0 || roles()[args[0]] == nil {
		return errors.New("usage: wasm child ROLE ...")
	}
	a, err := roles()[args[0]](ctx, args[1:])
	if err != nil {
		return err
	}
	for lines := bufio.NewScanner(in); lines.Scan(); {
		value, err := a(ctx)
		if err != nil {
			return err
		}
		if err := json.NewEncoder(out).Encode(value); err != nil {
			return err
		}
	}
	return nil
}

// child is a process that measures when it is told.
type child struct {
	cmd *exec.Cmd
	in  io.WriteCloser
	out *json.Decoder
}

func startChild(ctx context.Context, args ...string) (*child, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	c := &child{cmd: exec.CommandContext(ctx, self, append([]string{childCommand}, args...)...)}
	c.cmd.Stderr = os.Stderr
	if c.in, err = c.cmd.StdinPipe(); err != nil {
		return nil, err
	}
	out, err := c.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	c.out = json.NewDecoder(out)
	return c, c.cmd.Start()
}

// ask has the child measure once.
func (c *child) ask(result any) error {
	if _, err := fmt.Fprintln(c.in); err != nil {
		return err
	}
	if err := c.out.Decode(result); err != nil {
		return fmt.Errorf("%s: %w", strings.Join(c.cmd.Args[2:], " "), err)
	}
	return nil
}

func (c *child) close() error { return errors.Join(c.in.Close(), c.cmd.Wait()) }

// once is a child for one question.
func once(ctx context.Context, result any, args ...string) error {
	c, err := startChild(ctx, args...)
	if err != nil {
		return err
	}
	return errors.Join(c.ask(result), c.close())
}
