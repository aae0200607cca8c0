package main

import (
	"fmt"
	"io"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/ihc-pipeline/ihc/internal/human"
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
and ends as "completed", "completed_with_failures", "failed" or "cancelled".
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
			runs, err := listRuns(cmd.Context(), client, "*")
			if err != nil {
				return err
			}
			if asJSON {
				all := make([]jsonRun, len(runs))
				for i, r := range runs {
					all[i] = r.json()
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

func printRuns(w io.Writer, runs []*runState) error {
	if len(runs) == 0 {
		_, err := fmt.Fprintln(w, "no runs yet")
		return err
	}
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	_, _ = fmt.Fprintln(t, "RUN\tSTATE\tIN RANGE\tATTRIBUTED\tFAILED\tSTARTED\tTOOK\tABOUT")
	for _, r := range runs {
		numbers := "\t\t"
		if c := r.Counts; c != nil {
			attributed, failed := human.Thousands(c.GetAttributed()), human.Thousands(c.GetFailed())
			if r.Report == nil { // the extractor's counts, of what is to be scored
				attributed, failed = "", ""
			}
			numbers = human.Thousands(c.GetInRange()) + "\t" + attributed + "\t" + failed
		}
		_, _ = fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\t%s\n", r.ID, r.Status, numbers, r.Started.Format(time.DateTime), human.Duration(r.Took()), r.about())
	}
	return t.Flush()
}

// what says in a few words what the run is.
func (r *runState) what() string {
	switch of := r.Request.GetReplayOf(); {
	case r.Request == nil:
		return "a request that cannot be read"
	case of != "":
		return fmt.Sprintf("replay of %s from %s", of, r.Request.GetReplayFrom())
	default:
		return run.Describe(r.Request)
	}
}

// about says what the run is and what is the matter with it.
func (r *runState) about() string {
	text := r.what()
	if r.Dead > 0 && !r.Ended() {
		text += fmt.Sprintf("; %d dead letters", r.Dead)
	}
	if r.Reason != "" {
		text += "; " + r.Reason
	}
	return text
}

// jsonRun is a run as `ihc runs --json` and `ihc status --json` have it. Fields
// that are not known yet are null or absent.
type jsonRun struct {
	RunID       string           `json:"run_id"`
	Status      string           `json:"status"`
	Model       string           `json:"model,omitempty"`
	StartDate   string           `json:"start_date,omitempty"`
	EndDate     string           `json:"end_date,omitempty"`
	ReplayOf    string           `json:"replay_of,omitempty"`
	ReplayFrom  string           `json:"replay_from,omitempty"`
	Started     time.Time        `json:"started"`
	Ended       *time.Time       `json:"ended"`
	Seconds     float64          `json:"seconds"`
	Conversions *jsonConversions `json:"conversions"`
	Touchpoints uint64           `json:"touchpoints"`
	Requests    uint64           `json:"requests"`
	MaxRequests uint64           `json:"max_requests,omitempty"`
	DeadLetters int              `json:"dead_letters"`
	Reason      string           `json:"reason,omitempty"`

	// Of status alone.
	Chunks *jsonChunks          `json:"chunks,omitempty"`
	Stages map[string]jsonStage `json:"stages,omitempty"`
	Failed *[]jsonFailed        `json:"failed,omitempty"`
}

func (r *runState) json() jsonRun {
	c := r.Counts
	j := jsonRun{RunID: r.ID, Status: r.Status, Model: r.model(), StartDate: r.Request.GetStartDate(), EndDate: r.Request.GetEndDate(),
		ReplayOf: r.Request.GetReplayOf(), ReplayFrom: r.Request.GetReplayFrom(), Started: r.Started,
		Seconds: r.Took().Round(time.Millisecond).Seconds(), Touchpoints: c.GetTouchpoints(), Requests: r.Report.GetRequests(),
		MaxRequests: r.MaxRequests, DeadLetters: r.Dead, Reason: r.Reason}
	if r.Ended() {
		j.Ended = &r.Last
	}
	if c != nil {
		j.Conversions = conversionsJSON(c)
	}
	return j
}

func conversionsJSON(c *ihcv1.Counts) *jsonConversions {
	return &jsonConversions{c.GetInRange(), c.GetAttributed(), c.GetApproximated(), c.GetExcluded(), c.GetFailed(), c.GetWithoutSessions()}
}

// model returns what scored the run or, before that is known, what it asks for.
func (r *runState) model() string {
	if m := r.Report.GetModel(); m != "" {
		return m
	}
	return r.Request.GetModel()
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

func stagesJSON(stages map[string]*ihcv1.Progress) map[string]jsonStage {
	all := map[string]jsonStage{}
	for _, name := range []string{stream.StageExtractor, stream.StageAttributor, stream.StageWriter} {
		if p := stages[name]; p != nil {
			all[name] = jsonStage{p.GetConversions(), p.GetRequests(), p.GetRetries(), p.GetWaiting()}
		}
	}
	return all
}
