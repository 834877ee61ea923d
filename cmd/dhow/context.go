package main

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"dhow.dev/dhow/cmd/internal/output"
	"dhow.dev/dhow/internal/client"
	"dhow.dev/dhow/proto/spec"
)

func contextCmd(a *app) *cobra.Command {
	cmd := group("context", "Choose the cluster to talk to", "config")
	var namespace string
	use := &cobra.Command{
		Use: "use NAME", Short: "Make a context the current one", Args: args(1, 1, "NAME"),
		ValidArgsFunction: func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
			return a.contextNames(), cobra.ShellCompDirectiveNoFileComp
		},
		RunE: func(_ *cobra.Command, args []string) error {
			path, file, err := a.contexts()
			if err != nil {
				return err
			}
			c, err := file.Find(args[0])
			if err != nil {
				return err
			}
			if namespace != "" {
				if why := spec.CheckName(namespace); why != "" {
					return spec.Errorf(spec.CodeInvalid, "--set-namespace: %s", why)
				}
				c.Namespace = namespace
			}
			if err := client.Save(path, c, true); err != nil {
				return err
			}
			_, err = fmt.Fprintf(a.stdout, "context %s is now the current one\n", c.Name)
			return err
		},
	}
	use.Flags().StringVar(&namespace, "set-namespace", "", "namespace that the context's commands use from now on")
	cmd.AddCommand(use, withOutput(&cobra.Command{
		Use: "list", Aliases: []string{"ls"}, Short: "List contexts", Args: args(0, 0, ""),
		RunE: func(*cobra.Command, []string) error {
			path, file, err := a.contexts()
			if err != nil {
				return err
			}
			return a.printContexts(path, file)
		},
	}))
	return cmd
}

func (a *app) contexts() (string, *client.File, error) {
	path, err := a.contextPath()
	if err != nil {
		return "", nil, err
	}
	file, err := client.Load(path)
	return path, file, err
}

func (a *app) contextNames() []string {
	var out []string
	if _, file, err := a.contexts(); err == nil {
		for _, c := range file.Contexts {
			out = append(out, c.Name)
		}
	}
	return out
}

func (a *app) printContexts(path string, file *client.File) error {
	switch a.format {
	case output.FormatJSON, output.FormatYAML:
		return spec.Errorf(spec.CodeInvalid, "contexts hold secrets and are not printed; they are in %s", path)
	case output.FormatName:
		for _, c := range file.Contexts {
			if _, err := fmt.Fprintln(a.stdout, c.Name); err != nil {
				return err
			}
		}
		return nil
	default:
	}
	if len(file.Contexts) == 0 {
		_, err := fmt.Fprintf(a.stderr, "No contexts in %s: `dhow up` makes one.\n", path)
		return err
	}
	t := output.NewTable(a.stdout, a.style, a.format == output.FormatWide,
		output.Column{Name: "CURRENT"}, output.Column{Name: "NAME"}, output.Column{Name: "SERVERS"}, output.Column{Name: "NAMESPACE"})
	for _, c := range file.Contexts {
		mark := output.Cell{Text: " "}
		if c.Name == file.Current {
			mark = output.Cell{Text: "*", Hue: output.Good}
		}
		ns := c.Namespace
		if ns == "" {
			ns = spec.DefaultNamespace
		}
		t.Add(mark, output.Cell{Text: c.Name}, output.Cell{Text: strings.Join(c.Servers, ",")}, output.Cell{Text: ns})
	}
	return t.Flush()
}
