// Command dhow-agent is `dhow agent` alone, for small machines: the same
// agent without server, dashboard and registry code.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/pflag"

	"dhow.dev/dhow/cmd/internal/agentcmd"
	"dhow.dev/dhow/internal/version"
	"dhow.dev/dhow/proto/spec"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	code := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	os.Exit(code)
}

func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	fs := pflag.NewFlagSet("dhow-agent", pflag.ContinueOnError)
	fs.SetOutput(stderr)
	fs.Usage = func() {
		say(stderr, "Runs this machine as a node of a dhow cluster.\n\n  dhow-agent --join HOST:7400 --token TOKEN\n\nFlags (each also DHOW_… in the environment):\n%s", fs.FlagUsages())
	}
	showVersion := fs.Bool("version", false, "print the version and exit")
	f := agentcmd.Add(fs)
	err := fs.Parse(args)
	switch {
	case errors.Is(err, pflag.ErrHelp):
		return 0
	case err == nil && fs.NArg() > 0:
		err = fmt.Errorf("unexpected argument %q", fs.Arg(0))
	}
	if err != nil {
		say(stderr, "dhow-agent: %v; see dhow-agent --help\n", err)
		return 2
	}
	if *showVersion {
		say(stdout, "dhow-agent %s\n", version.String())
		return 0
	}
	if err := f.Run(ctx, stderr); err != nil {
		say(stderr, "dhow-agent: %v\n", err)
		return exitCode(err)
	}
	return 0
}

// exitCode is the same as dhow's.
func exitCode(err error) int {
	switch spec.CodeOf(err) {
	case spec.CodeInvalid:
		return 2
	case spec.CodeNotFound:
		return 3
	case spec.CodeTimeout:
		return 4
	case spec.CodeDenied, spec.CodeUnknownUser:
		return 5
	case spec.CodeUnavailable:
		return 6
	default:
		return 1
	}
}

// say writes for people; when nobody reads, there is nobody to tell.
func say(w io.Writer, format string, args ...any) { _, _ = fmt.Fprintf(w, format, args...) }
