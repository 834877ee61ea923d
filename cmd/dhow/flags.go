package main

import (
	"strconv"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"google.golang.org/protobuf/types/known/durationpb"

	"dhow.dev/dhow/proto/spec"
)

// durationFlag is a duration that knows whether it was given.
type durationFlag struct {
	d     time.Duration
	given bool
}

// String implements pflag.Value.
func (f *durationFlag) String() string {
	if !f.given {
		return ""
	}
	return f.d.String()
}

// Set implements pflag.Value.
func (f *durationFlag) Set(s string) error {
	d, err := time.ParseDuration(s)
	if err != nil || d < 0 {
		return spec.Errorf(spec.CodeInvalid, "%q is no duration such as 500ms, 30s or 1h30m", s)
	}
	f.d, f.given = d, true
	return nil
}

// Type implements pflag.Value.
func (f *durationFlag) Type() string { return "duration" }

var _ pflag.Value = (*durationFlag)(nil)

// waitFlags are --wait and --no-wait. Neither: wait on a terminal.
type waitFlags struct{ wait, noWait bool }

func (w *waitFlags) add(cmd *cobra.Command, what string) {
	cmd.Flags().BoolVar(&w.wait, "wait", false, "wait until "+what+" (the default on a terminal)")
	cmd.Flags().BoolVar(&w.noWait, "no-wait", false, "do not wait")
}

// wanted decides, and refuses both.
func (w *waitFlags) wanted(cmd *cobra.Command, a *app) (bool, error) {
	if w.wait && w.noWait {
		return false, usagef(cmd, "--wait and --no-wait exclude each other")
	}
	return w.wait || (!w.noWait && a.outTerminal), nil
}

// args makes a check of the number of arguments; most below 0 is no bound.
func args(least, most int, what string) cobra.PositionalArgs {
	return func(cmd *cobra.Command, given []string) error {
		switch {
		case len(given) < least:
			return usagef(cmd, "%s is missing", what)
		case most >= 0 && len(given) > most:
			return usagef(cmd, "%q is one argument too many", given[most])
		}
		return nil
	}
}

// proto is nil when the flag was not given.
func (f *durationFlag) proto() *durationpb.Duration {
	if !f.given {
		return nil
	}
	return durationpb.New(f.d)
}

func parsePort(s string) (uint32, error) {
	n, err := strconv.ParseUint(s, 10, 16)
	return uint32(n), err
}
