package main

import (
	"github.com/spf13/cobra"

	"github.com/ihc-pipeline/ihc/internal/ops"
	ihcv1 "github.com/ihc-pipeline/ihc/proto/ihc/v1"
)

func newResumeCmd() *cobra.Command {
	f := &natsFlags{}
	life := &lifeFlags{}
	var more uint64
	cmd := &cobra.Command{
		Use:   "resume RUN",
		Short: "Let a run go on that has used its budget of requests up",
		Long: `resume lets a paused run go on, with --max-requests more requests or as many as
it takes, and follows it to its end as "ihc run --nats" does. Requests whose
results are stored are not sent again.

A run of "ihc run --data-dir" that is paused goes on with the same command.`,
		Example: "  ihc resume 20230901-120128-abc --max-requests 500",
		Args:    oneRun,
		RunE: func(cmd *cobra.Command, args []string) error {
			now, err := life.begin()
			if err != nil {
				return err
			}
			ctx, id := cmd.Context(), args[0]
			report, err := func() (*ihcv1.Report, error) {
				client, done, err := f.connect(ctx, false)
				if err != nil {
					return nil, err
				}
				defer done()
				runs := ops.New(client)
				if id, err = runs.Find(ctx, id); err != nil {
					return nil, err
				}
				if err := runs.Resume(ctx, id, more); err != nil {
					return nil, err
				}
				return now.watch(ctx, runs, id, newProgress(cmd.ErrOrStderr()))
			}()
			return life.conclude(ctx, cmd.OutOrStdout(), now.since, id, report, err)
		},
	}
	f.add(cmd)
	life.add(cmd)
	fs := cmd.Flags()
	fs.Uint64Var(&more, "max-requests", 0, "most requests to send to the API from here on (0: as many as it takes)")
	return cmd
}
