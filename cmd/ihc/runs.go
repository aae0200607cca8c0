package main

import (
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"

	"github.com/ihc-pipeline/ihc/internal/human"
	"github.com/ihc-pipeline/ihc/internal/ops"
	"github.com/ihc-pipeline/ihc/internal/run"
)

func newRunsCmd() *cobra.Command {
	f := &stackFlags{}
	choose, database := chosenRuns{}, databaseFlag{}
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "runs [FILE]",
		Short: "List the runs a stack, or a database, knows, the latest last",
		Long: `runs lists what the streams know of: runs asked for, under way and over, each
with its state, its conversions and how long it took.

A run is "requested" until the extractor has checked the data, then "running",
and ends as "completed", "completed_with_failures", "completed_unreconciled"
(an equation of the proof does not hold), "failed", "cancelled" or "superseded"
(its source changed while it was interrupted, and another run took its place).
It is "paused" when its budget of requests is used up (see "ihc resume"), and
"stuck" when a message of it is among the dead letters (see "ihc dead"). In a
--data-dir, on which nothing runs, a run that has not ended is "interrupted".

Of a FILE, or --db, it lists what the database knows: also runs without streams,
and those whose records were dropped (--keep-runs) as long as what they attributed
is shown. A run with a report is "reported" there; how the report ended is in
reconciliation.json beside it.`,
		Example: "  ihc runs --limit 10\n  ihc runs --state failed,stuck --since -7d\n  ihc runs --json | jq '.[-1].status'\n  ihc runs shop.db",
		Args:    databaseArgument(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			ask, err := database.asked(f)
			if err != nil {
				return err
			}
			states := statuses()
			if ask {
				states = knownStates
			}
			if err := choose.begin(time.Now(), states); err != nil {
				return err
			}
			if ask {
				return database.list(cmd.Context(), cmd.OutOrStdout(), &choose, asJSON)
			}
			client, done, err := f.open(cmd.Context())
			if err != nil {
				return err
			}
			defer done()
			runs, err := f.runs(client).List(cmd.Context())
			if err != nil {
				return err
			}
			known := len(runs)
			if runs = choose.of(runs); known > 0 && len(runs) == 0 && !asJSON {
				_, _ = fmt.Fprintln(cmd.OutOrStdout(), "no such runs")
				return nil
			}
			if asJSON {
				all := make([]ops.View, len(runs))
				for i, s := range runs {
					all[i] = ops.ViewOf(s)
				}
				return printJSON(cmd.OutOrStdout(), all)
			}
			return printRuns(cmd.OutOrStdout(), runs)
		},
	}
	f.add(cmd)
	database.add(cmd)
	choose.add(cmd)
	cmd.Flags().BoolVar(&asJSON, "json", false, "print a JSON array on standard output")
	return cmd
}

func printRuns(w io.Writer, runs []*run.State) error {
	if len(runs) == 0 {
		_, err := fmt.Fprintln(w, "no runs yet")
		return err
	}
	rows := [][]string{{"RUN", "STATE", "IN RANGE", "ATTRIBUTED", "FAILED", "STARTED", "TOOK", "ABOUT"}}
	for _, s := range runs {
		var inRange, attributed, failed string
		if c, plan := s.Counts, s.Planned.GetCounts(); c != nil {
			inRange, attributed, failed = human.Thousands(c.GetInRange()), human.Thousands(run.WithAttribution(c)), human.Thousands(c.GetFailed())
		} else if plan != nil {
			inRange = human.Thousands(plan.GetInRange())
		}
		rows = append(rows, []string{human.Printable(s.ID), string(s.Status()), inRange, attributed, failed,
			s.Started.Format(time.DateTime), human.Duration(s.Took(time.Now())), human.Printable(about(s))})
	}
	const failed, inRange, started, took = 4, 2, 5, 6
	return human.Columns{Rows: rows, Drop: []int{started, inRange, failed, took}}.List(w, window(w))
}

// what says in a few words what the run is.
func what(s *run.State) string {
	switch of := s.Request.GetReplayOf(); {
	case s.Request == nil:
		return "a request that cannot be read"
	case of != "":
		return fmt.Sprintf("replay of %s from %s", of, s.Request.GetReplayFrom())
	default:
		return run.Describe(s.Request)
	}
}

// about says what the run is and what is the matter with it.
func about(s *run.State) string {
	text := what(s)
	if s.Status() == run.StatusStuck {
		text += "; " + human.Count(s.DeadLetters, "dead letter")
	}
	if s.Reason != "" {
		text += "; " + s.Reason
	}
	if by := s.SupersededBy(); by != "" {
		text += "; superseded by " + by
	}
	return text
}
