package console

import (
	"net/http"
	"slices"
	"time"

	"github.com/ihc-pipeline/ihc/internal/human"
	"github.com/ihc-pipeline/ihc/internal/ops"
	"github.com/ihc-pipeline/ihc/internal/run"
	"github.com/ihc-pipeline/ihc/internal/stream"
	ihcv1 "github.com/ihc-pipeline/ihc/proto/ihc/v1"
)

// runView is a run as its page shows it.
type runView struct {
	told
	About    string
	Ended    bool
	Since    string // how long it took, or has taken
	Left     string // "" where it is not known
	Rate     string
	Warnings []string
	Full     string
	Stages   []stageView
	Events   []eventView
	Letters  []stream.DeadLetter
	Failures []ops.FailedConversion
	MoreFail int
	Report   *ihcv1.Report
	// What can be done to it.
	CanCancel, CanResume, CanReplay bool
}

// stageView is one of the four stages of a run, as a bar in time.
type stageView struct {
	Name, State    string // State is waiting, working, paused, done, stopped, failed or not reached
	In, Out, More  string
	Waiting        string
	Begin, Length  int // of the run's time, in thousandths
	Share          int // done of what there is to do, in hundredths; -1 where that is not known
	BeginAt, EndAt string
	For            string // how long it worked, or has
}

// eventView is what happened to a run.
type eventView struct {
	At            time.Time
	Name, Details string
}

// mostLetters and mostFailures are how many a page shows.
const (
	mostLetters  = 50
	mostFailures = 200
)

// look reads what a page shows of a run.
func (c *console) look(r *http.Request) (*runView, error) {
	ctx := r.Context()
	s, err := c.runs.Get(ctx, r.PathValue("run_id"))
	if err != nil {
		return nil, err
	}
	events, err := c.runs.Events(ctx, s.ID)
	if err != nil {
		return nil, err
	}
	status := s.Status()
	v := &runView{told: c.tell(s), About: about(s), Ended: status.Ended(), Since: human.Duration(s.Took(time.Now())), Warnings: s.Warnings,
		Full: s.Progress.Full, Report: s.Report, CanCancel: !status.Ended(), CanResume: status == run.StatusPaused, CanReplay: status.Ended() && run.Replayable(s) == nil}
	if v.SecondsLeft != nil {
		v.Left = human.About(time.Duration(*v.SecondsLeft * float64(time.Second)))
	}
	if v.PerSecond != nil {
		v.Rate = human.Thousands(int64(*v.PerSecond))
	}
	if s.DeadLetters > 0 {
		if v.Letters, err = c.runs.DeadLetters(ctx, s.ID); err != nil {
			return nil, err
		}
		v.Letters = v.Letters[:min(len(v.Letters), mostLetters)]
	}
	if s.Counts.GetFailed() > 0 {
		if v.Failures, err = c.runs.Failed(ctx, s); err != nil {
			return nil, err
		}
		v.MoreFail = max(len(v.Failures)-mostFailures, 0)
		v.Failures = v.Failures[:len(v.Failures)-v.MoreFail]
	}
	times := map[stream.Event]time.Time{}
	for _, e := range events {
		name := stream.EventOf(e.Event)
		if times[name].IsZero() {
			times[name] = e.Time
		}
		v.Events = append(v.Events, eventView{e.Time, string(name), details(e.Event)})
	}
	slices.Reverse(v.Events)
	v.Stages = stages(s, times, time.Now())
	return v, nil
}

// details says what an event tells.
func details(e *ihcv1.RunEvent) string {
	switch x := e.GetEvent().(type) {
	case *ihcv1.RunEvent_Accepted:
		if s := x.Accepted.GetScoring(); s != nil {
			return "the data are sound; scored by " + run.DescribeScoring(s)
		}
		return "the data are sound"
	case *ihcv1.RunEvent_Extracted:
		return human.Count(x.Extracted.GetCounts().GetInRange(), "conversion") + " in " + human.Count(x.Extracted.GetChunks(), "chunk")
	case *ihcv1.RunEvent_Written:
		return human.Count(run.WithAttribution(x.Written.GetCounts()), "conversion") + " with attribution, all in the database"
	case *ihcv1.RunEvent_Reported:
		return human.Count(x.Reported.GetReport().GetReportRows(), "row") + " of channel_reporting"
	case *ihcv1.RunEvent_Failed:
		return "in the " + x.Failed.GetStage() + ": " + x.Failed.GetReason()
	case *ihcv1.RunEvent_Cancelled:
		return x.Cancelled.GetReason()
	case *ihcv1.RunEvent_Paused:
		return "after " + human.Count(x.Paused.GetRequests(), "request")
	case *ihcv1.RunEvent_Resumed:
		if n := x.Resumed.GetMaxRequests(); n > 0 {
			return "with " + human.Count(n, "request") + " more"
		}
		return "with as many requests as it takes"
	default:
		return ""
	}
}

// stages returns the four stages of a run as they are at a time.
func stages(s *run.State, at map[stream.Event]time.Time, now time.Time) []stageView {
	first, last := s.Started, now
	if !s.Ended.IsZero() {
		last = s.Ended
	}
	p, plan := s.Progress, s.Planned
	inRange := max(p.Extractor.GetConversionsTotal(), plan.GetCounts().GetInRange(), s.Counts.GetInRange())
	chunks := uint64(plan.GetChunks())
	all := []stageView{
		{Name: stream.StageExtractor, In: amount(inRange, "conversion"), Out: amount(max(chunks, p.Extractor.GetChunks()), "chunk"), Waiting: ops.Waits(p.Extractor), Share: share(p.Extractor.GetConversions(), inRange)},
		{Name: stream.StageAttributor, In: amount(max(chunks, p.Extractor.GetChunks()), "chunk"), Out: amount(p.ScoredChunks, "result"), Waiting: ops.Waits(p.Attributor), Share: share(p.ScoredChunks, chunks)},
		{Name: stream.StageWriter, In: amount(p.ScoredChunks, "result"), Out: amount(s.Done().Conversions, "conversion"), Waiting: ops.Waits(p.Writer), Share: share(s.Done().Conversions, inRange)},
		{Name: stream.StageReporter, In: amount(s.Done().Conversions, "conversion"), Waiting: ops.Waits(p.Reporter), Share: -1},
	}
	if n := s.Done().Requests; n > 0 {
		all[1].More = human.Count(n, "request") + " answered"
		if again := p.Attributor.GetRetries(); again > 0 {
			all[1].More += ", " + human.Thousands(again) + " tried again"
		}
	}
	if s.Report != nil {
		all[3].Out = human.Count(s.Report.GetReportRows(), "row")
	}
	scored := time.Time{} // no event says when the last result came
	if chunks > 0 && p.ScoredChunks >= chunks || s.Counts != nil {
		scored = at[stream.EventWritten]
		if scored.IsZero() {
			scored = now
		}
	}
	spans := [][2]time.Time{{at[stream.EventAccepted], at[stream.EventExtracted]}, {at[stream.EventAccepted], scored},
		{at[stream.EventAccepted], at[stream.EventWritten]}, {at[stream.EventWritten], at[stream.EventReported]}}
	for i := range all {
		failed := s.Failure.GetStage() == all[i].Name
		if failed && spans[i][0].IsZero() {
			spans[i][0] = first // it never came so far as to say that it had begun
		}
		all[i].span(spans[i][0], spans[i][1], first, last, s)
		if failed && all[i].State != "done" {
			all[i].State = "failed"
		}
	}
	return all
}

func amount(n uint64, what string) string {
	if n == 0 {
		return "–"
	}
	return human.Count(n, what)
}

func share(done, whole uint64) int {
	if whole == 0 {
		return -1
	}
	return int(min(done*100/whole, 100))
}

// span puts a stage between the ends of its run.
func (v *stageView) span(begin, end, first, last time.Time, s *run.State) {
	switch {
	case begin.IsZero():
		v.State, v.Share = "waiting", -1
		if s.Status().Ended() {
			v.State = "not reached"
		}
		return
	case !end.IsZero():
		v.State, v.Share = "done", 100
		v.EndAt = end.UTC().Format(time.TimeOnly)
	case s.Status().Ended():
		v.State, end = "stopped", last
	case s.Status() == run.StatusPaused:
		v.State, end = "paused", last
	default:
		v.State, end = "working", last
		if v.Waiting != "" {
			v.State = "waiting"
		}
	}
	v.BeginAt, v.For = begin.UTC().Format(time.TimeOnly), human.Duration(end.Sub(begin))
	whole := max(last.Sub(first), time.Millisecond)
	v.Begin = int(min(max(begin.Sub(first)*1000/whole, 0), 990))
	v.Length = int(min(max(end.Sub(begin)*1000/whole, 10), time.Duration(1000-v.Begin)))
}
