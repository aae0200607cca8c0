package report

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/shopspring/decimal"

	"github.com/ihc-pipeline/ihc/internal/human"
	"github.com/ihc-pipeline/ihc/internal/page"
	"github.com/ihc-pipeline/ihc/internal/run"
	"github.com/ihc-pipeline/ihc/internal/sheet"
	"github.com/ihc-pipeline/ihc/internal/unit"
	"github.com/ihc-pipeline/ihc/store"
)

// Page returns the report as a page. Sections whose numbers the database does
// not have are left out.
func (r *Report) Page() *page.Page {
	p := &page.Page{Title: "Attribution report", Lead: upper(r.covers()) + r.zoneText(), Findings: r.findings(), Facts: r.facts(),
		Footer: "Made by ihc " + r.Version + ". Every number is that of the command “ihc report”, to the digit."}
	for _, s := range []func() (page.Section, bool){r.proofSection, r.headlineSection, r.channelSection, r.phaseSection, r.timeSection, r.pathSection, r.modelSection, r.readSection} {
		if section, there := s(); there {
			p.Sections = append(p.Sections, section)
		}
	}
	return p
}

// zoneText ends a sentence with the zone that [Report.covers] has not named.
func (r *Report) zoneText() string {
	if r.Elsewhere() || r.First == "" {
		return "."
	}
	return ", UTC."
}

// Colour returns the class of a channel's marks, the same in every figure.
func (r *Report) colour(channel string) string {
	if n, ok := r.rank[channel]; ok && n < colours {
		return fmt.Sprintf("c%d", n)
	}
	return "rest"
}

// colours is how many channels have a colour of their own.
const colours = 8

func (r *Report) colourMap() map[string]string {
	m := map[string]string{}
	for channel := range r.rank {
		m[channel] = r.colour(channel)
	}
	return m
}

const ofFinal = " of its final credit"

// immature says how far the dates, or weeks, of a sheet over time are that are not
// final.
func (r *Report) immature(s *sheet.Sheet) map[string]string {
	m := map[string]string{}
	final := len(s.Columns) - 1
	for _, row := range s.Rows {
		if c := row[final]; c.Is && c.Number.LessThan(Mature) {
			m[row[0].Text] = sheet.Percent.People(c) + ofFinal
		}
	}
	return m
}

// facts say what the report is of and what made it.
func (r *Report) facts() []page.Fact {
	dates := "no sessions"
	if r.First != "" {
		dates = r.First + " to " + r.Last
	}
	mature := "not known: no journal of scored journeys"
	if r.Maturity.Until != "" {
		mature = r.Maturity.Until + " (conversions known until " + r.Maturity.Through + ")"
	}
	currency := r.Currency
	if currency == "" {
		currency = "as in the data"
	}
	facts := []page.Fact{{Name: "Session dates", Text: dates}, {Name: "Mature until", Text: mature}, {Name: "Time zone", Text: cmp.Or(r.Zone, utc)}, {Name: "Currency", Text: currency}}
	if r.Channel != "" {
		facts = append(facts, page.Fact{Name: "Channel", Text: page.Isolated(r.Channel)})
	}
	facts = append(facts, r.modelFacts()...)
	if r.Run != "" {
		facts = append(facts, page.Fact{Name: "Run", Text: r.Run})
	}
	if r.Compare != (Period{}) {
		facts = append(facts, page.Fact{Name: "Compared with", Text: r.Compare.Start + " to " + r.Compare.End})
	}
	return append(facts, page.Fact{Name: "Version", Text: "ihc " + r.Version})
}

// modelFacts say what scored the conversions of the dates: each way once.
func (r *Report) modelFacts() []page.Fact {
	j := r.totals.Journeys
	if j == nil || len(j.Runs) == 0 {
		return nil
	}
	var models, lookbacks []string
	note := func(all *[]string, text string) {
		if !slices.Contains(*all, text) {
			*all = append(*all, text)
		}
	}
	for _, of := range j.Runs {
		model, params, _ := strings.Cut(of.Model, " ")
		if params != "" {
			model += ", parameters " + params
		}
		lookback := "all of the past"
		if req, err := run.Decode([]byte(of.Request)); err == nil {
			if req.GetLookbackDays() > 0 {
				lookback = fmt.Sprintf("%d days", req.GetLookbackDays())
			}
			if req.GetRedistributionParameter() != nil {
				model += ", with redistribution"
			}
		}
		note(&models, model)
		note(&lookbacks, lookback)
	}
	facts := []page.Fact{{Name: "Model", Text: strings.Join(models, "; ")}, {Name: "Lookback", Text: strings.Join(lookbacks, "; ")}}
	if runs := r.runs(); r.Run == "" || len(runs) > 1 {
		facts = append(facts, page.Fact{Name: human.Plural(len(runs), "Run") + " that scored it", Text: someOf(runs)})
	}
	return facts
}

// runs returns the ids of the runs that scored the conversions of the dates, the
// earliest first.
func (r *Report) runs() (ids []string) {
	if j := r.totals.Journeys; j != nil {
		for _, of := range j.Runs {
			ids = append(ids, of.RunID)
		}
	}
	return ids
}

// someOf lists names, the latest of them where there are many.
func someOf(names []string) string {
	if more := len(names) - 4; more > 1 {
		return fmt.Sprintf("%s and %d before", strings.Join(names[more:], ", "), more)
	}
	return strings.Join(names, ", ")
}

// standsOut is how far two shares are apart, at least, where that is worth a
// sentence: two points.
var standsOut = decimal.New(2, -2)

// mostFindings is how many sentences a report begins with.
const mostFindings = 3

// findings says in words what stands out.
func (r *Report) findings() []string {
	all := r.unlike()
	for _, s := range []string{r.opener(), r.trend()} {
		if s != "" {
			all = append(all, s)
		}
	}
	return all[:min(len(all), mostFindings)]
}

// unlike says which channels' shares of cost and of revenue are furthest apart.
func (r *Report) unlike() (all []string) {
	sums := ordered(byKey(r.rows, func(row store.Row) string { return row.Channel }))
	total := sumOf(r.rows)
	if len(sums) < 2 || !total.cost.IsPositive() || !total.revenue.IsPositive() {
		return nil
	}
	gap := func(s *channelSum) decimal.Decimal { return s.cost.Div(total.cost).Sub(s.revenue.Div(total.revenue)) }
	dear := slices.MaxFunc(sums, func(a, b *channelSum) int { return gap(a).Cmp(gap(b)) })
	paid := slices.DeleteFunc(slices.Clone(sums), func(s *channelSum) bool { return !s.cost.IsPositive() })
	say := func(s *channelSum) string {
		return fmt.Sprintf("%s has %s of cost and %s of revenue.", page.Isolated(s.channel), whole(s.cost, total.cost), whole(s.revenue, total.revenue))
	}
	if gap(dear).GreaterThan(standsOut) {
		all = append(all, say(dear))
	}
	if len(paid) > 1 {
		cheap := slices.MinFunc(paid, func(a, b *channelSum) int { return gap(a).Cmp(gap(b)) })
		if gap(cheap).Neg().GreaterThan(standsOut) {
			all = append(all, say(cheap))
		}
	}
	if len(all) == 0 && !gap(slices.MinFunc(sums, func(a, b *channelSum) int { return gap(a).Cmp(gap(b)) })).Neg().GreaterThan(standsOut) {
		all = append(all, "Every channel's share of revenue is within 2 points of its share of cost.")
	}
	return all
}

// trend says how revenue and cost moved, where there is something to compare them
// with.
func (r *Report) trend() string {
	h, ok := r.headline()
	if !ok || h.before == (Period{}) {
		return ""
	}
	now, before := sumOf(r.between(h.now.Start, h.now.End)), sumOf(r.between(h.before.Start, h.before.End))
	if before.revenue.IsZero() {
		return ""
	}
	moved := func(what string, a, b decimal.Decimal) string {
		change := changed(a, b).Number
		switch change.Shift(2).Round(1).Sign() {
		case 1:
			return what + " rose by " + sheet.Percent.People(sheet.N(change))
		case -1:
			return what + " fell by " + sheet.Percent.People(sheet.N(change.Neg()))
		}
		return what + " stayed as it was"
	}
	s := moved("Revenue", now.revenue, before.revenue)
	if before.cost.IsPositive() {
		s += ", " + moved("cost", now.cost, before.cost)
	}
	return s + ": " + h.text() + "."
}

// whole writes a ÷ b in whole percents.
func whole(a, b decimal.Decimal) string { return human.Decimal(a.Div(b).Shift(2), 0) + " %" }

// opener says which channel starts journeys most beyond what it closes.
func (r *Report) opener() string {
	phases := r.Phases()
	if phases == nil || r.Channel != "" {
		return ""
	}
	best, most := "", standsOut
	for _, row := range phases.Rows {
		if d := row[3].Number.Sub(row[5].Number); row[3].Is && row[5].Is && d.GreaterThan(most) {
			most = d
			best = fmt.Sprintf("%s starts more than it closes: %s of all starts, %s of all closes.", page.Isolated(row[0].Text), sheet.Percent.People(row[3]), sheet.Percent.People(row[5]))
		}
	}
	return best
}

// proofSection shows that source = attributed + unattributed.
func (r *Report) proofSection() (page.Section, bool) {
	t := r.totals
	p := &page.Proof{Holds: true}
	for _, l := range r.proofLines() {
		p.Holds = p.Holds && l.holds
		p.Lines = append(p.Lines, page.ProofLine{Name: l.name, As: l.as, Source: human.Decimal(l.source, l.places), Attributed: human.Decimal(l.attributed, l.places),
			Unattributed: human.Decimal(l.rest, l.places), Difference: human.Decimal(l.difference, l.places), Reasons: l.why, Holds: l.holds})
	}
	p.Verdict = "Nothing is lost: every order, all revenue and all cost is accounted for."
	switch {
	case !p.Holds:
		p.Verdict = "Something does not add up: do not use these numbers before you know why (reconciliation.json has each equation)."
	case t.Range.Conversions == 0 && len(r.rows) == 0:
		p.Verdict = "There is nothing to account for: no orders, and no sessions."
	}
	lead := "What the source tables hold is what was attributed and what was not."
	if t.Ranged {
		lead = "Orders and revenue are those of the conversions of these dates; cost is that of the sessions of these dates."
	}
	if r.Channel != "" {
		lead += " It is of all channels."
	}
	figures := []page.Figure{{ID: "unattributed", Title: "What was not attributed, and why", Sheet: r.Unattributed()}}
	if alone := r.CostsAlone(); alone != nil {
		figures = append(figures, page.Figure{ID: "costs-without-sessions", Title: "Cost without sessions", Sheet: cut(alone, "--unattributed")})
	}
	return page.Section{ID: "proof", Title: "The proof", Lead: lead, Proof: p, Facts: r.bridgeFacts(), Figures: figures}, r.Dimension == ""
}

// bridgeFacts lead from the session dates to the conversions of these dates.
func (r *Report) bridgeFacts() []page.Fact {
	t := r.totals
	if !t.Ranged {
		return nil
	}
	credit := func(share, revenue unit.Sum) string {
		return fmt.Sprintf("%s conversions, %s revenue", human.Decimal(share.Decimal(store.ShareDecimals), 2), human.Decimal(revenue.Decimal(store.CreditDecimals), 2))
	}
	d, c := &t.Dates, &t.Range
	return []page.Fact{
		{Name: "Not in the tables below", Text: credit(c.Share.Sub(d.OwnShare), c.Credit.Sub(d.OwnCredit)) + ", which conversions of these dates gave to earlier sessions."},
		{Name: "In the tables below", Text: credit(d.Share.Sub(d.OwnShare), d.Credit.Sub(d.OwnCredit)) + ", which conversions of other dates gave to these sessions."},
		{Name: "In no number yet", Text: human.Count(d.NeverAttributed, "later conversion") + " with sessions of these dates that no run has attributed."},
	}
}

// readSection says how the numbers are to be read.
func (r *Report) readSection() (page.Section, bool) {
	facts := []page.Fact{
		{Name: "Fractions of orders", Text: "An order is shared out among the visits before it. The shares of one order sum to 1, so that conversions (ihc) of a channel are a sum of fractions, and the sum over all channels is a number of orders."},
		{Name: "Session dates", Text: "The day is that of the visit, not of the order. Cost is that of all visits of the day, whether they led to an order or not."},
		{Name: "Ratios", Text: "CPO is cost ÷ conversions (ihc), ROAS is revenue (ihc) ÷ cost. Totals are ratios of sums. “–” stands where the divisor is 0: nothing was credited, or nothing was spent."},
		{Name: "Maturity", Text: "Visits go on earning while those who came buy. How much of its final credit a date has is taken from how long past visits took to earn theirs. Dates below " + Mature.Shift(2).String() + " % are hatched; headlines end before them."},
	}
	if r.Phases() != nil {
		facts = append(facts, page.Fact{Name: "Starts, holds, closes", Text: "The model shares out each order three times: for starting the journey, for keeping it going, and for closing it. ihc weighs the three."})
	}
	return page.Section{ID: "reading", Title: "How to read it", Facts: append(facts, page.Fact{Name: "Not causal", Text: "Attribution shares out what happened. It does not say what would have happened without a channel: a test with a group that is left out does."})}, true
}
