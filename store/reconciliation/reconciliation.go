// Package reconciliation is the proof that nothing leaked, from what the
// database says of a run.
package reconciliation

import (
	"fmt"

	"github.com/shopspring/decimal"

	"github.com/ihc-pipeline/ihc/internal/run"
	"github.com/ihc-pipeline/ihc/internal/unit"
	ihcv1 "github.com/ihc-pipeline/ihc/proto/ihc/v1"
	"github.com/ihc-pipeline/ihc/store"
)

// One conversion's shares may be this far from 1; values of the built-in model
// and, as far as is known, of the API are not off at all.
var shareTolerance = decimal.New(1, -3)

// Sums in the table are doubles, good for about 15 digits.
var doubleTolerance = decimal.New(1, -12)

// Equations returns the proof that nothing leaked between the tables: what the
// ledger counted against what the database holds, and the report against what
// it was made from. The two sides of each equation are read or summed by
// different ways.
func Equations(t *store.Totals, counts *ihcv1.Counts) []*ihcv1.Equation {
	attributed := int64(counts.GetAttributed() + counts.GetApproximated())
	ended := decimal.NewFromUint64(run.Accounted(counts))
	cost, ihc, revenue := sums(t.Rows)
	integer := decimal.NewFromInt
	none := decimal.Zero
	share, inRange := t.Range.Share.Decimal(store.ShareDecimals), t.Range.Revenue.Decimal(unit.MoneyDecimals)
	byShare := shareTolerance.Mul(integer(attributed))
	byRevenue := shareTolerance.Mul(inRange.Abs())
	if share.Equal(integer(attributed)) {
		byShare, byRevenue = none, none // every share is exact, so must be what follows from them
	}
	double := func(x decimal.Decimal) decimal.Decimal { return x.Abs().Mul(doubleTolerance) }
	return []*ihcv1.Equation{
		equation("conversions", "conversions in range = attributed + approximated + excluded + failed + without sessions", integer(t.Range.Conversions), ended, none),
		equation("attributed", "conversions the run attributed = conversions in range with attributions in the table", integer(attributed), integer(t.Range.Attributed), none),
		equation("touchpoints", "touchpoints the run wrote = attributions of conversions in range in the table", decimal.NewFromUint64(counts.GetTouchpoints()), integer(t.Range.Touchpoints), none),
		equation("ihc", "Σ ihc of conversions in range = conversions attributed", share, integer(attributed), byShare),
		equation("ihc_revenue", "Σ ihc_revenue of conversions in range = their revenue", t.Range.Credit.Decimal(store.CreditDecimals), inRange, byRevenue),
		equation("report_ihc", "Σ ihc of channel_reporting = Σ ihc of attribution_customer_journey", ihc, t.Share.Decimal(store.ShareDecimals), double(ihc)),
		equation("report_ihc_revenue", "Σ ihc_revenue of channel_reporting = Σ ihc × revenue", revenue, t.Credit.Decimal(store.CreditDecimals), double(revenue)),
		equation("report_cost", "Σ cost of channel_reporting = Σ session_costs of known sessions", cost, t.KnownCosts.Decimal(unit.CostDecimals), double(cost)),
	}
}

func equation(name, description string, left, right, tolerance decimal.Decimal) *ihcv1.Equation {
	return &ihcv1.Equation{Name: name, Description: description, Left: left.String(), Right: right.String(),
		Holds: left.Sub(right).Abs().LessThanOrEqual(tolerance)}
}

// sums adds up the rows of the table.
func sums(rows []store.Row) (cost, ihc, revenue decimal.Decimal) {
	for _, r := range rows {
		cost = cost.Add(decimal.NewFromFloat(r.Cost))
		ihc = ihc.Add(decimal.NewFromFloat(r.IHC))
		revenue = revenue.Add(decimal.NewFromFloat(r.IHCRevenue))
	}
	return cost, ihc, revenue
}

// Notes tells what a reader of the numbers should know, one line each.
func Notes(t *store.Totals) []string {
	var notes []string
	note := func(n int64, format string) {
		if n > 0 {
			notes = append(notes, fmt.Sprintf(format, n))
		}
	}
	note(t.WithoutCost, "%d sessions have no row in session_costs; their cost counts as 0")
	note(t.WithoutSession, "%d rows of session_costs belong to no session of session_sources; their cost is in no channel")
	note(t.Orphans, "%d rows of attribution_customer_journey name a conversion or session that is not in the database any more; they are in no channel")
	return notes
}

// IHC returns Σ ihc over the conversions in the run's range.
func IHC(t *store.Totals) string { return t.Range.Share.Decimal(store.ShareDecimals).String() }

// IHCRevenue returns Σ ihc × revenue over the conversions in the run's range.
func IHCRevenue(t *store.Totals) string { return t.Range.Credit.Decimal(store.CreditDecimals).String() }

// Cost returns Σ cost over channel_reporting.
func Cost(t *store.Totals) string { return t.Cost.Decimal(unit.CostDecimals).String() }
