package extractor

import (
	"cmp"
	"context"
	"sync"
	"time"

	"github.com/ihc-pipeline/ihc/internal/findings"
	"github.com/ihc-pipeline/ihc/internal/run"
	"github.com/ihc-pipeline/ihc/internal/stream"
	ihcv1 "github.com/ihc-pipeline/ihc/proto/ihc/v1"
	"github.com/ihc-pipeline/ihc/store"
)

// touchpointsGuessed is how many touchpoints a conversion is taken to have before
// any run of the database could tell.
const touchpointsGuessed = 12

// work returns about how much there is to do; nothing of it where that cannot be
// told, since it is a courtesy.
func (e *extractor) work(ctx context.Context, req *ihcv1.RunRequest, inRange uint64) store.Work {
	size, checked := e.checked.of(req.GetRunId())
	if !checked {
		ctx, cancel := context.WithTimeout(ctx, time.Second)
		defer cancel()
		var err error
		if size, err = e.db.Size(ctx); err != nil {
			e.Log.Debug("could not tell the size of the database", "error", err)
		}
	}
	w := store.Work{Size: size, InRange: cmp.Or(int64(inRange), size.Conversions)}
	w.Touchpoints = float64(w.InRange) * cmp.Or(size.PerConversion, touchpointsGuessed)
	if size.PerConversion > 0 && !req.GetFull() {
		w.Reused = 1
	}
	return w
}

// plan notes what the steps of a run take.
func plan(p *ihcv1.Progress, req *ihcv1.RunRequest, w store.Work) {
	t := w.Takes()
	if !run.Whole(req) {
		t.Score = 0 // by an API: nobody knows
	}
	for _, s := range []struct {
		name    string
		seconds float64
	}{{run.StepCheck, t.Check}, {run.StepSort, t.Sort}, {run.StepScore, t.Score}, {run.StepSweep, t.Sweep}, {run.StepReport, t.Report}, {run.StepCompare, t.Compare}} {
		stream.PlanStep(p, s.name, s.seconds)
	}
}

// check reads the source data whole and says how far it is. Where that cannot be
// known, it says after a second that it is at it.
func (e *extractor) check(ctx context.Context, req *ihcv1.RunRequest, o findings.Options) (*findings.Findings, error) {
	id := req.GetRunId()
	meter := e.Bus.MeterOf(id)
	work, planned := e.work(ctx, req, 0), false
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
	work.Sessions, work.Costs, work.Conversions = found.Sessions, found.Costs, found.Conversions
	e.checked.put(id, work.Size)
	if !planned {
		work = e.work(ctx, req, uint64(found.ConversionsInRange))
		meter.Add(ctx, func(p *ihcv1.Progress) { plan(p, req, work) })
	}
	return found, nil
}

// checked is the size that the last check found, which is exact.
type checked struct {
	mu   sync.Mutex
	run  string
	size store.Size
}

func (c *checked) put(run string, size store.Size) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.run, c.size = run, size
}

func (c *checked) of(run string) (store.Size, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.size, c.run == run
}

// begun notes that the first conversion of a run is read: the sessions are sorted.
// Of a run that goes on, some was scored before.
func (b *builder) begun() {
	p := b.meter.Now()
	scored := 0.0
	if !b.fresh {
		if told, err := b.e.Bus.Progress(b.ctx, b.req.GetRunId()); err == nil {
			scored = run.Scored(p.GetConversionsTotal(), told[stream.StageExtractor], told[stream.StageAttributor], told[stream.StageWriter])
		}
	}
	b.meter.Add(b.ctx, func(p *ihcv1.Progress) {
		stream.EndStep(p, run.StepSort, time.Now())
		stream.BeginStep(p, run.StepScore, time.Now(), scored)
	})
}

// replan notes what is known better by what was read.
func (b *builder) replan(p *ihcv1.Progress) {
	c := b.chunks.Counts
	if n := run.WithAttribution(c); n > 0 {
		b.work.Reused = float64(b.chunks.Reused) / float64(n)
	}
	if n := c.GetInRange(); n > 0 {
		b.work.Touchpoints = float64(c.GetTouchpoints()) / float64(n) * float64(b.work.InRange)
	}
	plan(p, b.req, b.work)
}
