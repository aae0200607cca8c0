package main

import (
	"context"
	"time"

	"github.com/spf13/cobra"

	"github.com/ihc-pipeline/ihc/internal/errkind"
	"github.com/ihc-pipeline/ihc/internal/stream"
	ihcv1 "github.com/ihc-pipeline/ihc/proto/ihc/v1"
)

func newResumeCmd() *cobra.Command {
	f := &natsFlags{}
	var more uint64
	var asJSON bool
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
			start := time.Now()
			report, err := func() (*ihcv1.Report, error) {
				client, done, err := f.connect(cmd.Context(), false)
				if err != nil {
					return nil, err
				}
				defer done()
				r, err := findRun(cmd.Context(), client, args[0])
				if err != nil {
					return nil, err
				}
				if r.Status != statusPaused {
					return nil, errkind.Inputf("run %s is not paused (it is %s)", r.ID, r.Status)
				}
				if err := resumeRun(cmd.Context(), client, r.ID, more); err != nil {
					return nil, err
				}
				return watch(cmd, client, r.ID)
			}()
			return conclude(cmd, report, err, args[0], start, asJSON)
		},
	}
	f.add(cmd)
	fs := cmd.Flags()
	fs.Uint64Var(&more, "max-requests", 0, "most requests to send to the API from here on (0: as many as it takes)")
	fs.BoolVar(&asJSON, "json", false, "print the result as one JSON object on standard output")
	return cmd
}

func resumeRun(ctx context.Context, client *stream.Client, id string, more uint64) error {
	err := client.PublishEvent(ctx, &ihcv1.RunEvent{RunId: id, Event: &ihcv1.RunEvent_Resumed{
		Resumed: &ihcv1.RunResumed{MaxRequests: more}}})
	if err != nil {
		return errkind.Environmentf("resume run %s: %w", id, err)
	}
	return nil
}
