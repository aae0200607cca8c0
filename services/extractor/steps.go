package extractor

import (
	"cmp"
	"context"
	"slices"
	"sync"
	"time"

	"google.golang.org/protobuf/encoding/protojson"

	"github.com/ihc-pipeline/ihc/internal/civil"
	"github.com/ihc-pipeline/ihc/internal/findings"
	"github.com/ihc-pipeline/ihc/internal/run"
	"github.com/ihc-pipeline/ihc/internal/stream"
	ihcv1 "github.com/ihc-pipeline/ihc/proto/ihc/v1"
	"github.com/ihc-pipeline/ihc/store"
)

// touchpointsGuessed is how many touchpoints a conversion is taken to have before
// any run of the database could tell.
const touchpointsGuessed = 12

// kept is what streams add to the scoring that keep what went through them: it is on
// a disk before it goes on. docs/performance.md says how it is measured.
var kept = store.PerRow{Touchpoint: 0.6}

// work returns about how much there is to do; nothing of it where that cannot be
// told, since it is a courtesy.
func (e *extractor) work(ctx context.Context, req *ihcv1.RunRequest) store.Work {
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	found, checked := e.checked.of(req.GetRunId())
	if !checked {
		var err error
		if found.size, err = e.db.Size(ctx, req.GetStartDate(), req.GetEndDate()); err != nil {
			e.Log.Debug("could not tell the size of the database", "error", err)
		}
	}
	w := store.Work{Size: found.size, Each: cmp.Or(found.size.PerConversion, touchpointsGuessed)}
	if passing, err := e.Bus.Passing(ctx); err == nil && !passing {
		w.Streams = kept
	}
	found.scored(&w, req.GetFull())
	return w
}

// settled notes what is known better of a run when it is settled what scores it: how
// much of it was scored likewise before.
func (e *extractor) settled(ctx context.Context, accepted *ihcv1.RunAccepted) {
	req := accepted.GetRequest()
	found, checked := e.checked.of(req.GetRunId())
	if !checked || found.size.Attributed == 0 {
		return
	}
	brief, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	known, err := e.db.Runs(brief)
	if err != nil {
		e.Log.Debug("could not tell what earlier runs scored", "error", err)
		return
	}
	found.likewise = new(scoredBefore(accepted, known, found.first, found.last))
	e.checked.put(req.GetRunId(), found)
	work := e.work(ctx, req)
	e.Bus.MeterOf(req.GetRunId()).Add(ctx, func(p *ihcv1.Progress) { plan(p, req, work) })
}

// scoredBefore returns about how much of a run is scored as the database shows it, from 0
// to 1: as many of its days with conversions, which are from first to last, as the last
// run that reported them made and scored the journeys of likewise.
func scoredBefore(accepted *ihcv1.RunAccepted, known []store.KnownRun, first, last string) float64 {
	from, to := daysOf(accepted.GetRequest(), first, last)
	shown := make([]bool, max(to-from+1, 0))
	scored := 0
	for _, r := range slices.Backward(known) {
		was, err := run.Decode([]byte(r.Request))
		if err != nil || r.Report == 0 || r.ID == accepted.GetRequest().GetRunId() {
			continue
		}
		var by ihcv1.Scoring
		same := protojson.Unmarshal([]byte(r.ScoredBy), &by) == nil && run.SameScoring(&by, accepted.GetScoring()) && run.ShapeOf(was) == run.ShapeOf(accepted.GetRequest())
		begin, end := daysOf(was, first, last)
		for day := max(begin, from); day <= min(end, to); day++ {
			if n := day - from; !shown[n] {
				shown[n] = true
				if same {
					scored++
				}
			}
		}
	}
	return float64(scored) / float64(max(len(shown), 1))
}

// daysOf returns the days of the range of a request that are from first to last.
func daysOf(r *ihcv1.RunRequest, first, last string) (from, to civil.Date) {
	start, end := run.Range(r)
	from, _ = civil.ParseDate(max(start, first))
	to, _ = civil.ParseDate(min(end, last))
	return from, to
}

// plan notes what the steps of a run take.
func plan(p *ihcv1.Progress, req *ihcv1.RunRequest, w store.Work) {
	t := w.Takes()
	t.Score = max(t.Score, 1e-3) // known, if there is nothing to score
	if !run.Whole(req) {
		t.Score = 0 // by an API: nobody knows
	}
	for _, s := range []struct {
		name    string
		seconds float64
	}{{run.StepCheck, t.Check}, {run.StepSort, t.Sort}, {run.StepScore, t.Score}, {run.StepSweep, t.Sweep}, {run.StepReport, t.Report}, {run.StepCompare, t.Compare}} {
		stream.PlanStep(p, s.name, s.seconds)
	}
	stream.PlanReading(p, run.StepScore, t.Read)
}

// check reads the source data whole and says how far it is. Where that cannot be
// known, it says after a second that it is at it.
func (e *extractor) check(ctx context.Context, req *ihcv1.RunRequest, o findings.Options) (*findings.Findings, error) {
	id := req.GetRunId()
	meter := e.Bus.MeterOf(id)
	work, planned := e.work(ctx, req), false
	meter.Add(ctx, func(p *ihcv1.Progress) {
		if planned = len(p.GetSteps()) > 0; !planned { // a run that goes on knows better
			plan(p, req, work)
		}
	})
	tell, end := meter.Step(ctx, run.StepCheck)
	var once sync.Once
	over := e.Long(ctx, "the source tables are being checked", id)
	found, err := e.db.Validate(store.OnStep(ctx, func(done float64) {
		if done > 0 {
			once.Do(over)
		}
		tell(done)
	}), o)
	once.Do(over)
	if err != nil {
		return nil, err
	}
	end()
	work.Sessions, work.Costs, work.Conversions, work.InRange = found.Sessions, found.Costs, found.Conversions, found.ConversionsInRange
	work.PerConversion = cmp.Or(found.PerConversion, work.PerConversion)
	e.checked.put(id, seen{size: work.Size, first: found.FirstConversion, last: found.LastConversion})
	if !planned {
		work = e.work(ctx, req)
		meter.Add(ctx, func(p *ihcv1.Progress) { plan(p, req, work) })
	}
	return found, nil
}

// checked is what the last check found.
type checked struct {
	mu   sync.Mutex
	run  string
	seen seen
}

// seen is the size of a database, which is exact after a check, the first and last
// date of its conversions, and how much of the run was scored likewise before, nil where
// that is not settled.
type seen struct {
	size        store.Size
	first, last string
	likewise    *float64
}

// scored notes how much of a run is as it was scored before: so much is reused, or of one
// that scores all again gets the shares that it has. Until it is settled what scores it,
// that is all.
func (s seen) scored(w *store.Work, full bool) {
	before := 1.0
	switch {
	case w.Attributed == 0:
		before = 0
	case s.likewise != nil:
		before = *s.likewise
	}
	if w.Full = full; full {
		w.Same = before
	} else {
		w.Reused = before
	}
}

func (c *checked) put(run string, s seen) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.run, c.seen = run, s
}

// of returns what was found for a run, nothing where the last check was of another.
func (c *checked) of(run string) (seen, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.run != run {
		return seen{}, false
	}
	return c.seen, true
}

// begun notes that the first conversion of a run is read: the sessions are sorted.
// Of a run that goes on, some was scored before, but all of it is read again. Whoever
// reads another of its slices begins nothing.
func (b *builder) begun() {
	scored := 0.0
	if !b.fresh || b.part != nil {
		told, err := b.e.Bus.Progress(b.ctx, b.req.GetRunId())
		if b.part != nil && (scoringUnderWay(b.meter.Now()) || scoringUnderWay(told[stream.StageExtractor])) {
			return
		}
		if err == nil {
			scored = run.Stored(b.meter.Now().GetConversionsTotal(), told[stream.StageAttributor], told[stream.StageWriter])
		}
	}
	b.meter.Add(b.ctx, func(p *ihcv1.Progress) {
		stream.EndStep(p, run.StepSort, time.Now())
		stream.BeginStep(p, run.StepScore, time.Now(), scored)
	})
}

// allRead notes that all of a run is read, and how much of it is stored by then.
func (e *extractor) allRead(ctx context.Context, id string) {
	told, err := e.Bus.Progress(ctx, id)
	if err != nil {
		return // it is a courtesy
	}
	stored := run.Stored(told[stream.StageExtractor].GetConversionsTotal(), told[stream.StageAttributor], told[stream.StageWriter])
	e.Bus.MeterOf(id).Add(ctx, func(p *ihcv1.Progress) { stream.ReadStep(p, run.StepScore, time.Now(), stored) })
}

// scoringUnderWay says whether the scoring has begun, and not before the sessions were
// last sorted.
func scoringUnderWay(p *ihcv1.Progress) bool {
	var sort, score int64
	for _, s := range p.GetSteps() {
		switch s.GetName() {
		case run.StepSort:
			sort = s.GetBegun()
		case run.StepScore:
			score = s.GetBegun()
		}
	}
	return score > 0 && score >= sort
}

// toldByCheck is for as many conversions as are read what was known before counts.
const toldByCheck = 20_000

// mean returns about how many touchpoints a conversion has, where so many were known
// before, 0 for none, and a mean of so many read is another: the first ones read may be
// of few users with many sessions.
func mean(before, read, conversions, all float64) float64 {
	if before == 0 {
		return read
	}
	weight := toldByCheck * max(1-conversions/all, 0)
	return (weight*before + conversions*read) / (weight + conversions)
}

// replan notes what is known better by what was read.
func (b *builder) replan(p *ihcv1.Progress) {
	c := b.chunks.Counts
	if n := run.WithAttribution(c); n > 0 {
		b.work.Reused = float64(b.chunks.Reused) / float64(n)
	}
	if n := float64(c.GetInRange()); n > 0 {
		b.work.Each = mean(b.work.PerConversion, float64(c.GetTouchpoints())/n, n, float64(b.work.InRange))
	}
	plan(p, b.req, b.work)
}
