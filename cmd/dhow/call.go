package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"dhow.dev/dhow/cmd/internal/manifest"
	"dhow.dev/dhow/cmd/internal/output"
	"dhow.dev/dhow/cmd/internal/settings"
	"dhow.dev/dhow/internal/client"
	dhowv1 "dhow.dev/dhow/proto/dhow/v1"
	"dhow.dev/dhow/proto/spec"
)

// callFlags are call's.
type callFlags struct {
	data, file string
	headers    []string
	list       bool
}

func callCmd(a *app) *cobra.Command {
	var f callFlags
	cmd := withOutput(&cobra.Command{
		Use:   "call WORKLOAD|INSTANCE [FUNCTION] [ARGS...]",
		Short: "Call a function, and print what it answers",
		Long: `Call a function of a workload of the type function, on any of its ready
instances, or on the one that is named. What it answers goes to the output.

Functions with typed arguments (i32, i64, f32, f64) take them as ARGS; write --
in front of negative numbers. Others take data: a plugin's input, a command's
standard input, the body of an HTTP request.

It exits with 1 when the function failed (trapped, ran out of time, fuel or
memory, or says so itself), with 6 when no instance is ready.`,
		Example: `  dhow call calc add 1 2
  dhow call calc add -- -1 2
  dhow call shout --data 'hello'
  dhow call resize thumbnail --file ./photo.png > small.png
  dhow call calc --list`,
		Args:              args(1, -1, "WORKLOAD"),
		ValidArgsFunction: a.completeCall,
		RunE: func(cmd *cobra.Command, args []string) error {
			if f.data != "" && f.file != "" {
				return usagef(cmd, "--data and --file exclude each other")
			}
			if f.list && (len(args) > 1 || f.data != "" || f.file != "") {
				return usagef(cmd, "--list calls nothing: leave the rest out")
			}
			ctx, cancel := a.within(cmd.Context(), waitTimeout)
			defer cancel()
			return timedOut(ctx, a.call(ctx, args, &f))
		},
	})
	flags := cmd.Flags()
	flags.StringVarP(&f.data, "data", "d", "", "data for the function")
	flags.StringVar(&f.file, "file", "", "file with data for the function; - is dhow's own input")
	flags.StringArrayVarP(&f.headers, "header", "H", nil, "header of an HTTP function's request, Name: value (repeatable)")
	flags.BoolVar(&f.list, "list", false, "call nothing: list the functions there are")
	return cmd
}

func (a *app) call(ctx context.Context, args []string, f *callFlags) error {
	req := &dhowv1.FunctionCall{}
	if len(args) > 1 {
		req.Function, req.Args = args[1], args[2:]
	}
	var err error
	if req.Data, err = f.input(a.stdin); err != nil {
		return err
	}
	if req.Headers, err = parseHeaders(f.headers); err != nil {
		return err
	}
	c, err := a.client()
	if err != nil {
		return err
	}
	if f.list {
		return a.listFunctions(ctx, c, args[0])
	}
	var res *dhowv1.CallResponse
	err = a.onWorkloadOrInstance(args[0], func(ref *dhowv1.Ref) (err error) {
		req.Ref = ref
		res, err = c.Functions.Call(ctx, &dhowv1.CallRequest{Call: req})
		return err
	})
	if err != nil {
		return err
	}
	return a.showResult(res)
}

// onWorkloadOrInstance takes the name for a workload's first; when there is
// none, for an instance's.
func (a *app) onWorkloadOrInstance(name string, do func(*dhowv1.Ref) error) error {
	ref := func(k dhowv1.Kind, name string) *dhowv1.Ref {
		return &dhowv1.Ref{Kind: k, Namespace: a.namespace(), Name: name}
	}
	if word, rest, ok := strings.Cut(name, "/"); ok {
		kind, err := parseKind(word)
		if err != nil {
			return err
		}
		return do(ref(kind, rest))
	}
	err := do(ref(dhowv1.Kind_KIND_WORKLOAD, name))
	if spec.CodeOf(err) != spec.CodeNotFound {
		return err
	}
	if other := do(ref(dhowv1.Kind_KIND_INSTANCE, name)); spec.CodeOf(other) != spec.CodeNotFound {
		return other
	}
	return err
}

// input is the data for the call.
func (f *callFlags) input(own io.Reader) ([]byte, error) {
	if f.file == "" {
		return []byte(f.data), nil
	}
	r := own
	if f.file != manifest.Stdin {
		file, err := os.Open(f.file)
		if err != nil {
			return nil, spec.Errorf(spec.CodeInvalid, "--file: %w", err)
		}
		defer func() { _ = file.Close() }()
		r = file
	}
	data, err := io.ReadAll(io.LimitReader(r, spec.MaxCallBytes+1))
	if err != nil {
		return nil, spec.Errorf(spec.CodeInvalid, "--file: %w", err)
	}
	if len(data) > spec.MaxCallBytes {
		return nil, spec.Errorf(spec.CodeInvalid, "--file: %s has more than %s, the most a call takes", f.file, spec.ShowBytes(spec.MaxCallBytes))
	}
	return data, nil
}

func parseHeaders(texts []string) ([]*dhowv1.Header, error) {
	var out []*dhowv1.Header
	for _, t := range texts {
		name, value, ok := strings.Cut(t, ":")
		if name = strings.TrimSpace(name); !ok || name == "" {
			return nil, spec.Errorf(spec.CodeInvalid, "--header %q: write Name: value", t)
		}
		out = append(out, &dhowv1.Header{Name: http.CanonicalHeaderKey(name), Values: []string{strings.TrimSpace(value)}})
	}
	return out, nil
}

// showResult prints the answer as it is; a terminal gets a line's end.
func (a *app) showResult(res *dhowv1.CallResponse) error {
	r := res.GetResult()
	switch {
	case !a.format.Table():
		if err := output.Message(a.stdout, a.format, res); err != nil {
			return err
		}
	case len(r.GetValues()) > 0:
		if _, err := fmt.Fprintln(a.stdout, strings.Join(r.GetValues(), " ")); err != nil {
			return err
		}
	default:
		data := r.GetData()
		if a.outTerminal && len(data) > 0 && data[len(data)-1] != '\n' {
			data = append(data, '\n')
		}
		if _, err := a.stdout.Write(data); err != nil {
			return err
		}
	}
	if r.GetFailure() != "" {
		return failedCall(res)
	}
	if s := int(r.GetStatus()); s >= http.StatusBadRequest {
		return fmt.Errorf("%s answered %d %s", res.GetInstance(), s, http.StatusText(s))
	}
	return nil
}

func failedCall(res *dhowv1.CallResponse) error {
	text := fmt.Sprintf("%s on node %s: %s", res.GetInstance(), res.GetNode(), res.GetResult().GetFailure())
	if m := res.GetResult().GetMessage(); m != "" {
		text += ": " + m
	}
	return errors.New(text)
}

func (a *app) listFunctions(ctx context.Context, c *client.Client, name string) error {
	var res *dhowv1.FunctionsResponse
	err := a.onWorkloadOrInstance(name, func(ref *dhowv1.Ref) (err error) {
		res, err = c.Functions.Functions(ctx, &dhowv1.FunctionsRequest{Query: &dhowv1.FunctionsQuery{Ref: ref}})
		return err
	})
	if err != nil {
		return err
	}
	if !a.format.Table() {
		return output.Message(a.stdout, a.format, res)
	}
	t := output.NewTable(a.stdout, a.style, a.format == output.FormatWide, output.Column{Name: "FUNCTION"}, output.Column{Name: "TAKES"}, output.Column{Name: "GIVES"})
	for _, f := range res.GetFunctions() {
		takes, gives := strings.Join(f.GetParams(), ", "), strings.Join(f.GetResults(), ", ")
		if takes+gives == "" {
			takes, gives = "data", "data"
		}
		t.Add(output.Cell{Text: f.GetName()}, output.Cell{Text: takes}, output.Cell{Text: gives})
	}
	return t.Flush()
}

// completeCall offers what can be called, and then its functions.
func (a *app) completeCall(cmd *cobra.Command, args []string, word string) ([]string, cobra.ShellCompDirective) {
	const quiet = cobra.ShellCompDirectiveNoFileComp
	if len(args) == 0 {
		return a.completeNames(dhowv1.Kind_KIND_WORKLOAD, dhowv1.Kind_KIND_INSTANCE)(cmd, args, word)
	}
	if len(args) > 1 || settings.Load(cmd.Root().PersistentFlags(), "", os.LookupEnv) != nil {
		return nil, quiet
	}
	c, err := a.client()
	if err != nil {
		return nil, quiet
	}
	ctx, cancel := context.WithTimeout(cmd.Root().Context(), completeTimeout)
	defer cancel()
	var out []string
	_ = a.onWorkloadOrInstance(args[0], func(ref *dhowv1.Ref) error {
		res, err := c.Functions.Functions(ctx, &dhowv1.FunctionsRequest{Query: &dhowv1.FunctionsQuery{Ref: ref}})
		for _, f := range res.GetFunctions() {
			out = append(out, f.GetName())
		}
		return err
	})
	return matching(out, word, nil), quiet
}
