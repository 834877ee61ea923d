package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"runtime"
	"runtime/debug"
	"strings"
	"syscall"
	"time"
)

// oneRun is what a program took and printed.
type oneRun struct {
	CPU    time.Duration
	Stdout string
}

// programRole compiles a guest for a form, and runs it. The collector works
// only between runs: while a collection waits for a guest, the others would look
// better than they are.
func programRole(ctx context.Context, args []string) (answer, error) {
	debug.SetGCPercent(-1)
	form := forms()[args[0]]
	if form == nil {
		return nil, fmt.Errorf("unknown form %q", args[0])
	}
	wasm, err := os.ReadFile(args[1])
	if err != nil {
		return nil, err
	}
	run, err := form(ctx, wasm)
	if err != nil {
		return nil, err
	}
	return func(context.Context) (any, error) {
		runtime.GC()
		var stdout bytes.Buffer
		before, err := cpuTime()
		if err != nil {
			return nil, err
		}
		if err := run(&stdout); err != nil {
			return nil, err
		}
		after, err := cpuTime()
		return oneRun{after - before, strings.TrimSpace(stdout.String())}, err
	}, nil
}

// cpuTime is what this process has computed: other load on the machine does
// not count.
func cpuTime() (time.Duration, error) {
	var u syscall.Rusage
	err := syscall.Getrusage(syscall.RUSAGE_SELF, &u)
	return time.Duration(u.Utime.Nano() + u.Stime.Nano()), err
}
