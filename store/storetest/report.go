package storetest

import (
	"fmt"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	ihcv1 "github.com/ihc-pipeline/ihc/proto/ihc/v1"
	"github.com/ihc-pipeline/ihc/store"
	"github.com/ihc-pipeline/ihc/store/reconciliation"
)

var reportTests = map[string]func(*testing.T, Backend){
	"ReportIsThatOfTheOracle":                reportIsThatOfTheOracle,
	"ReportDoesNotDependOnTheOrderOfRows":    reportDoesNotDependOnTheOrderOfRows,
	"ReconciliationNoticesEveryLeak":         reconciliationNoticesEveryLeak,
	"ReconciliationAllowsTheAPIsTolerance":   reconciliationAllowsTheAPIsTolerance,
	"TotalsAndNotes":                         totalsAndNotes,
	"ReasonsAreThoseOfTheRunMostOftenFirst":  reasonsAreThoseOfTheRunMostOftenFirst,
	"ReportOfAnEmptyShopHasNoRows":           reportOfAnEmptyShopHasNoRows,
	"ReportOfARunIsThatOfWhatItsSweepShowed": reportOfARunIsThatOfWhatItsSweepShowed,
	"SumsHaveRoomForWhatValidationAdmits":    sumsHaveRoomForWhatValidationAdmits,
}

func (f *fixture) rebuilt(req *ihcv1.RunRequest) *store.Totals {
	f.t.Helper()
	totals, err := f.Rebuild(f.t.Context(), req)
	require.NoError(f.t, err)
	return totals
}

func (b Backend) filled(t T, d *Shop, seed uint64) *fixture {
	t.Helper()
	f := b.fresh(t)
	d.Insert(t, f.db, seed)
	return f
}

func reportIsThatOfTheOracle(t *testing.T, b Backend) {
	rapid.Check(t, func(t *rapid.T) {
		d := DrawShop(t)
		req := &ihcv1.RunRequest{RunId: "run", StartDate: rapid.SampledFrom([]string{"", "2023-01-02", "2025-01-01"}).Draw(t, "start"),
			EndDate: rapid.SampledFrom([]string{"", "2023-01-02", "2023-12-31"}).Draw(t, "end")}
		if req.GetEndDate() != "" && req.GetStartDate() > req.GetEndDate() {
			req.StartDate = ""
		}
		f := b.filled(t, d, 0)
		f.store(d.scored(req))
		totals := f.rebuilt(req)
		want := d.oracle()
		require.Len(t, totals.Rows, len(want))
		for i := range want {
			require.Equal(t, want[i], totals.Rows[i])
		}
		want = slices.DeleteFunc(want, func(r store.Row) bool { return !within(r.Date, req) })
		require.Equal(t, want, append([]store.Row{}, totals.Covered...))
		require.Zero(t, totals.Changes)
		requireBridge(t, d.bridge(req), totals)
		for _, e := range reconciliation.Equations(totals, d.counts(req)) {
			require.True(t, e.GetHolds(), "%s: %s ≠ %s", e.GetDescription(), e.GetLeft(), e.GetRight())
		}
	})
}

// requireBridge holds what a report says of its range against the oracle's sums.
func requireBridge(t T, want map[string]string, totals *store.Totals) {
	t.Helper()
	r := &ihcv1.Report{}
	reconciliation.Fill(r, totals)
	got := map[string]string{"ihc": r.GetIhc(), "revenue": r.GetIhcRevenue(), "cost": r.GetCost(),
		"in range": r.GetRevenue().GetInRange(), "attributed": r.GetRevenue().GetAttributed(), "unattributed": r.GetRevenue().GetUnattributed()}
	if b := r.GetBridge(); b != nil {
		got["elsewhere"], got["elsewhere revenue"] = b.GetElsewhere().GetIhc(), b.GetElsewhere().GetIhcRevenue()
		got["others"], got["others revenue"] = b.GetFromOthers().GetIhc(), b.GetFromOthers().GetIhcRevenue()
		got["never"] = fmt.Sprint(b.GetNeverAttributed())
	}
	for name := range want {
		if _, there := got[name]; !there {
			require.Equal(t, "0", want[name], name) // all dates: nothing is left to bridge
			delete(want, name)
		}
	}
	require.Equal(t, want, got)
}

// The order in which rows were inserted, and whether the report was made
// before, must not show in a single byte.
func reportDoesNotDependOnTheOrderOfRows(t *testing.T, b Backend) {
	rapid.Check(t, func(t *rapid.T) {
		d := DrawShop(t)
		first := ""
		for seed := range uint64(3) {
			f := b.filled(t, d, seed)
			for range seed + 1 {
				totals := f.rebuilt(&ihcv1.RunRequest{})
				text := fmt.Sprintln(totals, reconciliation.Notes(totals), reconciliation.Equations(totals, d.counts(nil)),
					f.rows(`SELECT channel_name, date, cost, ihc, ihc_revenue FROM channel_reporting`))
				if first == "" {
					first = text
				}
				require.Equal(t, first, text)
			}
		}
	})
}

// Each equation has to fail when what it guards against happens.
func reconciliationNoticesEveryLeak(t *testing.T, b Backend) {
	all := &ihcv1.RunRequest{}
	for name, c := range map[string]struct {
		spoil  func(d *Shop, c *ihcv1.Counts)
		broken []string
	}{
		"sound":                    {func(*Shop, *ihcv1.Counts) {}, nil},
		"a conversion uncounted":   {func(_ *Shop, c *ihcv1.Counts) { c.Attributed--; c.InRange-- }, []string{"conversions", "attributed", "ihc"}},
		"a conversion too many":    {func(_ *Shop, c *ihcv1.Counts) { c.WithoutSessions++ }, []string{"conversions"}},
		"a touchpoint lost":        {func(_ *Shop, c *ihcv1.Counts) { c.Touchpoints++ }, []string{"touchpoints"}},
		"half a conversion":        {func(d *Shop, _ *ihcv1.Counts) { d.attributions = d.attributions[1:] }, []string{"touchpoints", "ihc", "ihc_revenue", "shares"}},
		"a share off by a tenth":   {func(d *Shop, _ *ihcv1.Counts) { d.attributions[0].share += 1000 }, []string{"ihc", "ihc_revenue", "shares"}},
		"a session that went away": {func(d *Shop, _ *ihcv1.Counts) { d.sessions = d.sessions[1:] }, []string{"touchpoints", "ihc", "ihc_revenue"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			d := smallShop()
			counts := d.counts(all)
			c.spoil(d, counts)
			var broken []string
			for _, e := range reconciliation.Equations(b.filled(t, d, 0).rebuilt(all), counts) {
				if !e.GetHolds() {
					broken = append(broken, e.GetName())
				}
			}
			require.Equal(t, c.broken, broken)
		})
	}
}

func totalsAndNotes(t *testing.T, b Backend) {
	d := smallShop()
	d.attributions = append(d.attributions, attribution{"gone", "s1", 10_000})
	totals := b.filled(t, d, 0).rebuilt(&ihcv1.RunRequest{EndDate: "2023-01-31"})
	require.Equal(t, []string{"2", "150.1", "1.5"}, []string{reconciliation.IHC(totals), reconciliation.IHCRevenue(totals), reconciliation.Cost(totals)},
		"of the session dates in range")
	require.Equal(t, []store.Row{
		{Channel: "SEO", Date: "2023-01-01", Cost: 1.5, IHC: 1.25, IHCRevenue: 75.025},
		{Channel: "Direct", Date: "2023-01-02", IHC: 0.75, IHCRevenue: 75.075},
		{Channel: "Idle", Date: "2023-01-02"}}, totals.Rows)
	require.Equal(t, []string{
		"1 sessions have no row in session_costs; their cost counts as 0",
		"1 rows of session_costs belong to no session of session_sources; their cost is in no channel",
		"1 rows of attribution_customer_journey name a conversion or session that is not in the database any more; they are in no channel",
	}, reconciliation.Notes(totals))
}

// A reply may sum to 1 within a thousandth; that much is no leak.
func reconciliationAllowsTheAPIsTolerance(t *testing.T, b Backend) {
	d := smallShop()
	counts := d.counts(&ihcv1.RunRequest{})
	d.attributions[0].share += 10
	for _, e := range reconciliation.Equations(b.filled(t, d, 0).rebuilt(&ihcv1.RunRequest{}), counts) {
		require.True(t, e.GetHolds(), e.GetName())
	}
}

func reasonsAreThoseOfTheRunMostOftenFirst(t *testing.T, b Backend) {
	f := b.fresh(t)
	one := result("run", 1)
	one.Outcomes = []*ihcv1.Outcome{unscored("d", "rare"), unscored("c", "often"), unscored("b", "often"),
		{ConvId: "a", Kind: ihcv1.OutcomeKind_OUTCOME_KIND_EXCLUDED, Reason: "too long"}}
	other := result("other", 1)
	other.Outcomes = []*ihcv1.Outcome{unscored("x", "of another")}
	f.store(one, other)
	var told []string
	for _, r := range f.rebuilt(&ihcv1.RunRequest{RunId: "run"}).Reasons {
		told = append(told, fmt.Sprint(r.GetKind(), r.GetReason(), r.GetConversions(), r.GetExampleConvId()))
	}
	require.Equal(t, []string{
		fmt.Sprint(ihcv1.OutcomeKind_OUTCOME_KIND_EXCLUDED, "too long", 1, "a"),
		fmt.Sprint(ihcv1.OutcomeKind_OUTCOME_KIND_FAILED, "often", 2, "b"),
		fmt.Sprint(ihcv1.OutcomeKind_OUTCOME_KIND_FAILED, "rare", 1, "d")}, told)
}

func reportOfAnEmptyShopHasNoRows(t *testing.T, b Backend) {
	f := b.fresh(t)
	f.exec(`INSERT INTO channel_reporting VALUES ('stale', '2023-01-01', 1, 1, 1)`)
	require.Equal(t, &store.Totals{}, f.rebuilt(&ihcv1.RunRequest{}))
	require.Empty(t, f.rows(`SELECT * FROM channel_reporting`))
}

// From results to the report: what the ledger counts is what the report holds.
func reportOfARunIsThatOfWhatItsSweepShowed(t *testing.T, b Backend) {
	rapid.Check(t, func(t *rapid.T) {
		d := DrawShop(t)
		req := &ihcv1.RunRequest{RunId: "run"}
		r, scored := d.scored(req), d.attributions
		d.attributions = nil
		f := b.filled(t, d, 0)
		f.expect("run", 1, uint64(len(d.conversions)))
		f.store(r)
		counts := f.finish("run").Counts
		totals := f.rebuilt(req)
		d.attributions = scored
		require.Equal(t, d.oracle(), append([]store.Row{}, totals.Rows...))
		for _, e := range reconciliation.Equations(totals, counts) {
			require.True(t, e.GetHolds(), "%s: %s ≠ %s", e.GetDescription(), e.GetLeft(), e.GetRight())
		}
	})
}

// In millionths, the costs alone are more than 64 bits hold; so are the revenue
// attributed and that which is not.
func sumsHaveRoomForWhatValidationAdmits(t *testing.T, b Backend) {
	const n, most = 104, "89000000000"
	d := &Shop{costs: map[string]string{}}
	for i := range n {
		id := fmt.Sprint(i)
		d.sessions = append(d.sessions, session{"s" + id, "2023-01-01", "SEO"})
		d.conversions = append(d.conversions, conversion{"c" + id, "2023-01-02", most}, conversion{"without" + id, "2023-01-02", most}, conversion{"refund" + id, "2023-01-02", "-" + most})
		d.costs["s"+id] = most
		d.attributions = append(d.attributions, attribution{"c" + id, "s" + id, 10_000}, attribution{"refund" + id, "s" + id, 5000}, attribution{"refund" + id, "s" + fmt.Sprint((i+1)%n), 5000})
	}
	for _, req := range []*ihcv1.RunRequest{{RunId: "run"}, {RunId: "run", StartDate: "2023-01-01", Refunds: "subtract"}} {
		f := b.filled(t, d, 0)
		r := d.scored(req)
		f.store(r)
		totals := f.rebuilt(req)
		for _, e := range reconciliation.Equations(totals, d.counts(req)) {
			require.True(t, e.GetHolds(), "%s: %s ≠ %s", e.GetDescription(), e.GetLeft(), e.GetRight())
		}
		require.Equal(t, "9256000000000", reconciliation.Cost(totals))
		require.Equal(t, []store.Row{{Channel: "SEO", Date: "2023-01-01", Cost: 9256e9, IHC: 208, Refunded: 104}}, totals.Rows)
		report := &ihcv1.Report{}
		reconciliation.Fill(report, totals)
		require.Equal(t, []string{"9256000000000", "0", "9256000000000"}, []string{report.GetRevenue().GetInRange(), report.GetRevenue().GetAttributed(), report.GetRevenue().GetUnattributed()})
	}
}
