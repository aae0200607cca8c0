package main

import (
	"github.com/spf13/cobra"

	"github.com/ihc-pipeline/ihc/internal/errkind"
)

// databaseArgument lets a command take its database as an argument in place of
// --db, which it sets.
func databaseArgument() cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		switch {
		case len(args) == 0:
			return nil
		case len(args) > 1:
			return errkind.Inputf("%s takes one database (%d given)", cmd.CommandPath(), len(args))
		case cmd.Flags().Changed("db"):
			return errkind.Inputf("%s names a database twice, by --db and as %q", cmd.CommandPath(), args[0])
		}
		return cmd.Flags().Set("db", args[0])
	}
}
