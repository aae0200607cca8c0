package ops

import (
	"cmp"
	"context"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/ihc-pipeline/ihc/internal/findings"
	"github.com/ihc-pipeline/ihc/internal/journey"
	"github.com/ihc-pipeline/ihc/internal/packing"
	"github.com/ihc-pipeline/ihc/internal/run"
	ihcv1 "github.com/ihc-pipeline/ihc/proto/ihc/v1"
)

// PlanSource is what a plan reads of a database: a store.Source.
type PlanSource interface {
	Validate(ctx context.Context, o findings.Options) (*findings.Findings, error)
	RequestTime(ctx context.Context) (time.Duration, error)
	Slices(ctx context.Context, o journey.Options, conversions int, do func(context.Context, []journey.Options) error) error
	Journeys(ctx context.Context, o journey.Options, yield func(journey.Journey) error) error
}

// Pace is what the time of a run over the API is reckoned from.
type Pace struct {
	// Latency is how long a request takes; 0 for what was measured in the last run.
	Latency time.Duration
	// Concurrency is how many requests are sent at once, Rate how many a second
	// at the most, 0 for no bound: over all attributors together.
	Concurrency int
	Rate        float64
	// DailyQuota is how many requests a day the plan of the key allows; 0 for no
	// bound.
	DailyQuota uint64
}

// Plan is what a run would do.
type Plan struct {
	Request *ihcv1.RunRequest
	// Counts are the conversions in range by what would become of them, if no
	// reply is bad, and the touchpoints of those that have an attribution then.
	Counts *ihcv1.Counts
	// Journeys are the conversions to be scored; of Counts' attributed and
	// approximated, Unchanged need not be: they would be reused.
	Journeys, Unchanged uint64
	// Requests are those to the API, when each is answered at once.
	Requests uint64
	// Approximations and Reasons tell of the conversions that would not be scored
	// whole and by the run's model, and of those that would not be scored.
	Approximations []*ihcv1.ApproximationCount
	Reasons        []*ihcv1.ReasonCount
	// Latency is what Time was reckoned from; Measured says that it was measured.
	Latency  time.Duration
	Measured bool
	// Time is about how long the requests take, without pauses for a quota; 0 where
	// that is not known. Days is on how many days they are sent, by the quota.
	Time time.Duration
	Days uint64
}

// NewPlan returns what a run would do whose request is complete and names its
// model and what becomes of long journeys: by the same reading, checks and
// packing as the run itself. most is the largest message, in bytes; known, when
// not nil, is that of [packing.NewChunks]. It sends
// nothing and writes nothing. That the data are not sound is an input fault.
func NewPlan(ctx context.Context, source PlanSource, req *ihcv1.RunRequest, most int, known func(conv string, fingerprint []byte) (bool, error), pace Pace) (*Plan, error) {
	found, err := source.Validate(ctx, findings.Options{StartDate: req.GetStartDate(), EndDate: req.GetEndDate(), Alone: true})
	if err != nil {
		return nil, err
	}
	if err := found.Err(); err != nil {
		return nil, err
	}
	p := &Plan{Request: proto.CloneOf(req)}
	reasons := map[string]*ihcv1.ReasonCount{}
	chunks, err := packing.NewChunks(req, most, known, func(c packing.Chunk) error {
		p.Journeys += uint64(len(c.Journeys))
		if len(c.Journeys) > 0 && !run.Whole(req) && c.Journeys[0].Strategy != run.LongBuiltin {
			p.Requests++
		}
		for _, o := range c.Outcomes {
			p.reason(reasons, o)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	err = source.Slices(ctx, run.Journeys(req), packing.SliceConversions, func(ctx context.Context, slices []journey.Options) error {
		for _, o := range slices {
			if err := source.Journeys(ctx, o, chunks.Add); err != nil {
				return err
			}
			if err := chunks.Flush(); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	p.Counts = chunks.Counts
	p.Counts.Reused = p.Unchanged
	if n := p.Counts.GetApproximated(); n > 0 {
		a := &ihcv1.ApproximationCount{Strategy: req.GetLongJourneys(), Conversions: n, SessionsLeftOut: chunks.LeftOut}
		if a.GetStrategy() == run.LongBuiltin {
			a.Model = run.ModelBuiltin
		}
		p.Approximations = append(p.Approximations, a)
	}
	if p.Requests == 0 {
		return p, nil
	}
	p.Latency = pace.Latency
	if p.Latency == 0 {
		if p.Latency, err = source.RequestTime(ctx); err != nil {
			return nil, err
		}
		p.Measured = p.Latency > 0
	}
	p.Time, p.Days = pace.Of(p.Requests, p.Latency)
	return p, nil
}

// reason counts an outcome.
func (p *Plan) reason(all map[string]*ihcv1.ReasonCount, o *ihcv1.Outcome) {
	if run.OutcomeOf(o.GetKind()).Attributed {
		p.Unchanged++
		return
	}
	r := all[o.GetReason()]
	if r == nil {
		r = &ihcv1.ReasonCount{Kind: o.GetKind(), Reason: o.GetReason(), ExampleConvId: o.GetConvId()}
		all[o.GetReason()] = r
		p.Reasons = append(p.Reasons, r)
	}
	r.Conversions++
}

// Of returns how long so many requests take, 0 where the latency is not known,
// and on how many days they are sent.
func (p Pace) Of(requests uint64, latency time.Duration) (time.Duration, uint64) {
	days := uint64(1)
	if p.DailyQuota > 0 {
		days = (requests + p.DailyQuota - 1) / p.DailyQuota
	}
	if latency == 0 {
		return 0, days
	}
	atOnce := uint64(cmp.Or(max(p.Concurrency, 0), 1))
	rounds := (requests + atOnce - 1) / atOnce
	took := time.Duration(rounds) * latency
	if p.Rate > 0 {
		took = max(took, time.Duration(float64(requests-1)/p.Rate*float64(time.Second))+latency)
	}
	return took, days
}
