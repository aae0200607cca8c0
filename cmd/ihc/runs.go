package main

import (
	"fmt"
	"io"
	"iter"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/ihc-pipeline/ihc/internal/human"
	"github.com/ihc-pipeline/ihc/internal/ops"
	"github.com/ihc-pipeline/ihc/internal/run"
	"github.com/ihc-pipeline/ihc/internal/stream"
	ihcv1 "github.com/ihc-pipeline/ihc/proto/ihc/v1"
)

func newRunsCmd() *cobra.Command {
	f := &stackFlags{}
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "runs",
		Short: "List the runs a stack knows, the latest last",
		Long: `runs lists what the streams know of: runs asked for, under way and over, each
with its state, its conversions and how long it took.

A run is "requested" until the extractor has checked the data, then "running",
and ends as "completed", "completed_with_failures", "completed_unreconciled"
(an equation of the proof does not hold), "failed", "cancelled" or "superseded"
(its source changed while it was interrupted, and another run took its place).
It is "paused" when its budget of requests is used up (see "ihc resume"), and
"stuck" when a message of it is among the dead letters (see "ihc dead").`,
		Example: "  ihc runs\n  ihc runs --json | jq '.[-1].status'",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			client, done, err := f.open(cmd.Context())
			if err != nil {
				return err
			}
			defer done()
			runs, err := ops.New(client).List(cmd.Context())
			if err != nil {
				return err
			}
			if asJSON {
				all := make([]jsonRun, len(runs))
				for i, s := range runs {
					all[i] = runJSON(s)
				}
				return printJSON(cmd.OutOrStdout(), all)
			}
			return printRuns(cmd.OutOrStdout(), runs)
		},
	}
	f.add(cmd)
	cmd.Flags().BoolVar(&asJSON, "json", false, "print a JSON array on standard output")
	return cmd
}

func printRuns(w io.Writer, runs []*run.State) error {
	if len(runs) == 0 {
		_, err := fmt.Fprintln(w, "no runs yet")
		return err
	}
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	_, _ = fmt.Fprintln(t, "RUN\tSTATE\tIN RANGE\tATTRIBUTED\tFAILED\tSTARTED\tTOOK\tABOUT")
	for _, s := range runs {
		numbers := "\t\t"
		if c, plan := s.Counts, s.Planned.GetCounts(); c != nil {
			numbers = human.Thousands(c.GetInRange()) + "\t" + human.Thousands(run.WithAttribution(c)) + "\t" + human.Thousands(c.GetFailed())
		} else if plan != nil {
			numbers = human.Thousands(plan.GetInRange()) + "\t\t"
		}
		_, _ = fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\t%s\n", human.Printable(s.ID), s.Status(), numbers, s.Started.Format(time.DateTime), human.Duration(s.Took(time.Now())), human.Printable(about(s)))
	}
	return t.Flush()
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

// jsonRun is a run as `ihc runs --json` and `ihc status --json` have it. Fields
// that are not known yet are null or absent.
type jsonRun struct {
	RunID        string          `json:"run_id"`
	Status       run.Status      `json:"status"`
	Phase        run.Phase       `json:"phase,omitempty"`
	Model        string          `json:"model,omitempty"`
	StartDate    string          `json:"start_date,omitempty"`
	EndDate      string          `json:"end_date,omitempty"`
	ReplayOf     string          `json:"replay_of,omitempty"`
	ReplayFrom   string          `json:"replay_from,omitempty"`
	SupersededBy string          `json:"superseded_by,omitempty"`
	Started      time.Time       `json:"started"`
	Ended        *time.Time      `json:"ended"`
	Seconds      float64         `json:"seconds"`
	Planned      *jsonPlan       `json:"planned,omitempty"`
	Written      uint64          `json:"written"` // conversions whose outcome is in the database
	Conversions  jsonConversions `json:"conversions"`
	Touchpoints  uint64          `json:"touchpoints"`
	Requests     uint64          `json:"requests"`
	MaxRequests  uint64          `json:"max_requests,omitempty"`
	DeadLetters  int             `json:"dead_letters"`
	Reason       string          `json:"reason,omitempty"`
	Waiting      string          `json:"waiting,omitempty"` // for what, of a run that is not over

	// Of status alone.
	Chunks *jsonChunks             `json:"chunks,omitempty"`
	Stages map[string]jsonStage    `json:"stages,omitempty"`
	Failed *[]ops.FailedConversion `json:"failed,omitempty"`
}

// jsonPlan is what a run has to do, once everything is extracted.
type jsonPlan struct {
	Conversions uint64 `json:"conversions"` // in range
	ToScore     uint64 `json:"to_score"`    // of them
	Touchpoints uint64 `json:"touchpoints"` // of those to be scored
	Chunks      uint32 `json:"chunks"`
}

func runJSON(s *run.State) jsonRun {
	j := jsonRun{RunID: s.ID, Status: s.Status(), Phase: s.Phase(), Model: s.Model(), StartDate: s.Request.GetStartDate(), EndDate: s.Request.GetEndDate(),
		ReplayOf: s.Request.GetReplayOf(), ReplayFrom: s.Request.GetReplayFrom(), SupersededBy: s.SupersededBy(), Started: s.Started,
		Seconds: s.Took(time.Now()).Round(time.Millisecond).Seconds(), Written: s.Done().Conversions, Touchpoints: s.Counts.GetTouchpoints(),
		Requests: s.Done().Requests, MaxRequests: s.MaxRequests, DeadLetters: s.DeadLetters, Reason: s.Reason}
	if !s.Ended.IsZero() {
		j.Ended = &s.Ended
	} else {
		j.Waiting = waiting(s.Progress)
	}
	if c := s.Planned.GetCounts(); c != nil {
		j.Planned = &jsonPlan{c.GetInRange(), run.WithAttribution(c), c.GetTouchpoints(), s.Planned.GetChunks()}
	}
	if s.Counts != nil {
		j.Conversions = conversionsJSON(s.Counts)
	}
	return j
}

// jsonChunks is how many chunks a run has, 0 while that is not known, and how
// many of them have a result.
type jsonChunks struct {
	Total  uint32 `json:"total"`
	Scored uint64 `json:"scored"`
}

// jsonStage is how far one stage is.
type jsonStage struct {
	Conversions uint64 `json:"conversions"`
	Requests    uint64 `json:"requests,omitempty"`
	Retries     uint64 `json:"retries,omitempty"`
	Waiting     string `json:"waiting,omitempty"`
}

// stagesOf yields the stages that have told something, in their order, by their
// names.
func stagesOf(p run.Progress) iter.Seq2[string, *ihcv1.Progress] {
	return func(yield func(string, *ihcv1.Progress) bool) {
		for _, stage := range []struct {
			name string
			told *ihcv1.Progress
		}{{stream.StageExtractor, p.Extractor}, {stream.StageAttributor, p.Attributor}, {stream.StageWriter, p.Writer}} {
			if stage.told != nil && !yield(stage.name, stage.told) {
				return
			}
		}
	}
}

func stagesJSON(p run.Progress) map[string]jsonStage {
	all := map[string]jsonStage{}
	for name, p := range stagesOf(p) {
		all[name] = jsonStage{p.GetConversions(), p.GetRequests(), p.GetRetries(), p.GetWaiting()}
	}
	return all
}
