package storetest

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/ihc-pipeline/ihc/internal/run"
	ihcv1 "github.com/ihc-pipeline/ihc/proto/ihc/v1"
	"github.com/ihc-pipeline/ihc/store"
)

var reuseTests = map[string]func(*testing.T, Backend){
	"WhatIsReusedStaysWhereItIs":                          whatIsReusedStaysWhereItIs,
	"ReuseRestoresRowsThatSomebodyChanged":                reuseRestoresRowsThatSomebodyChanged,
	"RowsOfTheJournalThatSomebodyChangedAreNotReused":     rowsOfTheJournalThatSomebodyChangedAreNotReused,
	"WhatMayBeReusedIsSettledOnceAndKept":                 whatMayBeReusedIsSettledOnceAndKept,
	"AgeIsThatOfScoring":                                  ageIsThatOfScoring,
	"ReplayUsesWhatIsShownIfItIsTheSame":                  replayUsesWhatIsShownIfItIsTheSame,
	"WhatIsReplacedGoesWhenTheRunThatMayReuseItIsOver":    whatIsReplacedGoesWhenTheRunThatMayReuseItIsOver,
	"ConversionsThatWentAreRemovedThoughTheyWereReused":   conversionsThatWentAreRemovedThoughTheyWereReused,
	"ReusedAttributionWhoseChunkIsScoredAnewIsCountedOne": reusedAttributionWhoseChunkIsScoredAnew,
}

func (f *fixture) reuse(id string, since time.Time, has map[[2]string]bool) {
	f.t.Helper()
	stored, err := f.Reuse(f.t.Context(), &ihcv1.RunRequest{RunId: id}, since)
	require.NoError(f.t, err)
	f.has(stored, has)
}

// has asks what is stored of conversions and fingerprints: for any conversion, and as
// whoever reads all of them does.
func (f *fixture) has(stored store.Stored, has map[[2]string]bool) {
	f.t.Helper()
	read, err := stored.For(f.t.Context(), run.Journeys(&ihcv1.RunRequest{}))
	require.NoError(f.t, err)
	for k, want := range has {
		for _, s := range []store.Stored{stored, read} {
			there, err := s.Has(f.t.Context(), k[0], []byte(k[1]))
			require.NoError(f.t, err)
			require.Equal(f.t, want, there, k)
		}
	}
}

func reusedOutcome(conv string, sessions uint64, fingerprint string) *ihcv1.Outcome {
	o := adoptedOutcome(conv, sessions)
	o.Fingerprint = []byte(fingerprint)
	return o
}

// scoredBefore makes a database in which run one has scored a and b.
func scoredBefore(t *testing.T, b Backend) *fixture {
	f := b.fresh(t)
	f.sell("a", "b")
	r := result("one", 1, printed(attributed("a", 6000, 4000), "A"), printed(attributed("b", 10_000), "B"))
	r.Scored = 1000
	f.ran("one", r)
	return f
}

// again is the result of a run that reuses a and b.
func again(run string) *ihcv1.AttributionResult {
	r := result(run, 1)
	r.Outcomes = []*ihcv1.Outcome{reusedOutcome("a", 2, "A"), reusedOutcome("b", 1, "B")}
	return r
}

func whatIsReusedStaysWhereItIs(t *testing.T, b Backend) {
	f := scoredBefore(t, b)
	was, journal, latest := f.shown(), f.journal(), f.latest()
	var untouched []string
	if b.Versions != "" {
		untouched = f.rows(b.Versions)
	}
	f.reuse("two", time.Time{}, map[[2]string]bool{{"a", "A"}: true, {"b", "B"}: true, {"a", "B"}: false, {"c", "A"}: false})
	f.expect("two", 1, 2)
	f.store(again("two"), again("two"))
	counts := f.finish("two").Counts
	require.Equal(t, []uint64{2, 2, 2, 3}, []uint64{counts.GetInRange(), counts.GetAttributed(), counts.GetReused(), counts.GetTouchpoints()})
	require.Equal(t, was, f.shown())
	if b.Versions != "" {
		require.Equal(t, untouched, f.rows(b.Versions))
	}
	require.Equal(t, journal, f.journal())
	require.Equal(t, latest, f.latest())
	require.Empty(t, f.rows(`SELECT * FROM pipeline_reusable`), "a run that is written reuses no more")
}

func reuseRestoresRowsThatSomebodyChanged(t *testing.T, b Backend) {
	f := scoredBefore(t, b)
	was := f.shown()
	for i, change := range []string{
		`UPDATE attribution_customer_journey SET ihc = 0.5 WHERE session_id = 'a-s0'`,
		`DELETE FROM attribution_customer_journey WHERE conv_id = 'b'`,
		`INSERT INTO attribution_customer_journey VALUES ('a', 'z', 0.1)`,
		`DELETE FROM attribution_customer_journey`,
	} {
		f.exec(change)
		run := "again" + string(rune('a'+i))
		f.reuse(run, time.Time{}, nil)
		f.ran(run, again(run))
		require.Equal(t, was, f.shown(), change)
	}
}

// What is damaged, or another's, is scored again and never shown.
func rowsOfTheJournalThatSomebodyChangedAreNotReused(t *testing.T, b Backend) {
	for _, change := range []string{
		fmt.Sprintf(`UPDATE pipeline_journeys SET %[1]s = (SELECT %[1]s FROM pipeline_journeys WHERE conv_id = 'c') WHERE conv_id = 'a'`, b.Shares),
		`UPDATE pipeline_journeys SET sessions = (SELECT sessions FROM pipeline_journeys WHERE conv_id = 'c') WHERE conv_id = 'a'`,
		`UPDATE pipeline_journeys SET conv_id = 'c' WHERE conv_id = 'a'`,
		`UPDATE pipeline_latest SET journey = (SELECT journey FROM pipeline_latest WHERE conv_id = 'c') WHERE conv_id = 'a'`,
		`DELETE FROM pipeline_journeys WHERE conv_id = 'a'`,
		`UPDATE pipeline_journeys SET ` + b.Damage + ` WHERE conv_id = 'a'`,
	} {
		f := b.fresh(t)
		f.sell("a", "b", "c")
		f.ran("one", result("one", 1, printed(attributed("a", 6000, 4000), "A"), printed(attributed("b", 10_000), "B"), printed(attributed("c", 4000, 6000), "A")))
		f.exec(change)
		f.reuse("two", time.Time{}, map[[2]string]bool{{"a", "A"}: false, {"b", "B"}: true})
		shown, err := f.Shown(t.Context(), time.Time{})
		require.NoError(t, err)
		f.has(shown, map[[2]string]bool{{"a", "A"}: false})
		r := result("two", 1, printed(attributed("a", 6000, 4000), "A"))
		r.Outcomes = []*ihcv1.Outcome{reusedOutcome("b", 1, "B")}
		f.ran("two", r)
		require.Equal(t, []string{"a|a-s0|0.6", "a|a-s1|0.4", "b|b-s0|1", "c|c-s0|0.4", "c|c-s1|0.6"}, f.shown(), change)
	}
}

// An extractor that is killed finds the same again, whatever was written since,
// and the result can be stored.
func whatMayBeReusedIsSettledOnceAndKept(t *testing.T, b Backend) {
	f := scoredBefore(t, b)
	has := map[[2]string]bool{{"a", "A"}: true, {"a", "A2"}: false}
	f.reuse("two", time.Time{}, has)
	f.ran("other", result("other", 1, printed(attributed("a", 2500, 7500), "A2")))
	f.reuse("two", time.Time{}, has)
	require.Equal(t, []string{"a|a-s0|0.25", "a|a-s1|0.75", "b|b-s0|1"}, f.shown())
	f.ran("two", again("two"))
	require.Equal(t, []string{"a|a-s0|0.6", "a|a-s1|0.4", "b|b-s0|1"}, f.shown())
	require.Equal(t, []string{"one|a", "one|b"}, f.journal(), "what is shown no more is gone")
}

func whatIsReplacedGoesWhenTheRunThatMayReuseItIsOver(t *testing.T, b Backend) {
	f := scoredBefore(t, b)
	f.reuse("two", time.Time{}, nil)
	f.ran("other", result("other", 1, printed(attributed("a", 2500, 7500), "A2")))
	require.Equal(t, []string{"one|a", "one|b", "other|a"}, f.journal())
	was := f.shown()
	f.store(again("two"))
	require.NoError(t, f.End(t.Context(), "two", "cancelled"))
	require.Equal(t, was, f.shown())
	f.ran("last", result("last", 1, printed(attributed("b", 10_000), "B2")))
	require.Equal(t, []string{"last|b", "other|a"}, f.journal())
}

func ageIsThatOfScoring(t *testing.T, b Backend) {
	f := scoredBefore(t, b)
	f.reuse("two", time.Unix(1000, 0), map[[2]string]bool{{"a", "A"}: true})
	f.ran("two", again("two"))
	f.reuse("three", time.Unix(1001, 0), map[[2]string]bool{{"a", "A"}: false})
	f.ran("unknown", result("unknown", 1, printed(attributed("a", 2500, 7500), "A2")))
	f.reuse("four", time.Unix(1, 0), map[[2]string]bool{{"a", "A2"}: false, {"b", "B"}: true})
}

func replayUsesWhatIsShownIfItIsTheSame(t *testing.T, b Backend) {
	f := scoredBefore(t, b)
	was := f.shown()
	f.ran("replay", again("replay"))
	require.Equal(t, was, f.shown())
	f.ran("other", result("other", 1, printed(attributed("a", 2500, 7500), "A2")))
	require.ErrorContains(t, f.Store(t.Context(), []*ihcv1.AttributionResult{again("late")}), `conversion "a": its stored attribution is gone`)
}

func conversionsThatWentAreRemovedThoughTheyWereReused(t *testing.T, b Backend) {
	f := scoredBefore(t, b)
	f.reuse("two", time.Time{}, nil)
	f.expect("two", 1, 2)
	f.store(again("two"))
	f.exec(`DELETE FROM conversions WHERE conv_id = 'a'`)
	f.finish("two")
	require.Equal(t, []string{"b|b-s0|1"}, f.shown())
	require.Equal(t, []string{"one|b"}, f.journal())
}

func reusedAttributionWhoseChunkIsScoredAnew(t *testing.T, b Backend) {
	f := scoredBefore(t, b)
	was := f.shown()
	f.reuse("two", time.Time{}, nil)
	f.ran("two", again("two"))
	r := again("two")
	r.Revision = 1
	f.store(r)
	counts := f.finish("two").Counts
	require.Equal(t, []uint64{2, 2, 2}, []uint64{counts.GetInRange(), counts.GetAttributed(), counts.GetReused()})
	require.Equal(t, was, f.shown())
}
