package storetest

import (
	"fmt"
	"hash/fnv"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/shopspring/decimal"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/ihc-pipeline/ihc/internal/errkind"
	"github.com/ihc-pipeline/ihc/internal/run"
	ihcv1 "github.com/ihc-pipeline/ihc/proto/ihc/v1"
	"github.com/ihc-pipeline/ihc/store"
)

var historyOfRunsTests = map[string]func(*testing.T, Backend){
	"CausesAddUpWhateverChanges":             causesAddUpWhateverChanges,
	"EveryCauseIsToldByItself":               everyCauseIsToldByItself,
	"ReportMadeTwiceIsToldOnce":              reportMadeTwiceIsToldOnce,
	"RunsWithoutAReportAreNotCompared":       runsWithoutAReportAreNotCompared,
	"RecordsOfOldRunsGo":                     recordsOfOldRunsGo,
	"FailedRunsDoNotDriveReportsOut":         failedRunsDoNotDriveReportsOut,
	"WhyAConversionHasNoneOutlivesItsRun":    whyAConversionHasNoneOutlivesItsRun,
	"ResultsOfARunThatWasDroppedAreNotTaken": resultsOfARunThatWasDroppedAreNotTaken,
	"RunsAreKnownAlsoWhereTheyWereDropped":   runsAreKnownAlsoWhereTheyWereDropped,
}

// nights is a shop that is attributed again and again. Of what is different
// between two runs it knows the kinds.
type nights struct {
	*fixture
	channel map[string]string   // of sessions
	visits  map[string][]string // sessions of conversions
	model   string
	runs    int
	made    int
}

func newNights(f *fixture, conversions int) *nights {
	n := &nights{fixture: f, channel: map[string]string{}, visits: map[string][]string{}, model: "first"}
	for range conversions {
		n.sell()
	}
	n.run()
	return n
}

// sell adds a conversion with sessions of its own.
func (n *nights) sell() {
	n.made++
	conv := fmt.Sprintf("c%03d", n.made)
	n.exec(`INSERT INTO conversions VALUES ($1, 'u', '2023-01-02', '12:00:00', $2)`, conv, float64(n.made)*10.25)
	for i := range n.made%3 + 1 {
		n.visit(conv, fmt.Sprintf("%s-%d", conv, i))
	}
}

// visit adds a session, which costs nothing, to a conversion.
func (n *nights) visit(conv, session string) {
	n.channel[session] = []string{"SEO", "Ads", "Mail", "with | bar"}[(n.made+len(n.channel))%4]
	n.visits[conv] = append(n.visits[conv], session)
	n.exec(`INSERT INTO session_sources VALUES ($1, 'u', '2023-01-01', '12:00:00', $2, 0, 0, 0)`, session, n.channel[session])
}

func (n *nights) move(session, channel string) {
	n.channel[session] = channel
	n.exec(`UPDATE session_sources SET channel_name = $1 WHERE session_id = $2`, channel, session)
}

// remove deletes a conversion and all of its sessions.
func (n *nights) remove(conv string) {
	n.exec(`DELETE FROM conversions WHERE conv_id = $1`, conv)
	for _, s := range n.visits[conv] {
		n.exec(`DELETE FROM session_sources WHERE session_id = $1`, s)
		n.exec(`DELETE FROM session_costs WHERE session_id = $1`, s)
		delete(n.channel, s)
	}
	delete(n.visits, conv)
}

func (n *nights) scoring() *ihcv1.Scoring { return &ihcv1.Scoring{Model: n.model} }

// attribution shares a conversion out as its sessions, their channels and what
// scores it decide.
func (n *nights) attribution(conv string) *ihcv1.Attribution {
	a := &ihcv1.Attribution{ConvId: conv, SessionIds: n.visits[conv]}
	text := n.model
	for _, s := range a.GetSessionIds() {
		text += "|" + s + "|" + n.channel[s]
	}
	left := uint32(10_000)
	for i := range a.GetSessionIds() {
		h := fnv.New32a()
		_, _ = fmt.Fprint(h, text, i)
		share := h.Sum32() % (left + 1)
		if i == len(a.GetSessionIds())-1 {
			share = left
		}
		left -= share
		a.Ihc = append(a.Ihc, share)
	}
	a.Fingerprint = []byte(text)
	return a
}

func (n *nights) name(run int) string { return fmt.Sprintf("night-%03d", run) }

// run attributes the shop: what is as it was is used again.
func (n *nights) run() *ihcv1.RunRequest {
	n.t.Helper()
	n.runs++
	req := &ihcv1.RunRequest{RunId: n.name(n.runs), MaxSessions: 200}
	require.NoError(n.t, n.Accept(n.t.Context(), &ihcv1.RunAccepted{Request: req, Scoring: n.scoring(), SourceDigest: "digest"}))
	stored, err := n.Reuse(n.t.Context(), req, time.Time{})
	require.NoError(n.t, err)
	r := result(req.GetRunId(), 1)
	r.Model, r.Scoring, r.Scored = n.model, run.ScoringDigest(n.scoring()), 1000
	for _, conv := range slices.Sorted(maps.Keys(n.visits)) {
		a := n.attribution(conv)
		there, err := stored.Has(n.t.Context(), conv, a.GetFingerprint())
		require.NoError(n.t, err)
		if there {
			r.Outcomes = append(r.Outcomes, reusedOutcome(conv, uint64(len(a.GetSessionIds())), string(a.GetFingerprint())))
		} else {
			r.Attributions = append(r.Attributions, a)
		}
	}
	n.ran(req.GetRunId(), r)
	n.rebuilt(req)
	return req
}

// difference compares two runs, and makes sure that it adds up.
func (n *nights) difference(first, second string) *store.Difference {
	n.t.Helper()
	d, err := n.Difference(n.t.Context(), first, second)
	require.NoError(n.t, err)
	for _, c := range d.Channels {
		sum := c.Before
		for _, a := range c.Causes {
			sum = sum.Plus(a)
		}
		require.True(n.t, sum.Minus(c.After).IsZero(), "%s: %v and %v", c.Channel, sum, c.After)
	}
	return d
}

// causes returns those that the difference names, with the sums of what they
// made of conversions, revenue and cost.
func causes(d *store.Difference) map[store.Cause]string {
	sums := map[store.Cause]store.Amounts{}
	for _, c := range d.Channels {
		for cause, a := range c.Causes {
			sums[cause] = sums[cause].Plus(a)
		}
	}
	all := map[store.Cause]string{}
	for cause, a := range sums {
		all[cause] = fmt.Sprint(a.IHC, " ", a.Revenue, " ", a.Cost)
	}
	return all
}

// changesOf are the kinds of changes, with the causes that each may bring about.
var changesOf = map[string][]store.Cause{
	"none": nil, "new": {store.NewConversions}, "removed": {store.RemovedConversions, store.ChangedCost}, "moved": {store.ChangedJourneys, store.ChangedCost},
	"visited": {store.ChangedJourneys}, "revenue": {store.ChangedRevenue}, "cost": {store.ChangedCost}, "model": {store.OtherSettings},
}

func (n *nights) change(t *rapid.T, kind string) {
	if len(n.visits) == 0 && kind != "new" {
		return
	}
	some := func() string {
		return rapid.SampledFrom(slices.Sorted(maps.Keys(n.visits))).Draw(t, "conversion")
	}
	session := func() string { return rapid.SampledFrom(slices.Sorted(maps.Keys(n.channel))).Draw(t, "session") }
	switch kind {
	case "new":
		n.sell()
	case "removed":
		n.remove(some())
	case "moved":
		n.move(session(), rapid.SampledFrom([]string{"SEO", "Ads", "Late"}).Draw(t, "channel"))
	case "visited":
		conv := some()
		n.visit(conv, fmt.Sprintf("%s-late-%d-%d", conv, n.runs, len(n.visits[conv])))
	case "revenue":
		n.exec(`UPDATE conversions SET revenue = $1 WHERE conv_id = $2`, decimal.New(rapid.Int64Range(-1e6, 1e8).Draw(t, "cents"), -2).InexactFloat64(), some())
	case "cost":
		s := session()
		n.exec(`DELETE FROM session_costs WHERE session_id = $1`, s)
		n.exec(`INSERT INTO session_costs VALUES ($1, $2)`, s, decimal.New(rapid.Int64Range(0, 1e9).Draw(t, "millionths"), -6).InexactFloat64())
	case "model":
		n.model += "'"
	}
}

// Invariant 10, of two reports: what is different is explained to the last digit,
// and by nothing that did not change.
func causesAddUpWhateverChanges(t *testing.T, b Backend) {
	rapid.Check(t, func(t *rapid.T) {
		n := newNights(b.fresh(t), 4)
		ever := map[store.Cause]bool{}
		allowed := func(d *store.Difference, may map[store.Cause]bool) {
			for cause := range causes(d) {
				require.True(t, may[cause], "%s: nothing of its kind changed", cause)
			}
		}
		for range rapid.IntRange(1, 3).Draw(t, "runs") {
			may := map[store.Cause]bool{}
			for _, kind := range rapid.SliceOfN(rapid.SampledFrom(slices.Sorted(maps.Keys(changesOf))), 0, 4).Draw(t, "changes") {
				n.change(t, kind)
				for _, cause := range changesOf[kind] {
					may[cause], ever[cause] = true, true
				}
			}
			n.run()
			allowed(n.difference("", "last"), may)
		}
		allowed(n.difference(n.name(1), n.name(n.runs)), ever)
		n.adds()
	})
}

// adds holds what the last report came to against channel_reporting.
func (n *nights) adds() {
	n.t.Helper()
	var want, got []string
	for channel, s := range n.sums() {
		want = append(want, fmt.Sprintf("%s|%.6f %.6f %.6f", channel, s[0], s[1], s[2]))
	}
	slices.Sort(want)
	for _, c := range n.difference("", "last").Channels {
		if row := c.Channel + "|" + c.After.IHC.StringFixed(6) + " " + c.After.Revenue.StringFixed(6) + " " + c.After.Cost.StringFixed(6); !c.After.IsZero() || slices.Contains(want, row) {
			got = append(got, row)
		}
	}
	slices.Sort(got)
	require.Equal(n.t, want, got)
}

// sums are what channel_reporting has of each channel: ihc, revenue and cost.
func (n *nights) sums() map[string][3]float64 {
	n.t.Helper()
	found, err := n.db.QueryContext(n.t.Context(), `SELECT channel_name, sum(ihc), sum(ihc_revenue), sum(cost) FROM channel_reporting GROUP BY channel_name`)
	require.NoError(n.t, err)
	defer found.Close()
	all := map[string][3]float64{}
	for found.Next() {
		var channel string
		var s [3]float64
		require.NoError(n.t, found.Scan(&channel, &s[0], &s[1], &s[2]))
		all[channel] = s
	}
	require.NoError(n.t, found.Err())
	return all
}

func everyCauseIsToldByItself(t *testing.T, b Backend) {
	n := newNights(b.fresh(t), 3) // of 10.25, 20.5 and 30.75, with 2, 3 and 1 sessions
	for _, c := range []struct {
		name   string
		change func()
		want   map[store.Cause]string
	}{
		{"nothing", func() {}, map[store.Cause]string{}},
		{"a new one", n.sell, map[store.Cause]string{store.NewConversions: "1 41 0"}},
		{"revenue", func() { n.exec(`UPDATE conversions SET revenue = 30 WHERE conv_id = 'c003'`) }, map[store.Cause]string{store.ChangedRevenue: "0 -0.75 0"}},
		{"a channel that moves", func() { n.move("c003-0", "Elsewhere") }, map[store.Cause]string{store.ChangedJourneys: "0 0 0"}},
		{"cost", func() { n.exec(`INSERT INTO session_costs VALUES ('c003-0', 1.5)`) }, map[store.Cause]string{store.ChangedCost: "0 0 1.5"}},
		{"one that goes with its sessions", func() { n.remove("c003") }, map[store.Cause]string{store.RemovedConversions: "-1 -30 0", store.ChangedCost: "0 0 -1.5"}},
		{"sessions that go while their conversion stays", func() {
			n.exec(`DELETE FROM session_sources WHERE session_id LIKE 'c001-%'`)
			delete(n.visits, "c001")
		}, map[store.Cause]string{store.ChangedJourneys: "-1 -10.25 0"}},
		{"another model", func() { n.model = "second" }, map[store.Cause]string{store.OtherSettings: "0 0 0"}},
		{"by hand", func() {
			n.exec(`INSERT INTO conversions VALUES ('mine', 'u', '2023-01-02', '12:00:00', 7)`)
			n.exec(`INSERT INTO attribution_customer_journey VALUES ('mine', 'c002-0', 1)`)
		}, map[store.Cause]string{store.ByHand: "1 7 0"}},
	} {
		c.change()
		n.run()
		require.Equal(t, c.want, causes(n.difference("", "last")), c.name)
	}
	d := n.difference("night-001", "night-003")
	require.Equal(t, map[store.Cause]string{store.NewConversions: "1 41 0"}, causes(d))
	require.Equal(t, d, n.difference("night-003", "night-001"), "from the earlier to the later, however they are named")
	require.Equal(t, "first", d.To.Model)
	require.Equal(t, "digest", d.To.Source)
	require.NotEmpty(t, d.To.Program)
	require.Contains(t, d.To.Request, `"night-003"`)
	require.Contains(t, d.To.ScoredBy, `"first"`)
}

// Invariant 3. What changed meanwhile counts to the last report.
func reportMadeTwiceIsToldOnce(t *testing.T, b Backend) {
	n := newNights(b.fresh(t), 3)
	n.sell()
	req := n.run()
	was := n.difference("", "last")
	n.rebuilt(req)
	require.Equal(t, was, n.difference("", "last"))
	n.exec(`INSERT INTO session_costs VALUES ('c001-0', 2)`)
	n.rebuilt(req)
	require.Equal(t, map[store.Cause]string{store.NewConversions: "1 41 0", store.ChangedCost: "0 0 2"}, causes(n.difference("", "last")))
}

func runsWithoutAReportAreNotCompared(t *testing.T, b Backend) {
	n := newNights(b.fresh(t), 2)
	says := func(first, second, text string) {
		t.Helper()
		_, err := n.Difference(t.Context(), first, second)
		require.ErrorContains(t, err, text)
		require.Equal(t, errkind.Input, errkind.KindOf(err))
	}
	says("", "last", "the database keeps 1 report")
	n.run()
	require.NoError(t, n.Accept(t.Context(), &ihcv1.RunAccepted{Request: &ihcv1.RunRequest{RunId: "stopped"}}))
	require.NoError(t, n.End(t.Context(), "stopped", store.Cancelled))
	says("", "stopped", "run stopped has no report to compare: it is cancelled")
	says("", "night", "several runs begin with night")
	says("", "never", `knows no run "never"`)
	says("night-002", "last", "cannot be compared with itself")
	says("", "night-001", "is the first of those that are kept")
	require.Empty(t, causes(n.difference("", "last")))
}

// recordsOfOldRunsGo lets a hundred nights go by.
func recordsOfOldRunsGo(t *testing.T, b Backend) {
	const keep = 5
	n := newNights(b.fresh(t), 6)
	require.Subset(t, b.Books, []string{"chunks", "counts", "outcomes", "totals", "changes", "told", "latest", "journeys", "runs"})
	sizes := func() map[string]int {
		all := map[string]int{}
		for _, table := range b.Books {
			all[table] = len(n.rows(`SELECT 1 FROM pipeline_` + table))
		}
		return all
	}
	most := map[string]int{}
	for night := range 100 {
		conv := slices.Sorted(maps.Keys(n.visits))[night%6]
		n.move(n.visits[conv][0], []string{"SEO", "Ads", "Night"}[night%3])
		if night%4 == 0 { // somebody begins a run that comes to nothing
			lost := fmt.Sprintf("lost-%d", night)
			require.NoError(t, n.Accept(t.Context(), &ihcv1.RunAccepted{Request: &ihcv1.RunRequest{RunId: lost}}))
			n.store(result(lost, 1, attributed("lost", 10_000)))
			if night%8 == 0 {
				require.NoError(t, n.End(t.Context(), lost, store.Superseded))
			}
		}
		n.run()
		require.NoError(t, n.Keep(t.Context(), keep))
		if night < 60 {
			for table, rows := range sizes() {
				most[table] = max(most[table], rows)
			}
		}
	}
	for table, rows := range sizes() {
		require.LessOrEqual(t, rows, most[table], table)
	}
	require.Less(t, most["runs"], 100)
	require.Len(t, n.rows(`SELECT 1 FROM pipeline_latest`), 6)
	require.Equal(t, 6, sizes()["told"])
	require.Len(t, n.rows(`SELECT 1 FROM pipeline_journeys WHERE conv_id <> 'lost'`), 6)
	n.difference("", "last")
	_, err := n.Difference(t.Context(), n.name(n.runs-keep-5), "last")
	require.ErrorContains(t, err, "dropped")
	require.NotEmpty(t, n.rows(`SELECT r.run_id FROM pipeline_latest l JOIN pipeline_journeys j ON j.journey = l.journey JOIN pipeline_runs r ON r.run = j.run WHERE r.dropped = 1`),
		"who scored what is shown stays known")
}

func whyAConversionHasNoneOutlivesItsRun(t *testing.T, b Backend) {
	f := b.fresh(t)
	f.sellAt("2023-01-02", "old")
	f.sellAt("2023-02-02", "new")
	of := func(id, conv string) {
		date := map[string]string{"old": "2023-01-02", "new": "2023-02-02"}[conv]
		req := &ihcv1.RunRequest{RunId: id, StartDate: date, EndDate: date}
		require.NoError(t, f.Accept(t.Context(), &ihcv1.RunAccepted{Request: req}))
		r := result(id, 1)
		r.Outcomes = []*ihcv1.Outcome{unscored(conv, "why "+conv)}
		f.ran(id, r)
		f.rebuilt(req)
		require.NoError(t, f.Keep(t.Context(), 2))
	}
	of("one", "old")
	for _, id := range []string{"two", "three", "four", "five"} {
		of(id, "new")
	}
	require.Equal(t, []string{"five|why new", "four|why new", "one|why old"},
		f.rows(`SELECT r.run_id, o.reason FROM pipeline_outcomes o JOIN pipeline_runs r ON r.run = o.run`))
}

// sellAt puts a conversion of that date into the database.
func (f *fixture) sellAt(date, conv string) {
	f.exec(`INSERT INTO conversions VALUES ($1, 'u', $2, '12:00:00', 1)`, conv, date)
}

func resultsOfARunThatWasDroppedAreNotTaken(t *testing.T, b Backend) {
	n := newNights(b.fresh(t), 2)
	for range 3 {
		n.run()
	}
	require.NoError(t, n.Keep(t.Context(), 2))
	was := strings.Join(n.journal(), " ")
	late := result(n.name(1), 1, n.attribution("c001"))
	late.Revision, late.Scoring = 1, run.ScoringDigest(n.scoring())
	n.store(late)
	s, err := n.Finish(t.Context(), n.name(1))
	require.NoError(t, err)
	require.False(t, s.Complete)
	require.Equal(t, was, strings.Join(n.journal(), " "))
	require.Empty(t, n.rows(`SELECT 1 FROM pipeline_chunks c JOIN pipeline_runs r ON r.run = c.run WHERE r.run_id = '`+n.name(1)+`'`))
	require.NoError(t, n.Keep(t.Context(), 0))
	require.NotEmpty(t, n.rows(`SELECT 1 FROM pipeline_runs`))
}

func failedRunsDoNotDriveReportsOut(t *testing.T, b Backend) {
	n := newNights(b.fresh(t), 2)
	for i := range 5 {
		id := fmt.Sprintf("failed-%d", i)
		require.NoError(t, n.Accept(t.Context(), &ihcv1.RunAccepted{Request: &ihcv1.RunRequest{RunId: id}}))
		require.NoError(t, n.End(t.Context(), id, store.Failed))
	}
	n.sell()
	n.run()
	require.NoError(t, n.Keep(t.Context(), 2))
	require.Equal(t, map[store.Cause]string{store.NewConversions: "1 30.75 0"}, causes(n.difference(n.name(1), "last")))
	n.run()
	require.NoError(t, n.Keep(t.Context(), 2))
	require.Equal(t, []string{"empty", "failed-0", "failed-1", "failed-2", "failed-3", "failed-4", "night-001"},
		n.rows(`SELECT run_id FROM pipeline_runs WHERE dropped = 1 OR run_id = 'empty'`))
}

func runsAreKnownAlsoWhereTheyWereDropped(t *testing.T, b Backend) {
	n := newNights(b.fresh(t), 2)
	for range 3 {
		n.run()
	}
	asked := run.Asked(time.Date(2023, 9, 1, 12, 1, 28, 0, time.UTC), 7)
	require.NoError(t, n.Accept(t.Context(), &ihcv1.RunAccepted{Request: &ihcv1.RunRequest{RunId: "begun"}, Asked: asked}))
	require.NoError(t, n.Keep(t.Context(), 2))
	known, err := n.Runs(t.Context())
	require.NoError(t, err)
	known = slices.DeleteFunc(known, func(r store.KnownRun) bool { return r.ID == "empty" }) // by which the fixture has its tables
	last := known[len(known)-1]
	require.Equal(t, []any{"begun", store.Running, asked, int64(0)}, []any{last.ID, last.Status, last.Asked, last.Report})
	kept := map[string]bool{}
	for _, r := range known[:len(known)-1] {
		kept[r.ID] = !r.Dropped
		require.Equal(t, []any{store.Written, true}, []any{r.Status, r.Report > 0}, r.ID)
	}
	require.Equal(t, map[string]bool{n.name(1): false, n.name(2): false, n.name(3): true, n.name(4): true}, kept)
	require.Equal(t, int64(2), known[len(known)-2].InRange)
}
