package report

import (
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/shopspring/decimal"

	"github.com/ihc-pipeline/ihc/internal/civil"
	"github.com/ihc-pipeline/ihc/internal/human"
	"github.com/ihc-pipeline/ihc/internal/page"
	"github.com/ihc-pipeline/ihc/internal/plot"
	"github.com/ihc-pipeline/ihc/internal/sheet"
	"github.com/ihc-pipeline/ihc/store"
)

// Previous returns the range before another, as long as it. Both have dates.
func Previous(p Period) (Period, bool) {
	start, ok1 := civil.ParseDate(p.Start)
	end, ok2 := civil.ParseDate(p.End)
	return Period{(start - (end - start) - 1).String(), (start - 1).String()}, ok1 && ok2
}

// YearBefore returns the same dates a year before. The 29th of February becomes
// the 28th.
func YearBefore(p Period) (Period, bool) {
	before := func(date string) (string, bool) {
		if !civil.IsDate(date) || date < "0001" {
			return "", false
		}
		var year int
		_, _ = fmt.Sscanf(date[:4], "%d", &year)
		moved := fmt.Sprintf("%04d%s", year-1, date[4:])
		if !civil.IsDate(moved) {
			moved = moved[:8] + "28"
		}
		return moved, true
	}
	start, ok1 := before(p.Start)
	end, ok2 := before(p.End)
	return Period{start, end}, ok1 && ok2
}

// headlineDays is how long the periods are that are compared where the report
// covers everything, so that there is nothing before it.
const headlineDays = 28

// headline is what the headline numbers are of: the mature dates, and for the
// change two ranges of the same length.
type headline struct {
	mature, now, before Period
	against             string
}

func (r *Report) headline() (h headline, ok bool) {
	end := r.Last
	if u := r.Maturity.Until; u != "" {
		end = min(end, u)
	}
	if len(r.rows) == 0 || end < r.First {
		return h, false
	}
	h.mature = Period{r.First, end}
	h.now = h.mature
	if r.Compare != (Period{}) {
		h.before = r.matured(end)
		h.against = "on " + h.before.Start + " to " + h.before.End
		return h, true
	}
	if before, ok := Previous(h.mature); ok && len(r.all) > 0 && before.Start >= r.all[0].Date {
		h.before = before
		h.against = "on " + before.Start + " to " + before.End
		return h, true
	}
	last, _ := civil.ParseDate(end)
	first, _ := civil.ParseDate(r.First)
	days := min(civil.Date(headlineDays), (last-first+1)/2)
	if days < 1 {
		return h, true
	}
	h.now = Period{(last - days + 1).String(), end}
	h.before, _ = Previous(h.now)
	h.against = fmt.Sprintf("last %d days on the %d before", days, days)
	return h, true
}

// matured is the range compared with, without the days at its end that have their
// place beside days that are left out. A range of another length is as it is.
func (r *Report) matured(end string) Period {
	first, _ := civil.ParseDate(r.First)
	last, _ := civil.ParseDate(r.Last)
	mature, _ := civil.ParseDate(end)
	from, _ := civil.ParseDate(r.Compare.Start)
	to, _ := civil.ParseDate(r.Compare.End)
	if last-first != to-from {
		return r.Compare
	}
	return Period{r.Compare.Start, (to - (last - mature)).String()}
}

// text says what a change is against.
func (h *headline) text() string {
	if dates, is := strings.CutPrefix(h.against, "on "); is {
		return "against " + dates
	}
	return strings.Replace(h.against, " on ", " against ", 1)
}

// headlineSection are the numbers that are final, with their change.
func (r *Report) headlineSection() (page.Section, bool) {
	h, ok := r.headline()
	if !ok {
		return page.Section{ID: "headline", Title: "Headline numbers", Lead: "No date is mature yet: " + r.whyImmature()}, len(r.rows) > 0
	}
	of := func(p Period) []sheet.Cell {
		if p == (Period{}) {
			return nil
		}
		return sumOf(r.between(p.Start, p.End)).cells()
	}
	all, now, before := of(h.mature), of(h.now), of(h.before)
	s := page.Section{ID: "headline", Title: "Headline numbers", Lead: "Sessions from " + h.mature.Start + " to " + h.mature.End}
	if r.Maturity.Until == "" {
		s.Lead += "; how much of their final credit they have is not known."
	} else {
		s.Lead += ", all of which have about all their credit."
	}
	if h.mature.End < r.Last {
		s.Lead += " Later dates are left out: " + r.whyImmature()
	}
	for _, i := range []int{2, 0, 1, 3, 4} {
		c := page.Card{Name: upper(measures[i].Title), Value: measures[i].Kind.People(all[i])}
		switch {
		case !all[i].Is:
			c.Against = all[i].Why
		case before == nil:
		case now[i].Is && before[i].Is && !before[i].Number.IsZero():
			change := changed(now[i].Number, before[i].Number).Number
			c.Change, c.Tone, c.Against = signed(change), tone(measures[i].Name, change), h.text()
		default:
			c.Against = "no change to tell: there was nothing before (" + h.text() + ")"
		}
		s.Cards = append(s.Cards, c)
	}
	return s, true
}

// tone says whether a change is good news. Of cost it is neither.
func tone(measure string, change decimal.Decimal) string {
	up := change.Shift(2).Round(1).Sign()
	if measure == "cpo" {
		up = -up
	}
	switch {
	case measure == "cost" || up == 0:
		return ""
	case up > 0:
		return "good"
	}
	return "bad"
}

// signed writes a change in percents, with its sign and an arrow.
func signed(change decimal.Decimal) string {
	text := sheet.Percent.People(sheet.N(change))
	switch change.Shift(2).Round(1).Sign() {
	case 1:
		return "▲ +" + text
	case -1:
		return "▼ " + text
	}
	return "= " + text
}

func (r *Report) whyImmature() string {
	return fmt.Sprintf("conversions are known until %s, and sessions of the last days have yet to earn (%s on %s).",
		r.Maturity.Through, sheet.Percent.People(sheet.N(r.Maturity.Share(r.Last))), r.Last)
}

// mostShown is how many channels have a row in a picture; the tables have all.
const mostShown = 20

// mostRows is how many rows of a table a page shows, so that it stays a page.
const mostRows = 300

// shortened returns a sheet with at most [mostRows] rows.
func shortened(s *sheet.Sheet) *sheet.Sheet {
	if s == nil {
		return nil
	}
	return cut(s, "--by "+s.Name)
}

// cut is shortened for a sheet that `ihc report` prints by other flags.
func cut(s *sheet.Sheet, flags string) *sheet.Sheet {
	if len(s.Rows) <= mostRows {
		return s
	}
	less := *s
	less.Rows = s.Rows[:mostRows]
	less.Notes = append(slices.Clone(s.Notes), fmt.Sprintf("%s rows more are in `ihc report %s`", human.Thousands(len(s.Rows)-mostRows), flags))
	return &less
}

// channelSection is what each channel cost and brought.
func (r *Report) channelSection() (page.Section, bool) {
	channels := r.By(r.Dimension)
	if len(channels.Rows) == 0 {
		lead := "There are no sessions of these dates."
		if len(r.all) == 0 {
			lead = "There are no sessions. Fill the source tables, “ihc import” does, and run again."
		}
		return page.Section{ID: "channels", Title: "Channels", Lead: lead}, true
	}
	return page.Section{ID: "channels", Title: "Channels", Lead: "What each cost and what it brought, by the date of the session.", Figures: []page.Figure{
		{ID: "channel-table", Title: "Cost, credit and their ratios", Sheet: shortened(channels), Open: true, Colours: r.colourMap()}, r.shareFigure(channels)}}, true
}

// shareFigure shows the shares of cost and revenue, ROAS around 1, and the change.
func (r *Report) shareFigure(channels *sheet.Sheet) page.Figure {
	shares := r.shares(channels)
	shown := shares.Rows[:min(len(shares.Rows), mostShown)]
	rows := &page.Rows{Head: []string{"share of cost → of revenue", "ROAS", "revenue ±"}}
	most := decimal.New(1, -1) // the right end: the greatest share, in tens of percents
	tens := 1                  // the ends of ROAS: a power of ten
	for _, row := range shown {
		most = decimal.Max(most, row[1].Number.RoundCeil(1), row[2].Number.RoundCeil(1))
		if row[3].Number.IsPositive() {
			tens = max(tens, int(math.Ceil(math.Abs(math.Log10(row[3].Number.InexactFloat64())))))
		}
	}
	for _, row := range shown {
		class := r.colour(row[0].Text)
		roas := page.Picture{Text: "– " + row[3].Why}
		if row[3].Is {
			at := 0.0
			if row[3].Number.IsPositive() {
				at = 0.5 + math.Log10(row[3].Number.InexactFloat64())/float64(2*tens)
			}
			roas = page.Picture{Picture: plot.Dots([]float64{at}, class, ""), Text: sheet.Amount.People(row[3])}
		}
		change := page.Picture{Text: "– " + row[4].Why}
		if row[4].Is {
			change.Text = signed(row[4].Number)
		}
		rows.Rows = append(rows.Rows, page.Row{Name: row[0].Text, Class: class, Cells: []page.Picture{
			{Picture: plot.Dumbbell(float(row[1].Number, most), float(row[2].Number, most), class, ""), Text: sheet.Percent.People(row[1]) + " → " + sheet.Percent.People(row[2])}, roas, change}})
	}
	return page.Figure{ID: "shares", Title: "Spend share against credit share, and change", Finding: "A dot to the right of its ring: the channel brings more than its part of the budget.", Rows: rows,
		Legend: []page.Key{{Class: "key-ring", Text: "share of cost"}, {Class: "key-dot", Text: "share of revenue, both from 0 to " + whole(most, decimal.NewFromInt(1))},
			{Class: "key-mark", Text: fmt.Sprintf("ROAS 1: as much as was spent; at the ends %s and less, %s and more", decimal.New(1, -int32(tens)), human.Decimal(decimal.New(1, int32(tens)), 0))}},
		Note: strings.TrimSpace(strings.Join(append(slices.Clone(shares.Notes), more(len(channels.Rows))), " ")), Sheet: shortened(shares)}
}

// shares are the parts that channels have of cost and revenue, and how their
// revenue changed: on mature days, over two ranges of the same length.
func (r *Report) shares(channels *sheet.Sheet) *sheet.Sheet {
	s := &sheet.Sheet{Name: "shares", Title: "Shares, " + r.covers(), Columns: []sheet.Column{channels.Columns[0], {Name: "cost_share", Title: "of cost", Kind: sheet.Percent},
		{Name: "ihc_revenue_share", Title: "of revenue", Kind: sheet.Percent}, channels.Columns[5], {Name: "ihc_revenue_change", Title: "revenue ±", Kind: sheet.Percent}}}
	byChannel := func(p Period) map[string]*channelSum {
		return byKey(r.between(p.Start, p.End), func(row store.Row) string { return row.Channel })
	}
	var now, before map[string]*channelSum
	h, ok := r.headline()
	if ok && h.before != (Period{}) {
		now, before = byChannel(h.now), byChannel(h.before)
		s.Notes = []string{fmt.Sprintf("Revenue ±: sessions from %s to %s against those from %s to %s.", h.now.Start, h.now.End, h.before.Start, h.before.End)}
	}
	revenue := func(of map[string]*channelSum, channel string) decimal.Decimal {
		if s := of[channel]; s != nil {
			return s.revenue
		}
		return decimal.Zero
	}
	for _, row := range channels.Rows {
		was := revenue(before, row[0].Text)
		change := changed(revenue(now, row[0].Text), was)
		s.Rows = append(s.Rows, []sheet.Cell{row[0], partOf(row[1], channels.Total[1]), partOf(row[3], channels.Total[3]), row[5], change})
	}
	return s
}

func more(n int) string {
	if n <= mostShown {
		return ""
	}
	return human.Thousands(n-mostShown) + " more are in the tables."
}

func partOf(a, b sheet.Cell) sheet.Cell { return sheet.Ratio(a.Number, b.Number, "nothing in all") }

// float returns a ÷ b for a picture, 0 where there is none.
func float(a, b decimal.Decimal) float64 {
	if b.IsZero() {
		return 0
	}
	return a.Div(b).InexactFloat64()
}
