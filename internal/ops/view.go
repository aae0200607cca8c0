package ops

import (
	"context"
	"iter"
	"time"

	"github.com/ihc-pipeline/ihc/internal/errkind"
	"github.com/ihc-pipeline/ihc/internal/run"
	"github.com/ihc-pipeline/ihc/internal/stream"
	ihcv1 "github.com/ihc-pipeline/ihc/proto/ihc/v1"
)

// View is a run as programs are told of it, by `ihc runs --json`, `ihc status
// --json` and the HTTP API. Fields that are not known yet are null or absent.
type View struct {
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
	Planned      *Planned        `json:"planned,omitempty"`
	Written      uint64          `json:"written"` // conversions whose outcome is in the database
	Conversions  run.Conversions `json:"conversions"`
	Touchpoints  uint64          `json:"touchpoints"`
	Requests     uint64          `json:"requests"`
	MaxRequests  uint64          `json:"max_requests,omitempty"`
	DeadLetters  int             `json:"dead_letters"`
	Reason       string          `json:"reason,omitempty"`
	Waiting      string          `json:"waiting,omitempty"`  // for what, of a run that is not over
	NextTry      *time.Time      `json:"next_try,omitempty"` // when what it waits for is tried again, where that is known

	// Of one run alone, not of a list.
	Chunks *Chunks             `json:"chunks,omitempty"`
	Stages map[string]Stage    `json:"stages,omitempty"`
	Failed *[]FailedConversion `json:"failed,omitempty"`
}

// Planned is what a run has to do, once everything is extracted.
type Planned struct {
	Conversions uint64 `json:"conversions"` // in range
	ToScore     uint64 `json:"to_score"`    // of them
	Touchpoints uint64 `json:"touchpoints"` // of those to be scored
	Chunks      uint32 `json:"chunks"`
}

// ViewOf returns a run as it is now.
func ViewOf(s *run.State) View {
	j := View{RunID: s.ID, Status: s.Status(), Phase: s.Phase(), Model: s.Model(), StartDate: s.Request.GetStartDate(), EndDate: s.Request.GetEndDate(),
		ReplayOf: s.Request.GetReplayOf(), ReplayFrom: s.Request.GetReplayFrom(), SupersededBy: s.SupersededBy(), Started: s.Started,
		Seconds: s.Took(time.Now()).Round(time.Millisecond).Seconds(), Written: s.Done().Conversions, Touchpoints: s.Counts.GetTouchpoints(),
		Requests: s.Done().Requests, MaxRequests: s.MaxRequests, DeadLetters: s.DeadLetters, Reason: s.Reason}
	if !s.Ended.IsZero() {
		j.Ended = &s.Ended
	} else {
		j.Waiting = s.Progress.Full
		for _, p := range []*ihcv1.Progress{s.Progress.Extractor, s.Progress.Attributor, s.Progress.Writer, s.Progress.Reporter} {
			if j.Waiting == "" && p.GetWaiting() != "" {
				j.Waiting, j.NextTry = p.GetWaiting(), nextTry(p)
			}
		}
	}
	if c := s.Planned.GetCounts(); c != nil {
		j.Planned = &Planned{c.GetInRange(), run.WithAttribution(c), c.GetTouchpoints(), s.Planned.GetChunks()}
	}
	if s.Counts != nil {
		j.Conversions = run.ConversionsOf(s.Counts)
	}
	return j
}

// Chunks is how many chunks a run has, 0 while that is not known, and how
// many of them have a result.
type Chunks struct {
	Total  uint32 `json:"total"`
	Scored uint64 `json:"scored"`
}

// Stage is how far one stage is.
type Stage struct {
	Conversions uint64 `json:"conversions"`
	Requests    uint64 `json:"requests,omitempty"`
	Retries     uint64 `json:"retries,omitempty"`
	Waiting     string `json:"waiting,omitempty"`
	// NextTry is when what it waits for is tried again, where that is known.
	NextTry *time.Time `json:"next_try,omitempty"`
}

// ViewWhole returns one run with how far its chunks and its stages are.
func ViewWhole(s *run.State) View {
	j := ViewOf(s)
	j.Chunks, j.Stages = &Chunks{s.Planned.GetChunks(), s.Progress.ScoredChunks}, map[string]Stage{}
	for name, p := range Stages(s.Progress) {
		j.Stages[name] = Stage{p.GetConversions(), p.GetRequests(), p.GetRetries(), p.GetWaiting(), nextTry(p)}
	}
	return j
}

// nextTry returns when a stage that waits tries again, nil where that is not
// known.
func nextTry(p *ihcv1.Progress) *time.Time {
	if p.GetWaiting() == "" || p.GetNextTry() == 0 {
		return nil
	}
	at := time.UnixMilli(p.GetNextTry()).UTC()
	return &at
}

// Waits says for what a stage waits and when it tries again, "" where it does
// not wait.
func Waits(p *ihcv1.Progress) string {
	why := p.GetWaiting()
	if at := nextTry(p); at != nil {
		why += " (next try at " + at.Format(time.TimeOnly) + " UTC)"
	}
	return why
}

// Stages yields the stages that have told something of their work, in their
// order, by their names.
func Stages(p run.Progress) iter.Seq2[string, *ihcv1.Progress] {
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

// ResultOf returns what a run came to, and false while it has not ended.
func ResultOf(s *run.State) (run.Result, bool) {
	status := s.Status()
	if !status.Ended() {
		return run.Result{}, false
	}
	r := run.ResultOf(s.Report)
	r.RunID, r.Status = s.ID, status
	if s.Report == nil {
		r.Error, r.Code = s.Reason, errkind.CodeRun
		r.Model, r.StartDate, r.EndDate = s.Model(), s.Request.GetStartDate(), s.Request.GetEndDate()
		if s.Failure != nil {
			r.Code = errkind.CodeOf(run.Fault(s.Failure))
		}
		if s.Counts == nil {
			r.Conversions = nil
		}
	}
	return r, true
}

// Happened is an event of a run, with its place in the stream and when it was
// stored there.
type Happened struct {
	Sequence uint64
	Time     time.Time
	Event    *ihcv1.RunEvent
}

// Events returns what has happened to a run, oldest first.
func (r *Runs) Events(ctx context.Context, id string) ([]Happened, error) {
	if !run.ValidID(id) {
		return nil, nil
	}
	events, err := r.client.Events(ctx, id)
	all := make([]Happened, len(events))
	for i, e := range events {
		all[i] = Happened{e.Sequence, e.Time, e.Event}
	}
	return all, err
}
