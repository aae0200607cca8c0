package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/ihc-pipeline/ihc/internal/version"
)

func newVersionCmd() *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:     "version",
		Short:   "Say which build this is",
		Example: "  ihc version --json | jq -r .commit",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			b := version.This()
			if asJSON {
				return printJSON(cmd.OutOrStdout(), map[string]string{"version": b.Version, "commit": b.Commit, "date": b.Date, "go": b.Go})
			}
			_, err := fmt.Fprintf(cmd.OutOrStdout(), "version  %s\ncommit   %s\ndate     %s\ngo       %s\n", b.Version, b.Commit, b.Date, b.Go)
			return err
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print one JSON object on standard output")
	return cmd
}
