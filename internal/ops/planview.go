package ops

import (
	"time"

	"github.com/ihc-pipeline/ihc/internal/run"
)

// PlanView is a plan as programs are told of it, by `ihc plan --json` and the
// HTTP API; what a run's JSON has too is named alike.
type PlanView struct {
	Model          string                `json:"model"`
	StartDate      string                `json:"start_date,omitempty"`
	EndDate        string                `json:"end_date,omitempty"`
	Conversions    run.Conversions       `json:"conversions"`
	Journeys       uint64                `json:"journeys"`
	Unchanged      uint64                `json:"unchanged"`
	ToSend         uint64                `json:"to_send"`
	Touchpoints    uint64                `json:"touchpoints"`
	Requests       uint64                `json:"requests"`
	Seconds        *float64              `json:"seconds"`
	LatencySeconds *float64              `json:"latency_seconds"`
	Concurrency    int                   `json:"concurrency"`
	RequestRate    float64               `json:"request_rate"`
	DailyQuota     uint64                `json:"daily_quota,omitempty"`
	Days           uint64                `json:"days"`
	LongJourneys   string                `json:"long_journeys"`
	Approximations []run.ResultShortened `json:"approximations"`
	Reasons        []LeftOut             `json:"reasons"`
}

// LeftOut is why conversions would not be scored.
type LeftOut struct {
	Outcome     string `json:"outcome"`
	Reason      string `json:"reason"`
	Conversions uint64 `json:"conversions"`
	Example     string `json:"example_conv_id"`
}

// ViewPlan returns a plan that was made for a pace.
func ViewPlan(p *Plan, pace Pace) PlanView {
	seconds := func(d time.Duration) *float64 {
		s := d.Seconds()
		if d == 0 && p.Requests > 0 {
			return nil
		}
		return &s
	}
	j := PlanView{Model: p.Request.GetModel(), StartDate: p.Request.GetStartDate(), EndDate: p.Request.GetEndDate(),
		Conversions: run.ConversionsOf(p.Counts), Journeys: p.Journeys + p.Unchanged, Unchanged: p.Unchanged, ToSend: p.Journeys,
		Touchpoints: p.Counts.GetTouchpoints(), Requests: p.Requests, Seconds: seconds(p.Time), LatencySeconds: seconds(p.Latency),
		Concurrency: pace.Concurrency, RequestRate: pace.Rate, DailyQuota: pace.DailyQuota, Days: p.Days,
		LongJourneys: p.Request.GetLongJourneys(), Approximations: []run.ResultShortened{}, Reasons: []LeftOut{}}
	for _, a := range p.Approximations {
		j.Approximations = append(j.Approximations, run.ResultShortened{Strategy: a.GetStrategy(), Model: a.GetModel(), Conversions: a.GetConversions(), LeftOut: a.GetSessionsLeftOut()})
	}
	for _, r := range p.Reasons {
		j.Reasons = append(j.Reasons, LeftOut{run.OutcomeName(r.GetKind()), r.GetReason(), r.GetConversions(), r.GetExampleConvId()})
	}
	return j
}
