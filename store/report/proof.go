package report

import (
	"github.com/shopspring/decimal"

	"github.com/ihc-pipeline/ihc/internal/human"
	"github.com/ihc-pipeline/ihc/internal/sheet"
	"github.com/ihc-pipeline/ihc/internal/unit"
	"github.com/ihc-pipeline/ihc/store"
)

// proofLine says of orders, revenue or cost that the source is what was
// attributed and what was not.
type proofLine struct {
	name, as                             string
	places                               int32
	source, attributed, rest, difference decimal.Decimal
	why                                  []string // the rest, by reason
	holds                                bool
}

func (r *Report) proofLines() (lines []proofLine) {
	t := r.totals
	conversions, revenue := t.UnattributedRest, decimal.Zero
	var reasons, amounts []string
	for _, u := range t.Unattributed {
		conversions += int64(u.GetConversions())
		revenue = revenue.Add(exactly(u.GetRevenue()))
	}
	for _, g := range grouped(t.Unattributed) {
		reasons = append(reasons, human.Thousands(g.conversions)+" "+g.words)
		amounts = append(amounts, human.Decimal(g.revenue, 2)+" "+g.words)
	}
	number := decimal.NewFromInt
	cost, known := t.Cost, t.KnownCosts
	if t.Ranged {
		cost, known = t.Dates.Cost, t.Dates.KnownCosts
	}
	add := func(l proofLine, tolerance decimal.Decimal) {
		l.difference = l.source.Sub(l.attributed).Sub(l.rest)
		l.holds = l.difference.Abs().LessThanOrEqual(tolerance)
		lines = append(lines, l)
	}
	add(proofLine{name: "Orders", as: "attributed", source: number(t.Range.Conversions), attributed: number(t.Range.Attributed), rest: number(conversions), why: reasons}, decimal.Zero)
	gross := t.Range.Gross.Decimal(unit.MoneyDecimals)
	add(proofLine{name: "Revenue", as: "attributed", places: 2, source: t.Range.All.Decimal(unit.MoneyDecimals), attributed: t.Range.Credit.Decimal(store.CreditDecimals), rest: revenue, why: amounts}, gross.Shift(-3))
	add(proofLine{name: "Cost", as: "in the report", places: 2, source: known.Decimal(unit.CostDecimals), attributed: cost.Decimal(unit.CostDecimals)}, decimal.Zero)
	if d := &t.Daily; d.Days > 0 {
		alone, why := d.AloneCost.Decimal(unit.CostDecimals), []string(nil)
		if !alone.IsZero() {
			why = []string{human.Decimal(alone, 2) + " on days without sessions of the channel"}
		}
		add(proofLine{name: "Daily costs", as: "spread over sessions", places: 2, source: d.Cost.Decimal(unit.CostDecimals), attributed: d.Spread.Decimal(unit.CostDecimals), rest: alone, why: why}, decimal.Zero)
	}
	return lines
}

// Proof is the proof as a table: what the source tables hold is what was
// attributed and what was not. Nil for a report by another column than the
// channel, which proves nothing of its own.
func (r *Report) Proof() *sheet.Sheet {
	if r.Dimension != "" {
		return nil
	}
	s := &sheet.Sheet{Name: "proof", Title: "The proof: source = attributed + not attributed", Columns: []sheet.Column{{Name: "of", Title: "of"},
		{Name: "source", Title: "source", Kind: sheet.Amount}, {Name: "attributed", Title: "attributed", Kind: sheet.Amount},
		{Name: "unattributed", Title: "not attributed", Kind: sheet.Amount}, {Name: "difference", Title: "difference", Kind: sheet.Amount}, {Name: "holds", Title: "holds"}}}
	for _, l := range r.proofLines() {
		holds := "yes"
		if !l.holds {
			holds = "no"
		}
		s.Rows = append(s.Rows, []sheet.Cell{sheet.T(l.name), sheet.N(l.source), sheet.N(l.attributed), sheet.N(l.rest), sheet.N(l.difference), sheet.T(holds)})
	}
	if r.totals.Ranged {
		s.Notes = append(s.Notes, "Orders and revenue are those of the conversions of these dates; cost is that of the sessions of these dates")
	}
	return s
}
