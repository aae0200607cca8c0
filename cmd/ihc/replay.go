package main

import (
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/ihc-pipeline/ihc/internal/errkind"
	"github.com/ihc-pipeline/ihc/internal/run"
	ihcv1 "github.com/ihc-pipeline/ihc/proto/ihc/v1"
)

// replayFlags are the flags of `ihc replay`.
type replayFlags struct {
	natsFlags
	requestFlags
	from string
	json bool
}

func newReplayCmd() *cobra.Command {
	f := &replayFlags{}
	cmd := &cobra.Command{
		Use:   "replay RUN --from journeys|results",
		Short: "Run again from what the streams have kept of a run",
		Long: `replay starts a new run from the stored messages of another, without a look at
its source tables, and follows it to its end as "ihc run --nats" does.

  --from journeys  scores the stored journeys again, with other settings if
                   given: another model, conversion type or redistribution
  --from results   writes the stored results again; nothing is asked of the API

Range, limits and lookback are those of the run that is replayed.`,
		Example: `  ihc replay 20230901-120128-abc --from results
  ihc replay 20230901-120128-abc --from journeys --model builtin`,
		Args: oneRun,
		RunE: func(cmd *cobra.Command, args []string) error {
			start := time.Now()
			report, err := f.execute(cmd, args[0])
			return conclude(cmd, report, err, f.request.GetRunId(), start, f.json)
		},
	}
	f.natsFlags.add(cmd)
	f.addScoring(cmd)
	fs := cmd.Flags()
	fs.StringVar(&f.from, "from", "", "which stored messages to start from: journeys or results")
	fs.BoolVar(&f.json, "json", false, "print the result as one JSON object on standard output")
	return cmd
}

func (f *replayFlags) execute(cmd *cobra.Command, origin string) (*ihcv1.Report, error) {
	switch f.from {
	case run.FromJourneys:
	case run.FromResults:
		for _, name := range []string{"model", "conv-type-id", "redistribution", "model-params", "max-requests"} {
			if cmd.Flags().Changed(name) {
				return nil, errkind.Inputf("--%s says how to score, and results are scored already: use --from journeys", name)
			}
		}
	case "":
		return nil, errkind.Inputf("say what to start from: --from journeys (score them again) or --from results (write them again)")
	default:
		return nil, errkind.Inputf("--from %q: use journeys or results", f.from)
	}
	f.request.ReplayOf, f.request.ReplayFrom = origin, f.from
	req, err := f.complete()
	if err != nil {
		return nil, err
	}
	client, done, err := f.connect(cmd.Context(), false)
	if err != nil {
		return nil, err
	}
	defer done()
	switch r, err := findRun(cmd.Context(), client, origin); {
	case err != nil:
		return nil, err
	case r.Counts == nil:
		return nil, errkind.Inputf("run %s was not extracted to its end (it is %s), so it cannot be replayed", origin, r.Status)
	}
	f.request.RunId = newRunID()
	req.RunId = f.request.GetRunId()
	if err := client.PublishRequest(cmd.Context(), req); err != nil {
		return nil, err
	}
	_, _ = fmt.Fprintf(cmd.ErrOrStderr(), "run %s replays run %s from its %s\n", req.GetRunId(), origin, f.from)
	return watch(cmd, client, req.GetRunId())
}
