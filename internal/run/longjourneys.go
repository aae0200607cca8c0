package run

import (
	"slices"
	"strings"

	"github.com/ihc-pipeline/ihc/internal/errkind"
	"github.com/ihc-pipeline/ihc/internal/journey"
	ihcv1 "github.com/ihc-pipeline/ihc/proto/ihc/v1"
)

// What becomes of a journey with more sessions than a request may hold, as a
// request names it. What each costs in truth is told in docs/long-journeys.md.
const (
	// LongLatest scores the most recent sessions that fit.
	LongLatest = "latest"
	// LongCut begins where the built-in model begins anew, and then is as LongLatest.
	LongCut = "cut"
	// LongBuiltin has the built-in model score the whole of it.
	LongBuiltin = "builtin"
	// LongExclude does not score it.
	LongExclude = "exclude"
)

// DefaultLongJourneys is what errs least of those that the API itself scores.
const DefaultLongJourneys = LongLatest

// LongJourneys are all of them, in the order in which they are told.
func LongJourneys() []string { return []string{LongLatest, LongCut, LongBuiltin, LongExclude} }

// CheckLongJourneys returns an input fault for a name that is none of
// [LongJourneys] and not empty.
func CheckLongJourneys(name string) error {
	if name != "" && !slices.Contains(LongJourneys(), name) {
		return errkind.Inputf("long_journeys %q: use one of %s", name, strings.Join(LongJourneys(), ", "))
	}
	return nil
}

// Whole says that a request's journeys are all scored here, by the built-in model
// or a rule, for which none is too long.
func Whole(r *ihcv1.RunRequest) bool { return r.GetModel() == ModelBuiltin || IsRule(r.GetModel()) }

// anyLength is more sessions than a journey can have.
const anyLength = 1 << 30

// Journeys returns which conversions and sessions a completed request is about.
func Journeys(r *ihcv1.RunRequest) journey.Options {
	o := journey.Options{LookbackDays: int(r.GetLookbackDays()), IncludeSimultaneous: r.GetIncludeSimultaneous(), MaxSessions: int(r.GetMaxSessions())}
	o.Start, o.End = Range(r)
	switch {
	case Whole(r), r.GetLongJourneys() == LongBuiltin:
		o.MaxSessions = anyLength
	case r.GetLongJourneys() == LongLatest, r.GetLongJourneys() == LongCut:
		o.Latest = true
	}
	return o
}
