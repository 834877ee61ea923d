package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"path"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"dhow.dev/dhow/node"
	"dhow.dev/dhow/proto/spec"
	"dhow.dev/dhow/wasmrt"
	"dhow.dev/dhow/wasmrt/host"
)

// exitInterrupted is what a shell gives to a process that Ctrl-C ended.
const exitInterrupted = 130

// runFlags are run's.
type runFlags struct {
	env, dirs, net []string
	cpu, memory    string
	fuel           uint64
	stats          bool
	invoke         string
}

func runCmd(a *app) *cobra.Command {
	var f runFlags
	cmd := &cobra.Command{
		Use:   "run FILE.wasm [ARGS...]",
		Short: "Run a module once, here, without a cluster",
		Long: `Run a module once, here, without a cluster, on this terminal's input and output,
with the limits that it would have on a node. It sees no files and reaches
nothing but what --dir and --net-allow give it.

dhow exits with the module's own exit code; with 4 when --timeout ended it, with
152 when it ran out of fuel, with 139 when its stack did, with 134 when it trapped,
and with 130 after Ctrl-C.`,
		Example: `  dhow run hello.wasm --name ada
  dhow run --dir . --cpu 500m --memory 64Mi --timeout 10s --stats convert.wasm in.csv
  dhow run --net-allow https://api.example.com fetch.wasm
  dhow run --invoke add calc.wasm 1 2
  dhow run --invoke greet plugin.wasm < name.txt`,
		Args: args(1, -1, "FILE.wasm"),
		RunE: func(cmd *cobra.Command, args []string) error { return a.runModule(cmd.Context(), args, &f) },
	}
	flags := cmd.Flags()
	flags.SetInterspersed(false) // flags behind the file are the module's
	flags.StringArrayVarP(&f.env, "env", "e", nil, "environment, NAME=value; NAME alone takes it from here (repeatable)")
	flags.StringArrayVar(&f.dirs, "dir", nil, "directory that the module may read, HOST[:GUEST], and write with HOST:GUEST:rw; . is its / (repeatable)")
	flags.StringArrayVar(&f.net, "net-allow", nil, "where its HTTP requests may go: api.example.com, *.example.com, https://host:8443 (repeatable; default: nowhere)")
	flags.StringVar(&f.cpu, "cpu", "", "CPU limit, as 500m or 0.5 of a core")
	flags.StringVar(&f.memory, "memory", "", "memory limit, such as 64Mi")
	flags.Uint64Var(&f.fuel, "fuel", 0, "how many instructions it may run (default: no limit)")
	flags.BoolVar(&f.stats, "stats", false, "tell at the end what it used")
	flags.StringVar(&f.invoke, "invoke", "", "call this exported function with ARGS instead of running a command; an Extism plugin's gets the input as its data")
	return cmd
}

// config is what the guest gets.
func (f *runFlags) config(a *app, args []string) (c wasmrt.Config, err error) {
	c = wasmrt.Config{
		Args: append([]string{filepath.Base(args[0])}, args[1:]...), Stdin: a.stdin, Stdout: a.stdout, Stderr: a.stderr,
		Limits: wasmrt.Limits{Fuel: f.fuel, Timeout: a.global.timeout.d},
	}
	vars, err := parseEnv(f.env)
	if err != nil {
		return c, err
	}
	for _, v := range vars {
		c.Env = append(c.Env, v.GetName()+"="+v.GetValue())
	}
	if f.memory != "" {
		if c.Limits.Memory, err = spec.ParseMemory(f.memory); err != nil {
			return c, spec.Errorf(spec.CodeInvalid, "--memory: %w", err)
		}
	}
	if f.cpu != "" {
		cpu, err := spec.ParseCPU(f.cpu)
		if err != nil {
			return c, spec.Errorf(spec.CodeInvalid, "--cpu: %w", err)
		}
		c.Limits.CPU = uint32(min(cpu, math.MaxUint32)) //nolint:gosec // bounded
	}
	for _, d := range f.dirs {
		m, err := parseDir(d)
		if err != nil {
			return c, err
		}
		c.Mounts = append(c.Mounts, m)
	}
	return c, nil
}

// parseDir reads HOST[:GUEST[:rw]]. Without GUEST a directory is found where
// it is here, a relative one from the guest's root on.
func parseDir(text string) (wasmrt.Mount, error) {
	parts := strings.Split(text, ":")
	m := wasmrt.Mount{Host: parts[0]}
	switch {
	case len(parts) > 3 || m.Host == "":
		return m, spec.Errorf(spec.CodeInvalid, "--dir %s: want HOST, HOST:GUEST or HOST:GUEST:rw", text)
	case len(parts) == 3 && parts[2] != "rw" && parts[2] != "ro":
		return m, spec.Errorf(spec.CodeInvalid, "--dir %s: %q is neither rw nor ro", text, parts[2])
	}
	m.Writable = len(parts) == 3 && parts[2] == "rw"
	if len(parts) > 1 && parts[1] != "" {
		m.Guest = path.Clean("/" + parts[1])
	} else {
		m.Guest = path.Clean("/" + filepath.ToSlash(m.Host))
	}
	info, err := os.Stat(m.Host)
	if err != nil {
		return m, spec.Errorf(spec.CodeInvalid, "--dir: %w", err)
	}
	if !info.IsDir() {
		return m, spec.Errorf(spec.CodeInvalid, "--dir: %s is no directory", m.Host)
	}
	return m, nil
}

// policy is what the guest's host functions may do.
func (f *runFlags) policy(stderr io.Writer) (host.Policy, error) {
	p := host.Policy{Log: func(l host.Level, message string) { _, _ = fmt.Fprintf(stderr, "%s: %s\n", l, message) }}
	if len(f.net) > 0 {
		var err error
		if p.HTTP, err = host.NewHTTP(host.HTTPOptions{Allow: node.AllowList(f.net)}); err != nil {
			return p, spec.Errorf(spec.CodeInvalid, "--net-allow: %w", err)
		}
	}
	return p, nil
}

func (a *app) runModule(ctx context.Context, args []string, f *runFlags) error {
	conf, err := f.config(a, args)
	if err != nil {
		return err
	}
	policy, err := f.policy(a.stderr)
	if err != nil {
		return err
	}
	o := wasmrt.Options{Host: node.HostModules()}
	// Without a place for it, nothing is cached.
	if dir, err := os.UserCacheDir(); err == nil {
		o.CacheDir = filepath.Join(dir, "dhow", "wasm")
	}
	engine, err := wasmrt.NewEngine(ctx, o)
	if err != nil {
		return moduleError(args[0], err)
	}
	defer func() { _ = engine.Close() }()
	begun := a.now()
	module, err := engine.CompileFile(ctx, args[0])
	if err != nil {
		return moduleError(args[0], err)
	}
	defer module.Close()
	r := &moduleRun{app: a, file: args[0], module: module, config: conf, policy: policy, compiled: a.now().Sub(begun), begun: a.now()}
	if f.invoke == "" {
		err = r.command(host.With(ctx, policy))
	} else {
		err = r.invoke(host.With(ctx, policy), f.invoke, args[1:])
	}
	if f.stats && r.instance != nil {
		r.writeStats()
	}
	return err
}

// moduleError tells faults of the file from faults of this machine.
func moduleError(file string, err error) error {
	if e, ok := errors.AsType[*wasmrt.Error](err); ok && (e.Permanent() || e.Reason == wasmrt.ReasonUnreadable) {
		return spec.Errorf(spec.CodeInvalid, "%s: %w", file, err)
	}
	return err
}
