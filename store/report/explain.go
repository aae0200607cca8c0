package report

import (
	"fmt"
	"slices"
	"strings"

	"github.com/shopspring/decimal"

	"github.com/ihc-pipeline/ihc/internal/attribution"
	"github.com/ihc-pipeline/ihc/internal/civil"
	"github.com/ihc-pipeline/ihc/internal/human"
	"github.com/ihc-pipeline/ihc/internal/ihcmodel"
	"github.com/ihc-pipeline/ihc/internal/run"
	ihcv1 "github.com/ihc-pipeline/ihc/proto/ihc/v1"
	"github.com/ihc-pipeline/ihc/store"
)

// Explanation says of one conversion who earned what of it, and why.
type Explanation struct {
	ConvID  string `json:"conv_id"`
	UserID  string `json:"user_id"`
	Time    string `json:"time"`
	Revenue Exact  `json:"revenue"`
	// Outcome is attributed, one of the ways to end without, or not_run.
	Outcome string `json:"outcome"`
	Reason  string `json:"reason,omitempty"`
	RunID   string `json:"run_id,omitempty"`
	Model   string `json:"model,omitempty"`
	Chunk   int64  `json:"chunk,omitempty"`
	// Payload is the file that holds what was sent to the API, where it was kept.
	Payload  string             `json:"payload,omitempty"`
	Sessions []ExplainedSession `json:"sessions"`
	// Notes are what a reader should know, one line each.
	Notes []string `json:"notes"`
}

// ExplainedSession is a session with its share and the reasons for it.
type ExplainedSession struct {
	SessionID  string          `json:"session_id"`
	Time       string          `json:"time"`
	Channel    string          `json:"channel"`
	Engagement []string        `json:"engagement"`
	Cost       Exact           `json:"cost"`
	IHC        Exact           `json:"ihc"`
	IHCRevenue Exact           `json:"ihc_revenue"`
	Phases     *ExplainedPhase `json:"phases,omitempty"`
	Why        []string        `json:"why"`
}

// ExplainedPhase is a session's share of each phase.
type ExplainedPhase struct {
	Initializer Exact `json:"initializer"`
	Holder      Exact `json:"holder"`
	Closer      Exact `json:"closer"`
}

// Exact is an exact decimal that is a number in JSON, with all of its digits.
type Exact struct{ decimal.Decimal }

// MarshalJSON implements json.Marshaler.
func (e Exact) MarshalJSON() ([]byte, error) { return []byte(e.String()), nil }

// Explain explains a conversion.
func Explain(c *store.Conversion) *Explanation {
	e := &Explanation{ConvID: c.ID, UserID: c.User, Time: c.Time, Revenue: Exact{c.Revenue.Decimal()}, Outcome: run.OutcomeName(ihcv1.OutcomeKind_OUTCOME_KIND_ATTRIBUTED),
		Reason: c.Reason, Chunk: c.Chunk, Sessions: []ExplainedSession{}, Notes: []string{}}
	if c.Outcome != "" {
		e.Outcome = c.Outcome
	} else if len(c.Sessions) == 0 {
		e.Outcome, e.Reason = "not_run", "no run has come to it yet: `ihc run` over its date attributes it"
	}
	if c.Run != nil {
		e.RunID, e.Model = c.Run.RunID, c.Run.Model
	}
	whys := e.whys(c)
	for i, t := range c.Sessions {
		e.Sessions = append(e.Sessions, explainSession(c, t))
		if whys != nil {
			e.Sessions[i].Why = whys[i]
		}
	}
	e.forgetPhases()
	return e
}

// forgetPhases leaves out the phases of a model that knows none: they are all 0.
func (e *Explanation) forgetPhases() {
	for _, s := range e.Sessions {
		if p := s.Phases; p != nil && (!p.Initializer.IsZero() || !p.Holder.IsZero() || !p.Closer.IsZero()) {
			return
		}
	}
	for i := range e.Sessions {
		e.Sessions[i].Phases = nil
	}
}

func explainSession(c *store.Conversion, t store.Touchpoint) ExplainedSession {
	ihc := decimal.New(t.IHC, -store.ShareDecimals)
	s := ExplainedSession{SessionID: t.Session, Time: t.Time, Channel: t.Channel, Cost: Exact{t.Cost.Decimal()}, IHC: Exact{ihc}, IHCRevenue: Exact{ihc.Mul(c.Revenue.Decimal())}, Engagement: []string{}, Why: []string{}}
	if t.Engagement.Holder() {
		s.Engagement = append(s.Engagement, "holder")
	}
	if t.Engagement.Closer() {
		s.Engagement = append(s.Engagement, "closer")
	}
	if t.Engagement.Impression() {
		s.Engagement = append(s.Engagement, "impression")
	}
	if t.Phased {
		s.Phases = &ExplainedPhase{Exact{share(t.Initializer)}, Exact{share(t.Holder)}, Exact{share(t.Closer)}}
	}
	return s
}

// whys returns the reasons for each session, nil where they are not known, and
// notes why not.
func (e *Explanation) whys(c *store.Conversion) [][]string {
	if len(c.Sessions) == 0 {
		return nil
	}
	if c.Run == nil {
		e.Notes = append(e.Notes, "the journal does not have this conversion: another program, or an earlier release, wrote its shares")
		return nil
	}
	req, err := run.Decode([]byte(c.Run.Request))
	if err != nil {
		req = &ihcv1.RunRequest{}
	}
	params := paramsOf(c.Run.Model, req)
	if name, _, _ := strings.Cut(c.Run.Model, " "); slices.Contains(attribution.RuleNames(), name) {
		e.Notes = append(e.Notes, "scored by the model "+human.Printable(c.Run.Model)+", which knows no phases: docs/models.md says how it divides a journey")
		return nil
	}
	if params == nil {
		e.Notes = append(e.Notes, "the reasons are those of what scored it, "+human.Printable(c.Run.Model)+", and not known here")
		return nil
	}
	sessions := make([]ihcmodel.Session, len(c.Sessions))
	for i, t := range c.Sessions {
		at, err := civil.ParseTime(t.Time)
		if err != nil || !t.Scored {
			e.Notes = append(e.Notes, "sessions of the journey have changed since it was scored: why it was scored so cannot be said")
			return nil
		}
		sessions[i] = ihcmodel.Session{TimeMicros: at, Channel: t.Channel, Holder: t.Engagement.Holder(), Closer: t.Engagement.Closer(), Impression: t.Engagement.Impression()}
	}
	model, err := ihcmodel.New(params)
	if err != nil {
		return nil
	}
	rules := run.Redistribution(req.GetRedistributionParameter())
	if !sameShares(model.Scorer(rules).Score(sessions, nil), c.Sessions) {
		e.Notes = append(e.Notes, "scored now, the journey would have other shares: its sessions, or the parameters called "+human.QuoteText(params.Name)+", have changed since")
		return nil
	}
	hours, cuts := model.CutHours()
	all := model.Explain(rules, sessions)
	whys := make([][]string, len(all))
	for i := range all {
		whys[i] = whyText(&all[i], len(all), hours, cuts)
	}
	return whys
}

// paramsOf returns the parameters of the built-in model that a run was scored
// with: those of its request, or the embedded ones where it goes by their name.
func paramsOf(model string, req *ihcv1.RunRequest) *ihcmodel.Params {
	name, builtin := strings.CutPrefix(model, run.ModelBuiltin+" ")
	if !builtin {
		return nil
	}
	if text := req.GetModelParams(); text != "" {
		if p, err := ihcmodel.ParseParams([]byte(text)); err == nil && p.Name == name {
			return p
		}
	}
	if p := ihcmodel.DefaultParams(); p.Name == name {
		return p
	}
	return nil
}

func sameShares(scores []ihcmodel.Score, sessions []store.Touchpoint) bool {
	for i, s := range scores {
		if int64(s.IHC) != sessions[i].Share {
			return false
		}
	}
	return true
}

// whyText says in words what decided a session's share.
func whyText(w *ihcmodel.Why, sessions int, cut float64, cuts bool) (text []string) {
	say := func(format string, args ...any) { text = append(text, fmt.Sprintf(format, args...)) }
	switch {
	case sessions == 1:
		return []string{"the only session: it starts and closes the journey"}
	case w.Cut && cuts:
		return []string{fmt.Sprintf("before a gap of %s or more the journey is another: no share", hoursText(cut))}
	case w.First && w.HoursSince > 0:
		say("starts the journey: %s since the session before, a gap of %s or more", hoursText(w.HoursSince), hoursText(cut))
	case w.First:
		say("first of the journey: starts it")
	default:
		say("%s since the session before: starts by %.3f", hoursText(w.HoursSince), w.Initializer)
	}
	if w.Holder > 0 {
		say("engaged as a holder: holds by %.3f", w.Holder)
	} else {
		say("not engaged as a holder: holds nothing")
	}
	switch {
	case w.Last:
		say("last of the journey: closes by %.3f", w.Closer)
	case w.Closer > 0:
		say("engaged as a closer, %s before the last session: closes by %.3f", hoursText(w.HoursToLast), w.Closer)
	default:
		say("neither last nor engaged as a closer: closes nothing")
	}
	if w.Score != (ihcmodel.ChannelScore{Initializer: 1, Holder: 1, Closer: 1}) {
		say("channel score: starts ×%.3f, holds ×%.3f, closes ×%.3f", w.Score.Initializer, w.Score.Holder, w.Score.Closer)
	}
	for _, phase := range []struct {
		gives bool
		name  string
	}{{w.Gives.Initializer, "starting"}, {w.Gives.Holder, "holding"}, {w.Gives.Closer, "closing"}} {
		if phase.gives {
			say("redistribution: its share of %s goes to other sessions", phase.name)
		}
	}
	return text
}

// hoursText writes a time in hours, a long one in days.
func hoursText(hours float64) string {
	if hours >= 96 {
		return human.Decimal(decimal.NewFromFloat(hours/24), 1) + " days"
	}
	return human.Decimal(decimal.NewFromFloat(hours), 1) + " h"
}
