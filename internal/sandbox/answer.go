package sandbox

import (
	"cmp"
	"slices"

	"github.com/ihc-pipeline/ihc/internal/ihcapi"
	"github.com/ihc-pipeline/ihc/internal/ihcmodel"
)

// Answer scores a parsed request as the API does: journeys in order of first
// appearance, each sorted by time, ending at its session flagged as the
// conversion or, without one, at its last. Sessions after a flagged one are
// left out and reported, and so are the journeys that could not be parsed. The
// statusCode is 200; 206 if anything is reported; 406 if nothing else is left.
func Answer(model *ihcmodel.Model, req *ihcapi.Request) *ihcapi.Response {
	out := &ihcapi.Response{
		StatusCode: ihcapi.StatusOK,
		Failures:   slices.Clone(req.Failures),
		HasValue:   true,
		Values:     make([]ihcapi.Value, 0, len(req.Sessions)),
	}
	scorer := model.Scorer(req.Redistribution)
	var sessions []ihcmodel.Session
	var scores []ihcmodel.Score
	for _, journey := range journeys(req.Sessions) {
		kept := journey
		if at := slices.IndexFunc(journey, func(s ihcapi.Session) bool { return s.Conversion }); at >= 0 {
			kept = journey[:at+1]
			for _, s := range journey[at+1:] {
				out.Failures = append(out.Failures, ihcapi.PartialFailure{
					ConversionID: s.ConversionID, SessionID: s.SessionID,
					Reason: ihcapi.ReasonAfterConversion, StatusCode: ihcapi.StatusPartial,
				})
			}
		}
		sessions = sessions[:0]
		for _, s := range kept {
			sessions = append(sessions, ihcmodel.Session{
				TimeMicros: s.TimeMicros, Channel: s.Channel, Holder: s.Holder, Closer: s.Closer, Impression: s.Impression,
			})
		}
		scores = scorer.Score(sessions, scores)
		for i, s := range kept {
			out.Values = append(out.Values, ihcapi.Value{ConversionID: s.ConversionID, SessionID: s.SessionID, Score: scores[i]})
		}
	}
	switch {
	case len(out.Failures) > 0 && len(out.Values) == 0:
		out.StatusCode = ihcapi.StatusUnparseable
	case len(out.Failures) > 0:
		out.StatusCode = ihcapi.StatusPartial
	}
	return out
}

// journeys groups sessions by conversion, in order of first appearance, each
// sorted by time. Of sessions at the same time the one flagged as the
// conversion goes last, else they stay as sent.
func journeys(sessions []ihcapi.Session) [][]ihcapi.Session {
	at := make(map[string]int)
	var all [][]ihcapi.Session
	for _, s := range sessions {
		i, known := at[s.ConversionID]
		if !known {
			i = len(all)
			at[s.ConversionID] = i
			all = append(all, nil)
		}
		all[i] = append(all[i], s)
	}
	for _, journey := range all {
		slices.SortStableFunc(journey, func(a, b ihcapi.Session) int {
			return cmp.Or(cmp.Compare(a.TimeMicros, b.TimeMicros), cmp.Compare(rank(a.Conversion), rank(b.Conversion)))
		})
	}
	return all
}

func rank(flagged bool) int {
	if flagged {
		return 1
	}
	return 0
}
