package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"

	"dhow.dev/dhow/cmd/internal/output"
	"dhow.dev/dhow/proto/spec"
	"dhow.dev/dhow/wasmrt"
	"dhow.dev/dhow/wasmrt/extism"
	"dhow.dev/dhow/wasmrt/host"
)

// moduleRun is one `dhow run`.
type moduleRun struct {
	app      *app
	file     string
	module   *wasmrt.Module
	config   wasmrt.Config
	policy   host.Policy
	compiled time.Duration
	begun    time.Time

	instance *wasmrt.Instance // once there is one
	exit     wasmrt.Exit
}

// command runs _start.
func (r *moduleRun) command(ctx context.Context) error {
	i, err := r.module.Start(ctx, r.config)
	if e, ok := errors.AsType[*wasmrt.Error](err); ok && e.Reason == wasmrt.ReasonNoStart {
		return spec.Errorf(spec.CodeInvalid, "%s: %w; or call one of its functions with --invoke: %s", r.file, err, r.functions())
	}
	if err != nil {
		return r.failed(ctx, err)
	}
	r.instance = i
	r.exit = i.Wait()
	return r.ended(ctx, r.exit)
}

// invoke calls one function.
func (r *moduleRun) invoke(ctx context.Context, name string, args []string) error {
	all := r.module.Exports()
	n := slices.IndexFunc(all, func(e wasmrt.Export) bool { return e.Name == name })
	if n < 0 {
		return spec.Errorf(spec.CodeInvalid, "%s has no function %q; it has: %s", r.file, name, r.functions())
	}
	plugin := slices.ContainsFunc(r.module.Imports(), func(i wasmrt.Import) bool { return i.Module == "extism:host/env" })
	var values []uint64
	var input []byte
	var err error
	if plugin {
		if len(args) > 0 {
			return spec.Errorf(spec.CodeInvalid, "%s is an Extism plugin: its functions take data on the input, and no arguments", r.file)
		}
		if input, err = io.ReadAll(r.app.stdin); err != nil {
			return err
		}
	} else if values, err = all[n].ParseArgs(args); err != nil {
		return spec.Errorf(spec.CodeInvalid, "%s: %w", r.file, err)
	}
	plugins := r.plugins()
	r.instance, err = r.module.New(plugins.With(ctx), r.config)
	if err != nil {
		return r.failed(ctx, err)
	}
	defer func() { _ = r.instance.Close() }() // nothing to lose
	if plugin {
		out, err := plugins.Call(ctx, r.instance, name, input)
		if err != nil {
			return r.failed(ctx, err)
		}
		_, err = r.app.stdout.Write(out)
		return err
	}
	results, err := r.instance.Call(ctx, name, values...)
	if err != nil {
		return r.failed(ctx, err)
	}
	texts, err := all[n].FormatResults(results)
	if err == nil && len(texts) > 0 {
		_, err = fmt.Fprintln(r.app.stdout, strings.Join(texts, "\n"))
	}
	return err
}

func (r *moduleRun) plugins() *extism.Host {
	c := extism.Config{LogLevel: extism.Info, Log: func(_ context.Context, l extism.Level, message string) {
		_, _ = fmt.Fprintf(r.app.stderr, "%s: %s\n", l, message)
	}}
	if r.policy.HTTP != nil {
		c.HTTP = r.policy.HTTP
	}
	return extism.New(c)
}

// functions are those that --invoke can call, for people.
func (r *moduleRun) functions() string {
	var all []string
	for _, e := range r.module.Exports() {
		if !strings.HasPrefix(e.Name, "_") {
			all = append(all, e.String())
		}
	}
	if len(all) == 0 {
		return "none"
	}
	return strings.Join(all, ", ")
}

// failed sorts the error of a start or of a call.
func (r *moduleRun) failed(ctx context.Context, err error) error {
	if e, ok := errors.AsType[*wasmrt.ExitError](err); ok {
		r.exit = e.Exit
		return r.ended(ctx, e.Exit)
	}
	if f, ok := errors.AsType[*extism.Failure](err); ok {
		r.app.errorf("%s: %s", r.file, f)
		return &exitError{codeOf(uint32(f.Code))} //nolint:gosec // as an exit code wraps
	}
	if ctx.Err() != nil {
		return &exitError{exitInterrupted}
	}
	return moduleError(r.file, err)
}

// ended turns the guest's end into dhow's.
func (r *moduleRun) ended(ctx context.Context, e wasmrt.Exit) error {
	switch {
	case e.Reason == wasmrt.TimedOutReason:
		return &spec.Error{Code: spec.CodeTimeout, Message: fmt.Sprintf("%s did not end within %v (--timeout)", r.file, r.config.Limits.Timeout)}
	case e.Reason == wasmrt.StoppedReason && ctx.Err() != nil:
		return &exitError{exitInterrupted}
	case e.Reason == wasmrt.ExitedReason && e.Code == 0:
		return nil
	case e.Reason == wasmrt.OutOfFuelReason:
		r.app.errorf("%s ran out of fuel: it may run %d instructions (--fuel)", r.file, r.config.Limits.Fuel)
	case e.Message != "":
		r.app.errorf("%s: %s", r.file, e.Message)
	}
	return &exitError{codeOf(e.Code)}
}

// codeOf keeps what does not fit an exit code from looking like success.
func codeOf(code uint32) int {
	if c := int(code & 0xff); c != 0 {
		return c
	}
	return exitFailed
}

// writeStats tells what the guest used, apart from its own output.
func (r *moduleRun) writeStats() {
	u := r.instance.Usage()
	wall := r.app.now().Sub(r.begun)
	reason := r.exit.Reason
	if reason == "" {
		reason = wasmrt.ExitedReason
	}
	lines := [][2]string{
		{"ended", fmt.Sprintf("%s, code %d", reason, r.exit.Code)},
		{"time", fmt.Sprintf("%s, after %s to compile or load it", short(wall), short(r.compiled))},
		{"cpu", short(u.CPU)},
		{"fuel", grouped(u.Fuel) + " instructions"},
		{"memory", spec.ShowBytes(u.PeakMemory) + " at most"},
	}
	if u.Throttled > 0 {
		lines = append(lines, [2]string{"throttled", fmt.Sprintf("%s by its limit of %s", short(u.Throttled), spec.FormatCPU(uint64(r.config.Limits.CPU)))})
	}
	for _, l := range lines {
		_, _ = fmt.Fprintf(r.app.stderr, "%s %s\n", r.app.errStyle.Paint(output.Dim, fmt.Sprintf("%-9s", l[0])), l[1])
	}
}

// short rounds a time to what people read.
func short(d time.Duration) string {
	for _, unit := range []time.Duration{time.Second, time.Millisecond, time.Microsecond} {
		if d >= unit {
			return d.Round(unit / 100).String()
		}
	}
	return d.String()
}

// grouped writes 1234567 as 1,234,567.
func grouped(n uint64) string {
	s := strconv.FormatUint(n, 10)
	for at := len(s) - 3; at > 0; at -= 3 {
		s = s[:at] + "," + s[at:]
	}
	return s
}
