package storetest

import (
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	ihcv1 "github.com/ihc-pipeline/ihc/proto/ihc/v1"
	"github.com/ihc-pipeline/ihc/store/reconciliation"
)

var changesTests = map[string]func(*testing.T, Backend){
	"WhatComesAndGoesDuringARunIsToldAndNoLeak": whatComesAndGoesDuringARunIsToldAndNoLeak,
	"WhatCameAndWentIsANote":                    whatCameAndWentIsANote,
	"RefundsRaiseNoFalseAlarm":                  refundsRaiseNoFalseAlarm,
	"WhatIsNoShareIsTold":                       whatIsNoShareIsTold,
	"NeverAttributedKeepsToTheLookback":         neverAttributedKeepsToTheLookback,
}

func requireAllHold(t T, equations []*ihcv1.Equation) {
	t.Helper()
	for _, e := range equations {
		require.True(t, e.GetHolds(), "%s: %s ≠ %s", e.GetDescription(), e.GetLeft(), e.GetRight())
	}
}

// Orders arrive, go, change their amounts or move to other dates, and sessions go,
// before a run is written or after. It proves what it read, and counts the others.
func whatComesAndGoesDuringARunIsToldAndNoLeak(t *testing.T, b Backend) {
	rapid.Check(t, func(t *rapid.T) {
		d := DrawShop(t)
		req := &ihcv1.RunRequest{RunId: "run", StartDate: rapid.SampledFrom([]string{"", "2023-01-02"}).Draw(t, "start"), EndDate: "2024-12-31",
			Refunds: rapid.SampledFrom([]string{"", "subtract"}).Draw(t, "refunds")}
		r, read := d.scored(req), d.inRange(req)
		d.attributions = nil
		f := b.filled(t, d, 0)
		f.expect("run", 1, uint64(len(read)))
		f.store(r)
		came, went, others := int64(0), int64(0), false
		change := func() {
			var stay []conversion
			for _, c := range read {
				switch rapid.IntRange(0, 9).Draw(t, "change") {
				case 0:
					f.exec(`DELETE FROM conversions WHERE conv_id = $1`, c.id)
					went++
					continue
				case 1:
					f.exec(`UPDATE conversions SET conv_date = '2025-01-01' WHERE conv_id = $1`, c.id)
					went++
					continue
				case 2:
					f.exec(`UPDATE conversions SET revenue = -12.34 WHERE conv_id = $1`, c.id)
				}
				stay = append(stay, c)
			}
			read = stay
			for _, v := range d.sessions[min(len(d.sessions), 1):] { // the first is that of conversions that come
				if rapid.IntRange(0, 9).Draw(t, "session") == 0 {
					f.exec(`DELETE FROM session_sources WHERE session_id = $1`, v.id)
				}
			}
			for range rapid.IntRange(0, 2).Draw(t, "new") {
				f.exec(`INSERT INTO conversions VALUES ($1, 'u', '2023-12-31', '12:00:00', 9.99)`, fmt.Sprintf("new%d", came))
				if len(d.sessions) > 0 && rapid.Bool().Draw(t, "attributed by another") {
					f.exec(`INSERT INTO attribution_customer_journey VALUES ($1, $2, 1)`, fmt.Sprintf("new%d", came), d.sessions[0].id)
					others = true
				}
				came++
			}
		}
		change()
		counts := f.finish("run").Counts
		change()
		totals := f.rebuilt(req)
		requireAllHold(t, reconciliation.Equations(totals, counts))
		allCame := totals.Changes.Came + totals.Changes.CameAttributed
		require.Equal(t, came-went, allCame-totals.Changes.Went)
		if !others { // where one came for another with the same touchpoints, nothing is amiss
			require.Equal(t, [2]int64{came, went}, [2]int64{allCame, totals.Changes.Went})
		}
	})
}

func whatCameAndWentIsANote(t *testing.T, b Backend) {
	for _, c := range []struct {
		do, note string
	}{
		{`INSERT INTO conversions SELECT 'new'||conv_id, user_id, conv_date, conv_time, revenue FROM conversions WHERE conv_id = 'c1'`,
			"1 conversion came while the run was under way; the next run takes that in"},
		{`DELETE FROM conversions`, "2 conversions went while the run was under way; the next run takes that in"},
		{`DELETE FROM session_sources WHERE session_id = 's1'`, "1 session went while the run was under way; the next run takes that in"},
		{`UPDATE session_sources SET session_id = 'new'||session_id`, "2 sessions went while the run was under way; the next run takes that in"},
		{`UPDATE conversions SET conv_id = 'new'||conv_id`, "2 conversions came and 2 went while the run was under way; the next run takes that in"},
	} {
		d := smallShop()
		req := &ihcv1.RunRequest{RunId: "run"}
		r := d.scored(req)
		d.attributions = nil
		f := b.filled(t, d, 0)
		f.expect("run", 1, 2)
		f.store(r)
		f.exec(c.do)
		counts := f.finish("run").Counts
		totals := f.rebuilt(req)
		requireAllHold(t, reconciliation.Equations(totals, counts))
		require.Contains(t, reconciliation.Notes(totals), c.note)
		require.Empty(t, totals.Reasons, "they have an outcome of their own")

		// A replay has not read them: they may have come or gone long before it.
		req.ReplayOf = "origin"
		said := strings.Replace(c.note, "while the run was under way; the next run takes that in", "since the run that is replayed read the data; a run that is no replay takes that in", 1)
		require.Contains(t, reconciliation.Notes(f.rebuilt(req)), said)
	}
}

// The tolerance is of what was turned over, not of what is left of it.
func refundsRaiseNoFalseAlarm(t *testing.T, b Backend) {
	d := smallShop()
	d.conversions = []conversion{{"c1", "2023-01-03", "1000"}, {"c2", "2023-01-03", "-1000"}}
	d.attributions = []attribution{{"c1", "s1", 9999}, {"c2", "s2", 10_000}}
	totals := b.filled(t, d, 0).rebuilt(&ihcv1.RunRequest{})
	require.Equal(t, "-0.1", reconciliation.IHCRevenue(totals))
	requireAllHold(t, reconciliation.Equations(totals, d.counts(&ihcv1.RunRequest{})))
	d.attributions[0].share = 9900 // that much is a leak
	var broken []string
	for _, e := range reconciliation.Equations(b.filled(t, d, 0).rebuilt(&ihcv1.RunRequest{}), d.counts(&ihcv1.RunRequest{})) {
		if !e.GetHolds() {
			broken = append(broken, e.GetName())
		}
	}
	require.Equal(t, []string{"ihc", "ihc_revenue", "shares"}, broken)
}

// What another program wrote is summed as it is, to twelve decimals; what is no
// share breaks an equation of its own and is named.
func whatIsNoShareIsTold(t *testing.T, b Backend) {
	d := smallShop()
	d.sessions = append(d.sessions, session{"s4", "2023-01-02", "Idle"})
	f := b.filled(t, d, 0)
	f.exec(`INSERT INTO conversions VALUES ('x', 'u', '2024-01-03', '12:00:00', 3)`)
	f.exec(`INSERT INTO attribution_customer_journey VALUES ('x', 's1', 1.9)`)
	f.exec(`INSERT INTO attribution_customer_journey VALUES ('x', 's2', -3)`)
	f.exec(`INSERT INTO attribution_customer_journey VALUES ('x', 's4', 1.0 / 3)`)
	req := &ihcv1.RunRequest{EndDate: "2023-12-31"}
	totals := f.rebuilt(req)
	require.EqualValues(t, 2, totals.NoShare)
	require.Equal(t, "1.233333333333", reconciliation.IHC(totals), "2 + 1.9 - 3 + 1/3")
	for _, e := range reconciliation.Equations(totals, d.counts(req)) {
		require.Equal(t, e.GetName() != "shares", e.GetHolds(), e.GetDescription())
	}
	require.Contains(t, reconciliation.Notes(totals),
		`2 rows of attribution_customer_journey hold no share of a conversion, 0 to 1; one is conv_id "x", session_id "s1". What is a number was summed as it is; delete the rows of their conversions and run again`)
}

func neverAttributedKeepsToTheLookback(t *testing.T, b Backend) {
	d := smallShop()
	d.conversions = append(d.conversions, conversion{"later", "2023-01-31", "1"})
	f := b.filled(t, d, 0)
	for lookback, want := range map[uint32]int64{0: 1, 28: 0, 29: 1} { // the last session is 29 days before
		totals := f.rebuilt(&ihcv1.RunRequest{StartDate: "2023-01-01", EndDate: "2023-01-02", LookbackDays: lookback})
		require.Equal(t, want, totals.Dates.NeverAttributed, lookback)
	}
}
