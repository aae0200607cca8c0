// Package run knows a run's life: what a request may say, how it is spelled in
// protobuf and JSON, which id a run has, what state its events have brought it
// to, and how its conversions are counted.
package run

import (
	"bytes"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"

	"github.com/ihc-pipeline/ihc/internal/attribution"
	"github.com/ihc-pipeline/ihc/internal/civil"
	"github.com/ihc-pipeline/ihc/internal/errkind"
	"github.com/ihc-pipeline/ihc/internal/ihcmodel"
	ihcv1 "github.com/ihc-pipeline/ihc/proto/ihc/v1"
)

// What scores the journeys, as a request names it, beside the rules that
// [attribution.ParseRule] reads.
const (
	ModelAPI     = "api"
	ModelBuiltin = "builtin"
)

// How a report counts a conversion with a negative revenue: as one more, which
// is the default, or as one less.
const (
	RefundsCount    = "count"
	RefundsSubtract = "subtract"
)

// SubtractsRefunds says whether a request's report has a refund as a conversion
// less.
func SubtractsRefunds(r *ihcv1.RunRequest) bool { return r.GetRefunds() == RefundsSubtract }

// KnowsRefunds says whether refunds can be counted so; "" is the default.
func KnowsRefunds(how string) bool {
	return how == "" || how == RefundsCount || how == RefundsSubtract
}

// The limits a request gets that names none: those of the API's free plan,
// which every plan allows.
const (
	DefaultMaxSessions = 200
	DefaultMaxJourneys = 100
)

const (
	mostSessions = 10_000
	mostJourneys = 1_000
)

// MostLookback is the longest lookback, in days.
const MostLookback = 36_500

// MaxID is how long the id of a run may be.
const MaxID = 64

var validID = regexp.MustCompile(`^[A-Za-z0-9_-]{1,64}$`)

// ValidID says whether id can name a run: 1 to 64 of A-Z a-z 0-9 _ -.
func ValidID(id string) bool { return validID.MatchString(id) }

// NewID returns the id of a run asked for at time t by the request that has
// the given sequence in its stream. Both stay the same when the request is
// delivered again, and so does the id.
func NewID(t time.Time, sequence uint64) string {
	return fmt.Sprintf("%s-%d", t.UTC().Format("20060102-150405"), sequence)
}

// Asked says when and where in its stream a run was asked for, which tells it
// from another run of the same id in streams that were emptied meanwhile.
func Asked(t time.Time, sequence uint64) string {
	return fmt.Sprintf("%s #%d", t.UTC().Format(time.RFC3339Nano), sequence)
}

// PlaceAsked returns the place in its stream that [Asked] tells of, 0 where it
// tells of none.
func PlaceAsked(asked string) uint64 {
	_, place, _ := strings.Cut(asked, "#")
	sequence, err := strconv.ParseUint(place, 10, 64)
	if err != nil {
		return 0
	}
	return sequence
}

// IDOf returns the id of the run that a stored request asks for: its own, or
// that of [NewID] where it has none that can be.
func IDOf(r *ihcv1.RunRequest, t time.Time, sequence uint64) string {
	if ValidID(r.GetRunId()) {
		return r.GetRunId()
	}
	return NewID(t, sequence)
}

// Decode reads a request in either encoding: JSON when the first byte that is
// not white space is '{', protobuf otherwise. Unknown JSON fields are refused,
// so that a misspelt one is not silently without effect. Errors are input
// faults.
func Decode(data []byte) (*ihcv1.RunRequest, error) {
	var r ihcv1.RunRequest
	if text := bytes.TrimLeft(data, " \t\r\n"); len(text) > 0 && text[0] == '{' {
		if err := protojson.Unmarshal(text, &r); err != nil {
			return nil, errkind.Inputf("the run request is not valid JSON for a RunRequest: %w", err)
		}
		return &r, nil
	}
	if err := proto.Unmarshal(data, &r); err != nil {
		return nil, errkind.Inputf("the run request is neither JSON nor protobuf: %w", err)
	}
	return &r, nil
}

// Complete returns a copy of r with its defaults filled in. It is an input
// fault, in one line, when r asks for something that cannot be.
func Complete(r *ihcv1.RunRequest) (*ihcv1.RunRequest, error) {
	r = proto.CloneOf(r)
	if r.GetRunId() != "" && !ValidID(r.GetRunId()) {
		return nil, errkind.Inputf("run_id %q: use 1 to 64 letters, digits, _ or -", r.GetRunId())
	}
	if err := civil.CheckRange("start_date", r.GetStartDate(), "end_date", r.GetEndDate()); err != nil {
		return nil, err
	}
	if err := checkModel(r); err != nil {
		return nil, err
	}
	if how := r.GetRefunds(); !KnowsRefunds(how) {
		return nil, errkind.Inputf("refunds %q: use %q or %q", how, RefundsCount, RefundsSubtract)
	}
	if err := CheckLongJourneys(r.GetLongJourneys()); err != nil {
		return nil, err
	}
	if r.MaxSessions == 0 {
		r.MaxSessions = DefaultMaxSessions
	}
	if r.MaxJourneys == 0 {
		r.MaxJourneys = DefaultMaxJourneys
	}
	for _, limit := range []struct {
		name     string
		is, most uint32
	}{
		{"max_sessions", r.MaxSessions, mostSessions},
		{"max_journeys", r.MaxJourneys, mostJourneys},
		{"lookback_days", r.LookbackDays, MostLookback},
		{"max_age_days", r.MaxAgeDays, MostLookback},
	} {
		if limit.is > limit.most {
			return nil, errkind.Inputf("%s %d: the most is %d", limit.name, limit.is, limit.most)
		}
	}
	if rules := Redistribution(r.GetRedistributionParameter()); rules != nil {
		if err := rules.Validate(); err != nil {
			return nil, errkind.Inputf("redistribution_parameter: %w", err)
		}
	}
	if text := r.GetModelParams(); text != "" {
		if _, err := ihcmodel.ParseParams([]byte(text)); err != nil {
			return nil, errkind.Inputf("model_params: %w", err)
		}
	}
	if of := r.GetSupersedes(); of != "" && !ValidID(of) {
		return nil, errkind.Inputf("supersedes %q is no run id", of)
	}
	return r, checkReplay(r)
}

// IsRule says whether a request's model is one of package attribution that
// scores a journey by itself, rather than the IHC model.
func IsRule(model string) bool { return model != "" && model != ModelAPI && model != ModelBuiltin }

func checkModel(r *ihcv1.RunRequest) error {
	m := r.GetModel()
	if !IsRule(m) {
		return nil
	}
	name, _, _ := strings.Cut(m, "=")
	if !slices.Contains(attribution.Names(), name) {
		return errkind.Inputf("model %q: use %q or %q, or one of %s", m, ModelAPI, ModelBuiltin, strings.Join(attribution.RuleNames(), ", "))
	}
	if _, err := attribution.ParseRule(m); err != nil {
		return err
	}
	switch {
	case r.GetRedistributionParameter() != nil:
		return errkind.Inputf("model %q takes no redistribution_parameter: that is of the IHC model", m)
	case r.GetModelParams() != "":
		return errkind.Inputf("model %q takes no model_params: those are of the IHC model", m)
	}
	return nil
}

// Redistribution returns a request's rules as the model and the API have them;
// nil for none.
func Redistribution(p *ihcv1.RedistributionParameter) *ihcmodel.Redistribution {
	if p == nil {
		return nil
	}
	rule := func(r *ihcv1.RedistributionRule) *ihcmodel.Rule {
		if r == nil {
			return nil
		}
		return &ihcmodel.Rule{Direction: ihcmodel.Direction(r.GetDirection()), ReceiveThreshold: r.GetReceiveThreshold(),
			Channels: r.GetRedistributionChannelLabels()}
	}
	return &ihcmodel.Redistribution{Initializer: rule(p.GetInitializer()), Holder: rule(p.GetHolder()), Closer: rule(p.GetCloser())}
}

// InRange says whether a UTC date, YYYY-MM-DD, is in the request's range.
func InRange(r *ihcv1.RunRequest, date string) bool {
	return civil.InRange(date, r.GetStartDate(), r.GetEndDate())
}

// Range returns the request's range as two dates that always compare: its own,
// or the first and last date there can be.
func Range(r *ihcv1.RunRequest) (start, end string) {
	start, end = r.GetStartDate(), r.GetEndDate()
	if start == "" {
		start = civil.First
	}
	if end == "" {
		end = civil.Last
	}
	return start, end
}

// Describe says in a few words which conversions a request covers.
func Describe(r *ihcv1.RunRequest) string {
	switch start, end := r.GetStartDate(), r.GetEndDate(); {
	case start == "" && end == "":
		return "all conversions"
	case end == "":
		return "conversions from " + start
	case start == "":
		return "conversions up to " + end
	default:
		return "conversions from " + start + " to " + end
	}
}

// Answers says whether a run that was accepted with the one request is what the
// other asks for. What that leaves to the extractor's settings is as it was
// accepted. Of a replay, what it is of counts; the rest is its origin's.
func Answers(accepted, asks *ihcv1.RunRequest) bool {
	if accepted.GetReplayOf() != "" || asks.GetReplayOf() != "" {
		return accepted.GetReplayOf() == asks.GetReplayOf() && accepted.GetReplayFrom() == asks.GetReplayFrom()
	}
	if asks.GetLongJourneys() == "" {
		asks = proto.CloneOf(asks)
		asks.LongJourneys = accepted.GetLongJourneys()
	}
	return Same(accepted, asks)
}

// Same says whether two requests ask for the same, whatever the runs' ids, the
// runs whose place they take, and however many requests each may take.
func Same(a, b *ihcv1.RunRequest) bool {
	a, b = proto.CloneOf(a), proto.CloneOf(b)
	a.RunId, b.RunId = "", ""
	a.Supersedes, b.Supersedes = "", ""
	a.MaxRequests, b.MaxRequests = 0, 0
	for _, r := range []*ihcv1.RunRequest{a, b} {
		if !SubtractsRefunds(r) {
			r.Refunds = ""
		}
	}
	return proto.Equal(a, b)
}

// Since returns from when on a run that begins at now uses what was scored
// before: the zero time where it uses all of it.
func Since(r *ihcv1.RunRequest, now time.Time) time.Time {
	if days := r.GetMaxAgeDays(); days > 0 {
		return now.AddDate(0, 0, -int(days))
	}
	return time.Time{}
}

// Shape returns what of a request, in JSON, decides which sessions are scored of
// a user's: two runs of the same shape make the same journeys of the same data.
// A request that cannot be read has none.
func Shape(data []byte) string {
	r, err := Decode(data)
	if err != nil {
		return ""
	}
	return ShapeOf(r)
}

// ShapeOf is [Shape] of a request that is read.
func ShapeOf(r *ihcv1.RunRequest) string {
	return fmt.Sprint(r.GetLookbackDays(), r.GetIncludeSimultaneous(), r.GetMaxSessions(), r.GetLongJourneys())
}
