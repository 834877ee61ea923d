// Package settings fills a command's flags from the environment and from a
// config file: a flag on the command line wins over DHOW_… in the environment,
// which wins over the file, which wins over the default.
package settings

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/spf13/pflag"
	"go.yaml.in/yaml/v3"

	"dhow.dev/dhow/proto/spec"
)

// EnvName is the environment variable of a flag: join-token is
// DHOW_JOIN_TOKEN.
func EnvName(flag string) string {
	return "DHOW_" + strings.ToUpper(strings.ReplaceAll(flag, "-", "_"))
}

// Load sets the flags that were not given on the command line. An empty file
// name reads no file. Errors have spec.CodeInvalid and name the variable, or
// the file and line.
func Load(flags *pflag.FlagSet, file string, getenv func(string) (string, bool)) error {
	values, err := readFile(flags, file)
	if err != nil {
		return err
	}
	var errs []error
	flags.VisitAll(func(f *pflag.Flag) {
		if f.Changed || f.Name == "config" || f.Name == "help" {
			return
		}
		if v, ok := getenv(EnvName(f.Name)); ok {
			if err := flags.Set(f.Name, v); err != nil {
				errs = append(errs, spec.Errorf(spec.CodeInvalid, "environment %s: %w", EnvName(f.Name), err))
			}
			return
		}
		for _, v := range values[f.Name] {
			if err := flags.Set(f.Name, v.text); err != nil {
				errs = append(errs, spec.Errorf(spec.CodeInvalid, "%s:%d: %s: %w", file, v.line, f.Name, err))
			}
		}
	})
	return errors.Join(errs...)
}

type value struct {
	text string
	line int
}

func readFile(flags *pflag.FlagSet, file string) (map[string][]value, error) {
	if file == "" {
		return nil, nil
	}
	data, err := os.ReadFile(file)
	if err != nil {
		return nil, spec.Errorf(spec.CodeInvalid, "config file: %w", err)
	}
	values, err := parse(flags, data)
	if err != nil {
		return nil, spec.Errorf(spec.CodeInvalid, "%s:%w", file, err)
	}
	return values, nil
}

// parse reads one mapping of flag names to scalars or lists of scalars.
func parse(flags *pflag.FlagSet, data []byte) (map[string][]value, error) {
	var doc yaml.Node
	if err := yaml.NewDecoder(bytes.NewReader(data)).Decode(&doc); errors.Is(err, io.EOF) {
		return nil, nil
	} else if err != nil {
		return nil, fmt.Errorf(" %w", err)
	}
	root := doc.Content[0]
	if root.Kind != yaml.MappingNode {
		return nil, fmt.Errorf("%d: expected settings as name: value", root.Line)
	}
	values := map[string][]value{}
	for i := 0; i < len(root.Content); i += 2 {
		key, val := root.Content[i], root.Content[i+1]
		if flags.Lookup(key.Value) == nil {
			return nil, fmt.Errorf("%d: unknown setting %q; the settings are the command's flags", key.Line, key.Value)
		}
		items := []*yaml.Node{val}
		if val.Kind == yaml.SequenceNode {
			items = val.Content
		}
		for _, item := range items {
			if item.Kind != yaml.ScalarNode {
				return nil, fmt.Errorf("%d: %s: expected a value or a list of values", item.Line, key.Value)
			}
			values[key.Value] = append(values[key.Value], value{item.Value, item.Line})
		}
	}
	return values, nil
}
