package main

import (
	"fmt"
	"path/filepath"

	"github.com/spf13/cobra"

	"dhow.dev/dhow/cmd/internal/output"
	dhowv1 "dhow.dev/dhow/proto/dhow/v1"
	"dhow.dev/dhow/proto/spec"
)

func pushCmd(a *app) *cobra.Command {
	return withOutput(&cobra.Command{
		Use:   "push FILE.wasm...",
		Short: "Upload modules, and print their digests",
		Args:  args(1, -1, "FILE.wasm"),
		RunE: func(cmd *cobra.Command, files []string) error {
			ctx, cancel := a.within(cmd.Context(), waitTimeout)
			defer cancel()
			modules := make([]module, len(files))
			for i, f := range files {
				var err error
				if modules[i], err = hashModule(f, moduleUse{}); err != nil {
					return err
				}
			}
			c, err := a.client()
			if err != nil {
				return err
			}
			if err := a.upload(ctx, c, modules...); err != nil {
				return err
			}
			for _, m := range modules {
				if a.format.Table() {
					_, err = fmt.Fprintln(a.stdout, m.digest)
				} else {
					err = output.Objects(a.stdout, a.format, true, []*dhowv1.Object{spec.Wrap(&dhowv1.Artifact{
						Meta: &dhowv1.Meta{Name: m.digest}, Size: uint64(m.size), File: filepath.Base(m.path),
					})})
				}
				if err != nil {
					return err
				}
			}
			return nil
		},
	})
}
