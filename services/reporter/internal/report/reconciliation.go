package report

import (
	"fmt"

	"github.com/shopspring/decimal"

	ihcv1 "github.com/ihc-pipeline/ihc/proto/ihc/v1"
)

// One conversion's shares may be this far from 1; values of the built-in model
// and, as far as is known, of the API are not off at all.
var shareTolerance = decimal.New(1, -3)

// Sums in the table are doubles, good for about 15 digits.
var doubleTolerance = decimal.New(1, -12)

// Reconcile returns the proof that nothing leaked between the tables: what the
// ledger counted against what the database holds, and the report against what
// it was made from. The two sides of each equation are read or summed by
// different ways.
func (t *Totals) Reconcile(counts *ihcv1.Counts) []*ihcv1.Equation {
	attributed := int64(counts.GetAttributed() + counts.GetApproximated())
	ended := decimal.NewFromUint64(counts.GetAttributed() + counts.GetApproximated() + counts.GetExcluded() + counts.GetFailed() + counts.GetWithoutSessions())
	cost, ihc, revenue := sums(t.Rows)
	integer := decimal.NewFromInt
	none := decimal.Zero
	byShare := shareTolerance.Mul(integer(attributed))
	byRevenue := shareTolerance.Mul(t.revenue.decimal().Abs())
	for _, e := range []*decimal.Decimal{&byShare, &byRevenue} {
		if t.runShare == attributed*shareUnit {
			*e = none // every share is exact, so must be what follows from them
		}
	}
	double := func(x decimal.Decimal) decimal.Decimal { return x.Abs().Mul(doubleTolerance) }
	return []*ihcv1.Equation{
		equation("conversions", "conversions in range = attributed + approximated + excluded + failed + without sessions", integer(t.inRange), ended, none),
		equation("attributed", "conversions the run attributed = conversions in range with attributions in the table", integer(attributed), integer(t.attribbed), none),
		equation("touchpoints", "touchpoints the run wrote = attributions of conversions in range in the table", decimal.NewFromUint64(counts.GetTouchpoints()), integer(t.runRows), none),
		equation("ihc", "Σ ihc of conversions in range = conversions attributed", shareDecimal(t.runShare), integer(attributed), byShare),
		equation("ihc_revenue", "Σ ihc_revenue of conversions in range = their revenue", t.runSum.decimal(), t.revenue.decimal(), byRevenue),
		equation("report_ihc", "Σ ihc of channel_reporting = Σ ihc of attribution_customer_journey", ihc, shareDecimal(t.share), double(ihc)),
		equation("report_ihc_revenue", "Σ ihc_revenue of channel_reporting = Σ ihc × revenue", revenue, t.product.decimal(), double(revenue)),
		equation("report_cost", "Σ cost of channel_reporting = Σ session_costs of known sessions", cost, costDecimal(t.costs), double(cost)),
	}
}

func equation(name, description string, left, right, tolerance decimal.Decimal) *ihcv1.Equation {
	return &ihcv1.Equation{Name: name, Description: description, Left: left.String(), Right: right.String(),
		Holds: left.Sub(right).Abs().LessThanOrEqual(tolerance)}
}

// Notes tells what a reader of the numbers should know, one line each.
func (t *Totals) Notes() []string {
	var notes []string
	note := func(n int64, format string) {
		if n > 0 {
			notes = append(notes, fmt.Sprintf(format, n))
		}
	}
	note(t.withoutCost, "%d sessions have no row in session_costs; their cost counts as 0")
	note(t.withoutSession, "%d rows of session_costs belong to no session of session_sources; their cost is in no channel")
	note(t.orphans, "%d rows of attribution_customer_journey name a conversion or session that is not in the database any more; they are in no channel")
	return notes
}

// IHC returns Σ ihc over the conversions in the run's range.
func (t *Totals) IHC() string { return shareDecimal(t.runShare).String() }

// IHCRevenue returns Σ ihc × revenue over the conversions in the run's range.
func (t *Totals) IHCRevenue() string { return t.runSum.decimal().String() }

// Cost returns Σ cost over channel_reporting.
func (t *Totals) Cost() string { return costDecimal(t.cost).String() }
