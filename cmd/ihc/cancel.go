package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/ihc-pipeline/ihc/internal/errkind"
	ihcv1 "github.com/ihc-pipeline/ihc/proto/ihc/v1"
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
			r, err := findRun(cmd.Context(), client, args[0])
			if err != nil {
				return err
			}
			switch {
			case r.Status == statusCancelled:
				_, _ = fmt.Fprintf(cmd.OutOrStdout(), "run %s is cancelled already\n", r.ID)
				return nil
			case r.Ended():
				return errkind.Inputf("run %s is over (%s): there is nothing to cancel", r.ID, r.Status)
			}
			err = client.PublishEvent(cmd.Context(), &ihcv1.RunEvent{RunId: r.ID, Event: &ihcv1.RunEvent_Cancelled{
				Cancelled: &ihcv1.RunCancelled{Reason: reason}}})
			if err != nil {
				return errkind.Environmentf("cancel run %s: %w", r.ID, err)
			}
			_, _ = fmt.Fprintf(cmd.OutOrStdout(), "run %s is cancelled\n", r.ID)
			return nil
		},
	}
	f.add(cmd)
	cmd.Flags().StringVar(&reason, "reason", "", "why, for those who look at the run later")
	return cmd
}
