package main

import (
	"fmt"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"dhow.dev/dhow/cmd/internal/output"
	"dhow.dev/dhow/internal/client"
	"dhow.dev/dhow/internal/fsx"
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
	cmd.AddCommand(&cobra.Command{
		Use: "env", Short: "Print the current context as shell variables, for curl and scripts",
		Long: `Print the current context as shell variables: DHOW_API (https://host:port),
DHOW_TOKEN and DHOW_CA, a file with the cluster's certificate.`,
		Example: `  eval "$(dhow context env)"`,
		Args:    args(0, 0, ""),
		RunE:    func(*cobra.Command, []string) error { return a.printEnv() },
	})
	return cmd
}

// printEnv writes the CA next to the context file, where curl can read it.
func (a *app) printEnv() error {
	c, err := a.cluster()
	if err != nil {
		return err
	}
	path, err := a.contextPath()
	if err != nil {
		return err
	}
	ca := filepath.Join(filepath.Dir(path), c.Name+"-ca.pem")
	if err := fsx.WriteFile(ca, []byte(c.CA), 0o600); err != nil {
		return fsx.Explain(err)
	}
	_, err = fmt.Fprintf(a.stdout, "export DHOW_API=%s\nexport DHOW_TOKEN=%s\nexport DHOW_CA=%s\n", quote("https://"+c.Servers[0]), quote(c.Token), quote(ca))
	return err
}

// quote is s for a POSIX shell.
func quote(s string) string {
	return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
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
