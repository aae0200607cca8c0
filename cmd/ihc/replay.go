package main

import (
	"context"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"github.com/ihc-pipeline/ihc/internal/errkind"
	"github.com/ihc-pipeline/ihc/internal/ops"
	"github.com/ihc-pipeline/ihc/internal/run"
	ihcv1 "github.com/ihc-pipeline/ihc/proto/ihc/v1"
)

// replayFlags are the flags of `ihc replay`.
type replayFlags struct {
	natsFlags
	requestFlags
	lifeFlags
	from string

	changed func(flag string) bool // whether a flag was given
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
			now, err := f.begin()
			if err != nil {
				return err
			}
			id, report, err := f.execute(cmd.Context(), cmd.ErrOrStderr(), args[0], now)
			err = named(cmd.Flags(), err)
			return f.conclude(cmd.Context(), cmd.OutOrStdout(), now.since, id, report, err)
		},
	}
	f.natsFlags.add(cmd)
	f.addScoring(cmd)
	f.addReport(cmd)
	f.lifeFlags.add(cmd)
	fs := cmd.Flags()
	f.changed = fs.Changed
	fs.StringVar(&f.from, "from", "", "which stored messages to start from: journeys or results")
	return cmd
}

// execute asks for the replay of a run and follows it, and returns the id of the
// replay, if it came that far, and its report or what kept it from having one.
func (f *replayFlags) execute(ctx context.Context, say io.Writer, origin string, now following) (id string, report *ihcv1.Report, err error) {
	switch f.from {
	case run.FromJourneys:
	case run.FromResults:
		for _, name := range []string{"model", "conv-type-id", "redistribution", "model-params", "max-requests"} {
			if f.changed(name) {
				return "", nil, errkind.Inputf("--%s says how to score, and results are scored already: use --from journeys", name)
			}
		}
	case "":
		return "", nil, errkind.Inputf("say what to start from: --from journeys (score them again) or --from results (write them again)")
	default:
		return "", nil, errkind.Inputf("--from %q: use journeys or results", f.from)
	}
	f.request.ReplayOf, f.request.ReplayFrom = origin, f.from
	req, err := f.complete()
	if err != nil {
		return "", nil, err
	}
	client, done, err := f.connect(ctx, false)
	if err != nil {
		return "", nil, err
	}
	defer done()
	runs := ops.New(client)
	if origin, err = runs.Find(ctx, origin); err != nil {
		return "", nil, err
	}
	req.ReplayOf = origin
	if id, err = runs.Replay(ctx, req); err != nil {
		return id, nil, err
	}
	_, _ = fmt.Fprintf(say, "run %s replays run %s from its %s\n", id, origin, f.from)
	report, err = now.watch(ctx, runs, id, newProgress(say))
	return id, report, err
}
