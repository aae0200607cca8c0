package report

import (
	"fmt"
	"slices"

	"github.com/shopspring/decimal"

	"github.com/ihc-pipeline/ihc/internal/civil"
	"github.com/ihc-pipeline/ihc/internal/human"
	"github.com/ihc-pipeline/ihc/internal/page"
	"github.com/ihc-pipeline/ihc/internal/run"
	"github.com/ihc-pipeline/ihc/internal/sheet"
	"github.com/ihc-pipeline/ihc/internal/unit"
	ihcv1 "github.com/ihc-pipeline/ihc/proto/ihc/v1"
	"github.com/ihc-pipeline/ihc/store"
	"github.com/ihc-pipeline/ihc/store/reconciliation"
)

// What a report can be made by, beside the columns of session_sources.
const (
	ByChannel = "channel"
	ByDay     = "day"
	ByWeek    = "week"
	ByMonth   = "month"
	// ByChannelDay has a row for each channel and day, as channel_reporting.
	ByChannelDay = "channel-day"
)

// Why a ratio has no value.
const (
	nothingCredited = "nothing was credited"
	nothingSpent    = "nothing was spent"
	nothingBefore   = "nothing before"
	nobodyDid       = "no channel did"
	notCompared     = "there is no row in the range compared with"
)

// By returns the report's sums by channel (or what stands in its place), day,
// week or month, or by channel and day.
func (r *Report) By(by string) *sheet.Sheet {
	switch by {
	case ByDay, ByWeek, ByMonth:
		return r.overTime(by)
	case ByChannelDay:
		return r.byChannelAndDay()
	default:
		return r.byChannel(by)
	}
}

func (r *Report) byChannelAndDay() *sheet.Sheet {
	s := &sheet.Sheet{Name: ByChannelDay, Title: "Channels and days, " + r.covers(), Notes: r.notes(),
		Columns: append([]sheet.Column{{Name: ByChannel, Title: ByChannel}, {Name: ByDay, Title: ByDay, Kind: sheet.Date}}, measures...)}
	for _, row := range r.rows {
		s.Rows = append(s.Rows, append([]sheet.Cell{sheet.T(row.Channel), sheet.T(row.Date)}, sumOf([]store.Row{row}).cells()...))
	}
	s.Notes = append(s.Notes, whyEmpty(s)...)
	s.Total = append([]sheet.Cell{sheet.T("total"), sheet.T("")}, sumOf(r.rows).cells()...)
	return s
}

// measures are the columns that every sum has.
var measures = []sheet.Column{{Name: "cost", Title: "cost", Kind: sheet.Amount}, {Name: "ihc", Title: "conversions (ihc)", Kind: sheet.Amount},
	{Name: "ihc_revenue", Title: "revenue (ihc)", Kind: sheet.Amount}, {Name: "cpo", Title: "CPO", Kind: sheet.Amount}, {Name: "roas", Title: "ROAS", Kind: sheet.Amount}}

func (s *channelSum) cells() []sheet.Cell {
	return []sheet.Cell{sheet.N(s.cost), sheet.N(s.ihc), sheet.N(s.revenue), sheet.Ratio(s.cost, s.ihc, nothingCredited), sheet.Ratio(s.revenue, s.cost, nothingSpent)}
}

// compared are the columns of a comparison.
var compared = []sheet.Column{{Name: "compared_cost", Title: "cost before", Kind: sheet.Amount}, {Name: "compared_ihc_revenue", Title: "revenue before", Kind: sheet.Amount},
	{Name: "cost_change", Title: "cost ±", Kind: sheet.Percent}, {Name: "ihc_revenue_change", Title: "revenue ±", Kind: sheet.Percent}}

// comparedCells compares sums with those of the other range, nil for none.
func comparedCells(s, before *channelSum) []sheet.Cell {
	if before == nil {
		return []sheet.Cell{sheet.None(notCompared), sheet.None(notCompared), sheet.None(notCompared), sheet.None(notCompared)}
	}
	return []sheet.Cell{sheet.N(before.cost), sheet.N(before.revenue),
		changed(s.cost, before.cost), changed(s.revenue, before.revenue)}
}

// changed is by which part of what it was something is more, or, below 0, less.
func changed(now, was decimal.Decimal) sheet.Cell {
	return sheet.Ratio(now.Sub(was), was.Abs(), nothingBefore)
}

func (r *Report) byChannel(by string) *sheet.Sheet {
	if by == "" {
		by = ByChannel
	}
	s := &sheet.Sheet{Name: by, Title: upper(by) + "s, " + r.covers(), Notes: r.notes(),
		Columns: append([]sheet.Column{{Name: by, Title: by}}, measures...)}
	sums := byKey(r.rows, func(row store.Row) string { return row.Channel })
	before := byKey(r.before, func(row store.Row) string { return row.Channel })
	comparing := r.Compare != Period{}
	if comparing {
		s.Columns = append(s.Columns, compared...)
		for name := range before { // what earned before and does not any more
			if sums[name] == nil {
				sums[name] = &channelSum{channel: name}
			}
		}
	}
	for _, sum := range ordered(sums) {
		row := append([]sheet.Cell{sheet.T(sum.channel)}, sum.cells()...)
		if comparing {
			row = append(row, comparedCells(sum, before[sum.channel])...)
		}
		s.Rows = append(s.Rows, row)
	}
	s.Notes = append(s.Notes, whyEmpty(s)...)
	total := sumOf(r.rows)
	s.Total = append([]sheet.Cell{sheet.T("total")}, total.cells()...)
	if comparing {
		s.Total = append(s.Total, comparedCells(total, r.allBefore())...)
	}
	return s
}

// whyEmpty says why cells of a sheet are empty, each column once.
func whyEmpty(s *sheet.Sheet) (notes []string) {
	for i, c := range s.Columns {
		empty := slices.IndexFunc(s.Rows, func(row []sheet.Cell) bool { return row[i].Why != "" })
		if empty >= 0 {
			notes = append(notes, fmt.Sprintf("“–” in %s: %s", c.Title, s.Rows[empty][i].Why))
		}
	}
	return notes
}

// start returns the first date of the day, week (from Monday) or month that a
// date is in.
func start(by, date string) string {
	d, ok := civil.ParseDate(date)
	switch {
	case by == ByMonth && len(date) == len("2006-01-02"):
		return date[:8] + "01"
	case by == ByWeek && ok:
		return (d - (d+3)%7).String() // 1970-01-01 was a Thursday
	default:
		return date
	}
}

func (r *Report) overTime(by string) *sheet.Sheet {
	comparing := r.Compare != Period{}
	s := &sheet.Sheet{Name: by, Title: upper(by) + "s, " + r.covers(), Notes: r.notes(), Columns: append([]sheet.Column{{Name: by, Title: by, Kind: sheet.Date}}, measures...)}
	if comparing {
		s.Columns = append(s.Columns, compared...)
	}
	s.Columns = append(s.Columns, sheet.Column{Name: "final_credit", Title: "of final credit", Kind: sheet.Percent})
	before := r.beforeBy(by)
	sums := byKey(r.rows, func(row store.Row) string { return start(by, row.Date) })
	last := map[string]string{}
	for _, row := range r.rows {
		last[start(by, row.Date)] = row.Date // they go by date
	}
	for _, date := range slices.Sorted(keys(sums)) {
		final := sheet.None("not known")
		if r.Maturity.Through != "" {
			final = sheet.N(r.Maturity.Share(last[date]))
		}
		row := append([]sheet.Cell{sheet.T(date)}, sums[date].cells()...)
		if comparing {
			row = append(row, comparedCells(sums[date], before[place(by, r.First, date)])...)
		}
		s.Rows = append(s.Rows, append(row, final))
	}
	s.Notes = append(s.Notes, whyEmpty(s)...)
	s.Total = append([]sheet.Cell{sheet.T("total")}, sumOf(r.rows).cells()...)
	if comparing {
		s.Total = append(s.Total, comparedCells(sumOf(r.rows), r.allBefore())...)
	}
	s.Total = append(s.Total, sheet.None(""))
	return s
}

// beforeBy are the sums of the range compared with, by their place in it: its
// first day, week or month has 0.
func (r *Report) beforeBy(by string) map[int]*channelSum {
	sums := map[int]*channelSum{}
	for _, row := range r.before {
		k := place(by, r.Compare.Start, row.Date)
		if sums[k] == nil {
			sums[k] = &channelSum{}
		}
		sums[k].add(row)
	}
	return sums
}

// allBefore is the sum of the range compared with, nil where there is nothing in it.
func (r *Report) allBefore() *channelSum {
	if len(r.before) == 0 {
		return nil
	}
	return sumOf(r.before)
}

// place says in which day, week or month from another date on a date is: 0 is the
// one that from is in.
func place(by, from, date string) int {
	a, _ := civil.ParseDate(start(by, from))
	b, _ := civil.ParseDate(start(by, date))
	switch by {
	case ByWeek:
		return int(b-a) / 7
	case ByMonth:
		return civil.Months(a, b)
	default:
		return int(b - a)
	}
}

// covers says which sessions the numbers are of.
func (r *Report) covers() string {
	what := "sessions"
	if r.Channel != "" {
		what = "sessions of " + page.Name(r.Channel)
	}
	if r.First == "" {
		return "no " + what
	}
	dates := fmt.Sprintf("%s from %s to %s", what, r.First, r.Last)
	if r.Elsewhere() {
		dates += ", " + r.Zone
	}
	return dates
}

// notes say what keeps the numbers from being final.
func (r *Report) notes() []string {
	var notes []string
	if r.Elsewhere() {
		notes = append(notes, fmt.Sprintf("Days are those of %s; what runs write has days in UTC", r.Zone))
	}
	if r.Last != "" && !r.Maturity.IsMature(r.Last) {
		notes = append(notes, fmt.Sprintf("Sessions after %s do not have %s %% of their final credit yet: conversions are known until %s",
			r.Maturity.Until, Mature.Shift(2), r.Maturity.Through))
	}
	if alone := r.CostsAlone(); alone != nil && r.Dimension == "" {
		notes = append(notes, fmt.Sprintf("Cost without sessions, in no row and no total: %s on %s without a session of the channel (--unattributed lists them)",
			sheet.Amount.People(alone.Total[2]), human.Count(len(alone.Rows), "day")))
	}
	notes = append(notes, reconciliation.WrongShares(r.totals)...)
	if refunds := reconciliation.Refunds(r.totals); refunds != "" {
		notes = append(notes, refunds)
	}
	if r.Compare != (Period{}) {
		notes = append(notes, fmt.Sprintf("Before: sessions from %s to %s", r.Compare.Start, r.Compare.End))
	}
	return notes
}

// Unattributed says what became of the conversions of the dates, by reason.
func (r *Report) Unattributed() *sheet.Sheet {
	t := &r.totals.Range
	s := &sheet.Sheet{Name: "unattributed", Title: "Conversions of the same dates: attributed or not, and why",
		Columns: []sheet.Column{{Name: "outcome", Title: "outcome"}, {Name: "reason", Title: "reason"}, {Name: "conversions", Title: "conversions", Kind: sheet.Count},
			{Name: "revenue", Title: "revenue", Kind: sheet.Amount}, {Name: "example_conv_id", Title: "one of them"}}}
	s.Rows = append(s.Rows, []sheet.Cell{sheet.T("attributed"), sheet.T(""), sheet.I(t.Attributed), sheet.N(t.Revenue.Decimal(unit.MoneyDecimals)), sheet.T("")})
	for _, u := range r.totals.Unattributed {
		s.Rows = append(s.Rows, []sheet.Cell{sheet.T(outcomeWords(u)), sheet.T(u.GetReason()), sheet.I(int64(u.GetConversions())), sheet.N(exactly(u.GetRevenue())), sheet.T(u.GetExampleConvId())})
	}
	if n := r.totals.UnattributedRest; n > 0 {
		s.Notes = append(s.Notes, fmt.Sprintf("%d conversions more, of reasons for which there is no room", n))
	}
	s.Total = []sheet.Cell{sheet.T("all"), sheet.T(""), sheet.I(t.Conversions), sheet.N(t.All.Decimal(unit.MoneyDecimals)), sheet.T("")}
	return s
}

// CostsAlone are the daily costs of dates on which the channel had no session, nil
// where there are none.
func (r *Report) CostsAlone() *sheet.Sheet {
	s := &sheet.Sheet{Name: "costs_without_sessions", Title: "Cost without sessions: days on which the channel had none",
		Columns: []sheet.Column{{Name: "date", Title: "date"}, {Name: "channel", Title: "channel"}, {Name: "cost", Title: "cost", Kind: sheet.Amount}}}
	total := decimal.Zero
	for _, d := range r.totals.Daily.Alone {
		if r.Channel != "" && d.Channel != r.Channel {
			continue
		}
		total = total.Add(d.Cost.Decimal())
		s.Rows = append(s.Rows, []sheet.Cell{sheet.T(d.Date), sheet.T(d.Channel), sheet.N(d.Cost.Decimal())})
	}
	if len(s.Rows) == 0 {
		return nil
	}
	s.Total = []sheet.Cell{sheet.T("all"), sheet.T(""), sheet.N(total)}
	return s
}

// outcomeWords names an outcome, also that of conversions which no run has come to.
func outcomeWords(u *ihcv1.ReasonCount) string {
	if u.GetKind() == ihcv1.OutcomeKind_OUTCOME_KIND_UNSPECIFIED {
		return "in no run yet"
	}
	return run.OutcomeOf(u.GetKind()).Words
}

// Phases says where in journeys the channels' sessions stand: which part of all
// that was opened, held and closed is theirs, and how that compares with their
// share of the whole (1 where it is the same). It is nil where the journal does
// not tell, and where a model scored that knows no phases.
func (r *Report) Phases() *sheet.Sheet {
	j := r.totals.Journeys
	if j == nil || len(j.Phases) == 0 {
		return nil
	}
	s := &sheet.Sheet{Name: "phases", Title: "Who starts, holds, closes: " + r.covers(), Columns: []sheet.Column{{Name: "channel", Title: "channel"},
		{Name: "ihc", Title: "conversions (ihc)", Kind: sheet.Amount}, {Name: "ihc_share", Title: "share", Kind: sheet.Percent},
		{Name: "initializer_share", Title: "starts", Kind: sheet.Percent}, {Name: "holder_share", Title: "holds", Kind: sheet.Percent}, {Name: "closer_share", Title: "closes", Kind: sheet.Percent},
		{Name: "initializer_index", Title: "starts ÷ share", Kind: sheet.Amount}, {Name: "holder_index", Title: "holds ÷ share", Kind: sheet.Amount}, {Name: "closer_index", Title: "closes ÷ share", Kind: sheet.Amount}}}
	var sum store.ChannelPhases
	for _, p := range j.Phases {
		sum.IHC, sum.Initializer, sum.Holder, sum.Closer = sum.IHC+p.IHC, sum.Initializer+p.Initializer, sum.Holder+p.Holder, sum.Closer+p.Closer
	}
	if sum.Initializer == 0 && sum.Holder == 0 && sum.Closer == 0 {
		return nil
	}
	sorted := slices.SortedStableFunc(slices.Values(j.Phases), func(a, b store.ChannelPhases) int { return r.rank[a.Channel] - r.rank[b.Channel] })
	for _, p := range sorted {
		if r.Channel != "" && p.Channel != r.Channel {
			continue
		}
		row := []sheet.Cell{sheet.T(p.Channel), sheet.N(share(p.IHC)), part(p.IHC, sum.IHC), part(p.Initializer, sum.Initializer), part(p.Holder, sum.Holder), part(p.Closer, sum.Closer)}
		for i := 3; i < 6; i++ {
			row = append(row, index(row[i], row[2]))
		}
		s.Rows = append(s.Rows, row)
	}
	s.Notes = whyEmpty(s)
	if n := j.Conversions - j.WithPhases; n > 0 {
		s.Notes = append(s.Notes, fmt.Sprintf("of %d conversions the phases are not known: they were scored by an earlier release", n))
	}
	return s
}

// part returns n ÷ of.
func part(n, of int64) sheet.Cell {
	return sheet.Ratio(decimal.NewFromInt(n), decimal.NewFromInt(of), nobodyDid)
}

func index(a, b sheet.Cell) sheet.Cell {
	if !a.Is || !b.Is {
		return sheet.None(nobodyDid)
	}
	return sheet.Ratio(a.Number, b.Number, nothingCredited)
}

func upper(s string) string {
	if s == "" || s[0] < 'a' || s[0] > 'z' {
		return s
	}
	return string(s[0]-'a'+'A') + s[1:]
}

// exactly reads an exact decimal; what is none counts as 0.
func exactly(text string) decimal.Decimal {
	d, err := decimal.NewFromString(text)
	if err != nil {
		return decimal.Zero
	}
	return d
}

// outcomeSum is what ended in one way, whatever the reason.
type outcomeSum struct {
	words       string
	conversions uint64
	revenue     decimal.Decimal
}

// grouped adds up reasons by outcome, in the order in which they come.
func grouped(reasons []*ihcv1.ReasonCount) (sums []outcomeSum) {
	for _, u := range reasons {
		words := outcomeWords(u)
		i := slices.IndexFunc(sums, func(s outcomeSum) bool { return s.words == words })
		if i < 0 {
			i = len(sums)
			sums = append(sums, outcomeSum{words: words})
		}
		sums[i].conversions += u.GetConversions()
		sums[i].revenue = sums[i].revenue.Add(exactly(u.GetRevenue()))
	}
	return sums
}
