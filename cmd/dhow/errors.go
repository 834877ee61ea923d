package main

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"dhow.dev/dhow/cmd/internal/output"
	"dhow.dev/dhow/proto/spec"
)

// The exit codes, as docs and scripts know them.
const (
	exitDone        = 0
	exitFailed      = 1
	exitInput       = 2
	exitNotFound    = 3
	exitTimeout     = 4
	exitDenied      = 5
	exitUnreachable = 6
)

// exitError ends with a code of its own: what a guest returned, or that a diff
// found something.
type exitError struct{ code int }

func (e *exitError) Error() string { return fmt.Sprintf("exit code %d", e.code) }

// exitCode is the one place where errors become exit codes.
func exitCode(err error) int {
	if err == nil {
		return exitDone
	}
	if e, ok := errors.AsType[*exitError](err); ok {
		return e.code
	}
	if errors.Is(err, context.DeadlineExceeded) {
		return exitTimeout
	}
	switch spec.CodeOf(err) {
	case spec.CodeInvalid:
		return exitInput
	case spec.CodeNotFound:
		return exitNotFound
	case spec.CodeTimeout:
		return exitTimeout
	case spec.CodeDenied, spec.CodeUnknownUser:
		return exitDenied
	case spec.CodeUnavailable, spec.CodeNotLeader:
		return exitUnreachable
	case spec.CodeExists, spec.CodeConflict, spec.CodeTooOld, spec.CodeExhausted, spec.CodeInternal:
	}
	return exitFailed
}

// usagef is an error in how a verb was called.
func usagef(cmd *cobra.Command, format string, args ...any) error {
	return spec.Errorf(spec.CodeInvalid, "%s\nusage: %s (see %s --help)", fmt.Sprintf(format, args...), strings.TrimSuffix(cmd.UseLine(), " [flags]"), cmd.CommandPath())
}

// report tells an error to the user: each fault on a line of its own, and what
// to do where the error itself does not say.
func (a *app) report(ctx context.Context, err error) {
	if err == nil {
		return
	}
	if _, quiet := errors.AsType[*exitError](err); quiet {
		return
	}
	if ctx.Err() != nil && errors.Is(err, context.Canceled) {
		a.errorf("interrupted")
		return
	}
	for _, e := range split(err) {
		a.errorf("%s", e)
	}
	if hint := hint(err); hint != "" {
		_, _ = fmt.Fprintln(a.stderr, hint)
	}
}

func (a *app) errorf(format string, args ...any) {
	first, rest, more := strings.Cut(fmt.Sprintf(format, args...), "\n")
	_, _ = fmt.Fprintf(a.stderr, "%s %s\n", a.errStyle.Paint(output.Bad, "error:"), output.Clean(first))
	for more {
		first, rest, more = strings.Cut(rest, "\n")
		_, _ = fmt.Fprintln(a.stderr, output.Clean(first))
	}
}

// split takes joined errors apart.
func split(err error) []error {
	joined, ok := err.(interface{ Unwrap() []error })
	if !ok || fmt.Sprintf("%T", err) != "*errors.joinError" {
		return []error{err}
	}
	var out []error
	for _, e := range joined.Unwrap() {
		out = append(out, split(e)...)
	}
	return out
}

func hint(err error) string {
	switch spec.CodeOf(err) {
	case spec.CodeUnknownUser:
		return "The server does not know this token: `dhow context list` shows the contexts, `dhow context use NAME` changes to another."
	case spec.CodeDenied:
		return "Use a token with a higher role: `dhow token create NAME --role deployer` makes one, for an admin."
	case spec.CodeInternal:
		if _, own := errors.AsType[*spec.Error](err); own {
			return "This is a fault of dhow or of a disk; the server's log says more."
		}
	default:
	}
	return ""
}
