package main

import (
	"fmt"

	"github.com/spf13/cobra"
)

func newCancelCmd() *cobra.Command {
	f := &stackFlags{}
	var reason string
	cmd := &cobra.Command{
		Use:   "cancel RUN",
		Short: "End a run before its time",
		Long: `cancel ends a run: no further request is sent for it and nothing more of it is
written. What is in the database by then stays, each conversion whole;
channel_reporting and the CSV stay as they were before the run. To cancel a
run that is cancelled already does nothing.`,
		Example: `  ihc cancel 20230901-120128-abc --reason "wrong date range"`,
		Args:    oneRun,
		RunE: func(cmd *cobra.Command, args []string) error {
			client, done, err := f.open(cmd.Context())
			if err != nil {
				return err
			}
			defer done()
			runs := f.runs(client)
			id, err := runs.Find(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			did, err := runs.Cancel(cmd.Context(), id, reason)
			if err != nil {
				return err
			}
			already := ""
			if !did {
				already = " already"
			}
			_, _ = fmt.Fprintf(cmd.OutOrStdout(), "run %s is cancelled%s\n", id, already)
			return nil
		},
	}
	f.add(cmd)
	cmd.Flags().StringVar(&reason, "reason", "", "why, for those who look at the run later")
	return cmd
}
