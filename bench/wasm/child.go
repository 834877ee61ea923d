package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"runtime/debug"
	"strings"
	"syscall"
	"time"
)

// childCommand is how this program calls itself, for a process that has one
// form of one guest and nothing else in it.
const childCommand = "child"

// runChild compiles a guest, and runs it for each line that it is sent. The
// collector works only between runs: while a collection waits for a guest, the
// other forms would look better than they are.
func runChild(ctx context.Context, args []string, in io.Reader, out, errs io.Writer) int {
	debug.SetGCPercent(-1)
	if err := serveRuns(ctx, args, in, out); err != nil {
		fmt.Fprintln(errs, "wasm:", err)
		return 1
	}
	return 0
}

func serveRuns(ctx context.Context, args []string, in io.Reader, out io.Writer) error {
	if len(args) != 2 || forms()[args[0]] == nil {
		return errors.New("usage: wasm child FORM MODULE")
	}
	wasm, err := os.ReadFile(args[1])
	if err != nil {
		return err
	}
	run, err := forms()[args[0]](ctx, wasm)
	if err != nil {
		return err
	}
	for lines := bufio.NewScanner(in); lines.Scan(); {
		runtime.GC()
		var stdout bytes.Buffer
		before, err := cpuTime()
		if err != nil {
			return err
		}
		if err := run(&stdout); err != nil {
			return err
		}
		after, err := cpuTime()
		if err != nil {
			return err
		}
		fmt.Fprintf(out, "%d %q\n", after-before, strings.TrimSpace(stdout.String()))
	}
	return nil
}

// cpuTime is what this process has computed: other load on the machine does
// not count.
func cpuTime() (time.Duration, error) {
	var u syscall.Rusage
	err := syscall.Getrusage(syscall.RUSAGE_SELF, &u)
	return time.Duration(u.Utime.Nano() + u.Stime.Nano()), err
}

// child is a process that runs a guest when it is told.
type child struct {
	cmd *exec.Cmd
	in  io.WriteCloser
	out *bufio.Reader
}

func startChild(ctx context.Context, form, module string) (*child, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	c := &child{cmd: exec.CommandContext(ctx, self, childCommand, form, module)}
	c.cmd.Stderr = os.Stderr
	if c.in, err = c.cmd.StdinPipe(); err != nil {
		return nil, err
	}
	out, err := c.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	c.out = bufio.NewReader(out)
	return c, c.cmd.Start()
}

// run is the CPU time of one run, and what the guest wrote.
func (c *child) run() (d time.Duration, stdout string, err error) {
	if _, err := fmt.Fprintln(c.in); err != nil {
		return 0, "", err
	}
	line, err := c.out.ReadString('\n')
	if err != nil {
		return 0, "", fmt.Errorf("%s: %w", strings.Join(c.cmd.Args[2:], " "), err)
	}
	var ns int64
	_, err = fmt.Sscanf(line, "%d %q", &ns, &stdout)
	return time.Duration(ns), stdout, err
}

func (c *child) close() error { return errors.Join(c.in.Close(), c.cmd.Wait()) }
