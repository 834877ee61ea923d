// Command dhow runs WebAssembly modules and containers on a fleet of machines:
// the control plane, the node agent and the command line in one binary. This
// package turns flags into calls and answers into text; one file a verb.
package main

import (
	"context"
	"io"
	"os"
	"os/signal"
	"syscall"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	// A second signal ends the process the hard way.
	context.AfterFunc(ctx, stop)
	os.Exit(run(ctx, os.Args[1:], os.Stdin, os.Stdout, os.Stderr))
}

// run does what the arguments say and returns the exit code.
func run(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	return execute(ctx, newApp(stdin, stdout, stderr), args)
}

func execute(ctx context.Context, a *app, args []string) int {
	root := newRoot(a) //nolint:contextcheck // cobra hands the context to commands
	root.SetArgs(args)
	err := root.ExecuteContext(ctx)
	a.close()
	a.report(ctx, err)
	return exitCode(err)
}
