package main

import (
	"errors"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"dhow.dev/dhow/proto/spec"
	"dhow.dev/dhow/wasmrt"
)

func runCmd(a *app) *cobra.Command {
	var env []string
	var memory string
	cmd := &cobra.Command{
		Use:   "run FILE.wasm [ARGS...]",
		Short: "Run a module once, here, without a cluster",
		Long: `Run a module once, here, without a cluster, on this terminal's input and output.
dhow exits with the module's own exit code.`,
		Args: args(1, -1, "FILE.wasm"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.runModule(cmd, args, env, memory)
		},
	}
	cmd.Flags().SetInterspersed(false) // flags behind the file are the module's
	cmd.Flags().StringArrayVarP(&env, "env", "e", nil, "environment, NAME=value; NAME alone takes it from here (repeatable)")
	cmd.Flags().StringVar(&memory, "memory", "", "memory limit, such as 64Mi")
	return cmd
}

func (a *app) runModule(cmd *cobra.Command, args, env []string, memory string) error {
	vars, err := parseEnv(env)
	if err != nil {
		return err
	}
	conf := wasmrt.Config{Args: append([]string{filepath.Base(args[0])}, args[1:]...), Stdin: a.stdin, Stdout: a.stdout, Stderr: a.stderr}
	for _, v := range vars {
		conf.Env = append(conf.Env, v.GetName()+"="+v.GetValue())
	}
	if memory != "" {
		if conf.Limits.Memory, err = spec.ParseMemory(memory); err != nil {
			return spec.Errorf(spec.CodeInvalid, "--memory: %w", err)
		}
	}
	ctx, cancel := a.within(cmd.Context(), 0)
	defer cancel()
	var o wasmrt.Options
	// Without a place for it, nothing is cached.
	if dir, err := os.UserCacheDir(); err == nil {
		o.CacheDir = filepath.Join(dir, "dhow", "wasm")
	}
	engine, err := wasmrt.NewEngine(ctx, o)
	if err != nil {
		return moduleError(args[0], err)
	}
	defer func() { _ = engine.Close() }()
	module, err := engine.CompileFile(ctx, args[0])
	if err != nil {
		return moduleError(args[0], err)
	}
	defer module.Close()
	exit, err := module.Run(ctx, conf)
	switch {
	case err != nil:
		return moduleError(args[0], err)
	case ctx.Err() != nil:
		return timedOut(ctx, ctx.Err())
	case exit.Code == 0:
		return nil
	case exit.Message != "":
		a.errorf("%s: %s", args[0], exit.Message)
	}
	// What does not fit an exit code must still not look like success.
	code := int(exit.Code & 0xff)
	if code == 0 {
		code = exitFailed
	}
	return &exitError{code}
}

// moduleError tells faults of the file from faults of this machine.
func moduleError(file string, err error) error {
	if e, ok := errors.AsType[*wasmrt.Error](err); ok && (e.Permanent() || e.Reason == wasmrt.ReasonUnreadable) {
		return spec.Errorf(spec.CodeInvalid, "%s: %w", file, err)
	}
	return err
}
