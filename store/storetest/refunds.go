package storetest

import (
	"strconv"
	"strings"
	"testing"

	"github.com/shopspring/decimal"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	ihcv1 "github.com/ihc-pipeline/ihc/proto/ihc/v1"
	"github.com/ihc-pipeline/ihc/store"
	"github.com/ihc-pipeline/ihc/store/reconciliation"
)

var refundTests = map[string]func(*testing.T, Backend){
	"RefundIsOneConversionMoreOrLess":      refundIsOneConversionMoreOrLess,
	"SubtractedRefundsAreThoseOfTheOracle": subtractedRefundsAreThoseOfTheOracle,
	"SharesOfEachConversionAreChecked":     sharesOfEachConversionAreChecked,
	"ThreeThirdsAreOne":                    threeThirdsAreOne,
}

// An order of 100 and its refund: two conversions by default, none where refunds
// are subtracted. The tables are the same.
func refundIsOneConversionMoreOrLess(t *testing.T, b Backend) {
	d := &Shop{
		sessions:     []session{{"s1", "2023-01-01", "SEO"}, {"s2", "2023-01-02", "Mail"}},
		conversions:  []conversion{{"order", "2023-01-03", "100"}, {"refund", "2023-01-04", "-100"}, {"other", "2023-01-05", "7"}},
		costs:        map[string]string{"s1": "10", "s2": "3"},
		attributions: []attribution{{"order", "s1", 10_000}, {"refund", "s1", 10_000}, {"other", "s2", 10_000}},
	}
	f := b.filled(t, d, 0)
	var tables []string
	for how, want := range map[string]struct {
		ihc, note string
		rows      []store.Row
	}{
		"":         {"3", "is a conversion more (ihc)", []store.Row{{Channel: "SEO", Date: "2023-01-01", Cost: 10, IHC: 2, Refunded: 1}, {Channel: "Mail", Date: "2023-01-02", Cost: 3, IHC: 1, IHCRevenue: 7}}},
		"count":    {"3", "is a conversion more (ihc)", []store.Row{{Channel: "SEO", Date: "2023-01-01", Cost: 10, IHC: 2, Refunded: 1}, {Channel: "Mail", Date: "2023-01-02", Cost: 3, IHC: 1, IHCRevenue: 7}}},
		"subtract": {"1", "is a conversion less (ihc) in this report", []store.Row{{Channel: "SEO", Date: "2023-01-01", Cost: 10, Refunded: 1}, {Channel: "Mail", Date: "2023-01-02", Cost: 3, IHC: 1, IHCRevenue: 7}}},
	} {
		req := &ihcv1.RunRequest{Refunds: how}
		totals := f.rebuilt(req)
		require.Equal(t, want.rows, totals.Told(), how)
		require.Equal(t, want.ihc, reconciliation.IHC(totals), how)
		equations := reconciliation.Equations(totals, d.counts(req))
		requireAllHold(t, equations)
		require.Equal(t, how == "subtract", strings.Contains(names(equations), "refunds told_ihc"))
		require.Equal(t, []string{"1 conversion in range with a negative revenue, -100 together: each such refund " + want.note}, reconciliation.Notes(totals))
		report := &ihcv1.Report{}
		reconciliation.Fill(report, totals)
		require.Equal(t, [3]any{uint64(1), "-100", how == "subtract"}, [3]any{report.GetRefunds().GetConversions(), report.GetRefunds().GetRevenue(), report.GetRefunds().GetSubtracted()})
		now := f.rows(`SELECT channel_name, date, cost, ihc, ihc_revenue FROM channel_reporting`)
		if tables != nil {
			require.Equal(t, tables, now, "a function of the four tables (invariant 7)")
		}
		tables = now
	}
}

func names(equations []*ihcv1.Equation) string {
	var all []string
	for _, e := range equations {
		all = append(all, e.GetName())
	}
	return strings.Join(all, " ")
}

// In any shop and range, what is told is Σ ihc where a refund's is negative, row
// by row and as a whole, and the bridge still leads from the one to the other.
func subtractedRefundsAreThoseOfTheOracle(t *testing.T, b Backend) {
	rapid.Check(t, func(t *rapid.T) {
		d := DrawShop(t)
		for i := range d.conversions {
			if rapid.Bool().Draw(t, "refund") {
				d.conversions[i].revenue = "-" + strings.TrimPrefix(d.conversions[i].revenue, "-")
			}
		}
		req := &ihcv1.RunRequest{StartDate: rapid.SampledFrom([]string{"", "2023-01-02"}).Draw(t, "start"), RunId: "run", Refunds: "subtract"}
		f := b.filled(t, d, 0)
		f.store(d.scored(req))
		totals := f.rebuilt(req)
		requireAllHold(t, reconciliation.Equations(totals, d.counts(req)))

		date, sold := map[string]string{}, map[string]conversion{}
		channel := map[string]string{}
		for _, s := range d.sessions {
			date[s.id], channel[s.id] = s.date, s.channel
		}
		for _, c := range d.conversions {
			sold[c.id] = c
		}
		all, ofRange := decimal.Zero, decimal.Zero
		rows := map[[2]string]decimal.Decimal{}
		for _, a := range d.attributions {
			share := decimal.New(a.share, -4)
			if dec(sold[a.conv].revenue).IsNegative() {
				share = share.Neg()
			}
			if within(sold[a.conv].date, req) {
				ofRange = ofRange.Add(share)
			}
			if within(date[a.session], req) {
				all = all.Add(share)
				k := [2]string{channel[a.session], date[a.session]}
				rows[k] = rows[k].Add(share)
			}
		}
		require.Equal(t, all.String(), reconciliation.IHC(totals))
		for _, r := range totals.Told() {
			require.Equal(t, rows[[2]string{r.Channel, r.Date}].InexactFloat64(), r.IHC)
		}
		report := &ihcv1.Report{}
		reconciliation.Fill(report, totals)
		if bridge := report.GetBridge(); bridge != nil {
			require.True(t, all.Add(dec(bridge.GetElsewhere().GetIhc())).Equal(ofRange.Add(dec(bridge.GetFromOthers().GetIhc()))), bridge)
		}
	})
}

// Also of conversions that the run had nothing to do with; that one has too
// much where another has too little does not hide it.
func sharesOfEachConversionAreChecked(t *testing.T, b Backend) {
	d := smallShop()
	req := &ihcv1.RunRequest{StartDate: "2030-01-01"}
	f := b.filled(t, d, 0)
	requireAllHold(t, reconciliation.Equations(f.rebuilt(req), d.counts(req)))
	f.exec(`UPDATE attribution_customer_journey SET ihc = 0.5 WHERE conv_id = 'c1' AND session_id = 's1'`)
	f.exec(`UPDATE attribution_customer_journey SET ihc = 0.75 WHERE conv_id = 'c2'`)
	f.exec(`INSERT INTO attribution_customer_journey VALUES ('of another', 'unknown', 0.9995)`)
	f.exec(`INSERT INTO attribution_customer_journey VALUES ('of others', 'unknown', 0.3)`)
	totals := f.rebuilt(req)
	require.Equal(t, [2]any{int64(3), `conv_id "c1"`}, [2]any{totals.Uneven, totals.UnevenExample})
	for _, e := range reconciliation.Equations(totals, d.counts(req)) {
		require.Equal(t, e.GetName() != "shares", e.GetHolds(), e.GetDescription())
	}
	require.Contains(t, reconciliation.Notes(totals), `3 conversions have shares in attribution_customer_journey that do not sum to 1; one is conv_id "c1". Run again over their dates, or delete their rows`)
}

func threeThirdsAreOne(t *testing.T, b Backend) {
	for n := 1; n <= 60; n++ {
		t.Run(strconv.Itoa(n), func(t *testing.T) { sharesOfEqualSizeAreOne(t, b, n) }) // whose connections are closed before the next
	}
}

func sharesOfEqualSizeAreOne(t *testing.T, b Backend, n int) {
	t.Helper()
	d := smallShop()
	d.sessions, d.attributions = nil, nil
	f := b.filled(t, d, 0)
	for i := range n {
		f.exec(`INSERT INTO session_sources VALUES ($1, 'u', '2023-01-01', '12:00:00', $2, 0, 0, 0)`, strconv.Itoa(i), string(rune('a'+i%min(n, 3))))
		f.exec(`INSERT INTO attribution_customer_journey VALUES ('c1', $1, $2)`, strconv.Itoa(i), 1/float64(n))
	}
	f.exec(`DELETE FROM conversions WHERE conv_id = 'c2'`)
	totals := f.rebuilt(&ihcv1.RunRequest{})
	require.Equal(t, []string{"1", "100.1"}, []string{reconciliation.IHC(totals), reconciliation.IHCRevenue(totals)}, n)
	requireAllHold(t, reconciliation.Equations(totals, &ihcv1.Counts{InRange: 1, Attributed: 1, Touchpoints: uint64(n)}))
}
