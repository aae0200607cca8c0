package report

import (
	"cmp"
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
	"github.com/ihc-pipeline/ihc/internal/unit"
	"github.com/ihc-pipeline/ihc/store"
)

// indexEnd is the index at the right end of its picture; 1 is at the middle.
const indexEnd = 2

// phaseSection says where in journeys the channels stand.
func (r *Report) phaseSection() (page.Section, bool) {
	phases := r.Phases()
	if phases == nil || len(phases.Rows) == 0 || r.Dimension != "" {
		return page.Section{}, false
	}
	best := decimal.Zero
	for _, row := range phases.Rows {
		best = decimal.Max(best, row[3].Number, row[4].Number, row[5].Number)
	}
	bars := &page.Rows{Head: []string{"starts", "holds", "closes"}}
	index := &page.Rows{Head: []string{"starts ÷ share", "holds ÷ share", "closes ÷ share"}}
	for _, row := range phases.Rows[:min(len(phases.Rows), mostShown)] {
		class := r.colour(row[0].Text)
		bar, dots := page.Row{Name: row[0].Text, Class: class}, page.Row{Name: row[0].Text, Class: class}
		for i := 3; i < 6; i++ {
			bar.Cells = append(bar.Cells, page.Picture{Picture: plot.Bar(float(row[i].Number, best), -1, class, ""), Text: sheet.Percent.People(row[i])})
			var at []float64
			if row[i+3].Is {
				at = []float64{row[i+3].Number.InexactFloat64() / indexEnd}
			}
			dots.Cells = append(dots.Cells, page.Picture{Picture: plot.Dots(at, class, ""), Text: sheet.Amount.People(row[i+3])})
		}
		bars.Rows, index.Rows = append(bars.Rows, bar), append(index.Rows, dots)
	}
	figures := []page.Figure{
		{ID: "phases", Title: "Share of each phase", Finding: "Each column sums to 100 % over all channels.", Rows: bars, Note: more(len(phases.Rows)), Sheet: shortened(phases), Colours: r.colourMap()},
		{ID: "position", Title: "Position", Finding: "Right of the line: the channel does more of this than its share of all credit.", Rows: index,
			Legend: []page.Key{{Class: "key-mark", Text: "1: as much as its share; 2 and beyond are at the right end"}}, Sheet: shortened(position(phases)), Colours: r.colourMap()}}
	if f, there := r.pairFigure(); there && r.Channel == "" {
		figures = append(figures, f)
	}
	return page.Section{ID: "phases-section", Title: "Who starts, holds, closes", Lead: "The model shares out every order for starting the journey, for holding it, and for closing it.", Figures: figures}, true
}

// position returns the columns of a sheet of phases that say where a channel
// stands.
func position(phases *sheet.Sheet) *sheet.Sheet {
	s := &sheet.Sheet{Name: "position", Title: phases.Title, Columns: slices.Concat(phases.Columns[:1], phases.Columns[6:]), Notes: phases.Notes}
	for _, row := range phases.Rows {
		s.Rows = append(s.Rows, slices.Concat(row[:1], row[6:]))
	}
	return s
}

// mostPairs is how many channels the grid of pairs shows.
const mostPairs = 12

// pairFigure says who opens what others close.
func (r *Report) pairFigure() (page.Figure, bool) {
	pairs := r.Pairs()
	if pairs == nil {
		return page.Figure{}, false
	}
	weight := map[[2]string]decimal.Decimal{}
	var names []string
	best := decimal.Zero
	for _, row := range pairs.Rows {
		weight[[2]string{row[0].Text, row[1].Text}] = row[2].Number
		best = decimal.Max(best, row[2].Number)
		for _, name := range []string{row[0].Text, row[1].Text} {
			if !slices.Contains(names, name) {
				names = append(names, name)
			}
		}
	}
	slices.SortFunc(names, func(a, b string) int { return cmp.Or(r.rank[a]-r.rank[b], cmp.Compare(a, b)) })
	names = names[:min(len(names), mostPairs)]
	s := &sheet.Sheet{Name: "pairs", Title: "Conversions by who opened (rows) and who closed (columns)", Columns: []sheet.Column{{Name: "initializer", Title: "opened by"}}, Notes: pairs.Notes}
	rows := &page.Rows{Head: []string{""}, Grid: names}
	for _, closer := range names {
		s.Columns = append(s.Columns, sheet.Column{Name: closer, Title: closer, Kind: sheet.Amount})
	}
	for _, opener := range names {
		line, shades := []sheet.Cell{sheet.T(opener)}, []float64(nil)
		for _, closer := range names {
			w := weight[[2]string{opener, closer}]
			line, shades = append(line, sheet.N(w)), append(shades, float(w, best))
		}
		s.Rows = append(s.Rows, line)
		rows.Rows = append(rows.Rows, page.Row{Name: opener, Class: r.colour(opener), Cells: []page.Picture{{Picture: plot.HeatRow(shades, len(shades), 0, "m", "")}}})
	}
	return page.Figure{ID: "pairs", Title: "Who opens what others close", Finding: r.helped(pairs), Rows: rows, Sheet: s, Colours: r.colourMap(),
		Note: "Rows open, columns close; the fuller the shade, the more orders. On the diagonal a channel closes what it opened."}, true
}

// helped says which channel opens most of what another closes.
func (r *Report) helped(pairs *sheet.Sheet) string {
	for _, row := range pairs.Rows {
		if row[0].Text != row[1].Text {
			return fmt.Sprintf("What %s opens, %s closes most often: %s conversions, %s of all.", page.Isolated(row[0].Text), page.Isolated(row[1].Text),
				sheet.Amount.People(row[2]), sheet.Percent.People(sheet.Ratio(row[2].Number, decimal.NewFromInt(r.totals.Journeys.Conversions), "")))
		}
	}
	return "Every channel closes what it opens, and nothing else."
}

// mostDates is how many dates are shown one by one; of more, weeks and then
// months are shown.
const mostDates = 100

// timeSection shows the report over time.
func (r *Report) timeSection() (page.Section, bool) {
	if len(r.rows) == 0 {
		return page.Section{}, false
	}
	by := ByDay
	s := r.By(by)
	for _, longer := range []string{ByWeek, ByMonth} {
		if len(s.Rows) > mostDates {
			by = longer
			s = r.By(by)
		}
	}
	immature := r.immature(s)
	hatched := len(s.Rows) - len(immature)
	panels := []page.Panel{r.overPanel(s, by, 3, hatched), r.overPanel(s, by, 1, hatched), r.overPanel(s, by, 5, hatched)}
	var legend []page.Key
	if hatched < len(s.Rows) {
		legend = []page.Key{{Class: "key-unsure", Text: "not final yet: " + r.expected(s.Rows[hatched][0].Text, s.Rows[len(s.Rows)-1][0].Text, immature)}}
	}
	own := legend
	if r.Compare != (Period{}) {
		own = append([]page.Key{{Class: "key-before", Text: fmt.Sprintf("%s to %s, %s by %s", r.Compare.Start, r.Compare.End, by, by)}}, legend...)
	}
	figures := []page.Figure{{ID: "time", Title: "By " + by, Lines: panels, Legend: own, Note: r.partial(by), Sheet: shortened(s), Immature: immature}}
	return page.Section{ID: "time-section", Title: "Over time", Lead: "By the date of the session.", Figures: append(figures, r.gridFigures(by, s, immature, legend)...)}, true
}

// expected says how far the first and the last date are that are not final.
func (r *Report) expected(first, last string, immature map[string]string) string {
	if first == last {
		return last + " has " + immature[last]
	}
	return fmt.Sprintf("%s has %s, %s %s", first, strings.TrimSuffix(immature[first], ofFinal), last, immature[last])
}

// partial says which weeks or months the dates do not fill, so that nobody takes
// them for a fall.
func (r *Report) partial(by string) string {
	next := func(date string) string { d, _ := civil.ParseDate(date); return (d + 1).String() }
	first, last := start(by, r.First) != r.First, start(by, next(r.Last)) == start(by, r.Last)
	switch {
	case by == ByDay:
		return ""
	case first && last:
		return fmt.Sprintf("The first %s and the last are not whole: sessions from %s to %s.", by, r.First, r.Last)
	case first:
		return fmt.Sprintf("The first %s is not whole: it begins on %s.", by, r.First)
	case last:
		return fmt.Sprintf("The last %s is not whole: it ends on %s.", by, r.Last)
	}
	return ""
}

// overPanel draws a column of a sheet over time.
func (r *Report) overPanel(s *sheet.Sheet, by string, column, hatched int) page.Panel {
	values, before := make([]float64, len(s.Rows)), make([]float64, len(s.Rows))
	low, top := decimal.Zero, decimal.Zero
	value := func(c sheet.Cell) float64 {
		if !c.Is {
			return math.NaN()
		}
		low, top = decimal.Min(low, c.Number), decimal.Max(top, c.Number)
		return c.Number.InexactFloat64()
	}
	sums := r.beforeBy(by)
	for i, row := range s.Rows {
		values[i], before[i] = value(row[column]), math.NaN()
		if sum := sums[place(by, r.First, row[0].Text)]; sum != nil {
			before[i] = value(sum.cells()[column-1])
		}
	}
	if len(sums) == 0 {
		before = nil
	}
	name := upper(s.Columns[column].Title)
	spans := human.Decimal(low, 2) + " to " + human.Decimal(top, 2)
	l := plot.Line{Values: values, Before: before, Class: "m", Hatched: hatched, Column: column, Grid: gridOf(low, top), Below: datesOf(s.Rows),
		Alt: fmt.Sprintf("%s by %s from %s to %s, %s; the numbers are in the table", name, by, s.Rows[0][0].Text, s.Rows[len(s.Rows)-1][0].Text, spans)}
	return page.Panel{Name: name, Range: spans, Picture: l.SVG()}
}

// gridOf returns round values between two, as people read them.
func gridOf(low, top decimal.Decimal) (at []plot.Named) {
	values := plot.Round(low.InexactFloat64(), top.InexactFloat64())
	most := 0.0
	for _, v := range values {
		most = max(most, math.Abs(v))
	}
	for _, v := range values {
		n, places, unit := decimal.NewFromFloat(v), int32(0), ""
		switch {
		case most >= 1e6:
			n, places, unit = n.Shift(-6), 1, " M" // or there is no room
		case most < 10:
			places = 2
		}
		at = append(at, plot.Named{Name: human.Decimal(n, places) + unit, At: v})
	}
	return at
}

// datesOf returns up to five dates, at even distances, of rows that begin with
// them.
func datesOf(rows [][]sheet.Cell) (at []plot.Named) {
	last := len(rows) - 1
	for k := range 5 {
		if i := last * k / 4; k == 0 || float64(i) > at[len(at)-1].At {
			at = append(at, plot.Named{Name: rows[i][0].Text, At: float64(i)})
		}
	}
	return at
}

// gridFigures show which channel earned when.
func (r *Report) gridFigures(by string, over *sheet.Sheet, immature map[string]string, legend []page.Key) []page.Figure {
	type cellKey struct{ channel, date string }
	sums := map[cellKey]*channelSum{}
	for _, row := range r.rows {
		k := cellKey{row.Channel, start(by, row.Date)}
		if sums[k] == nil {
			sums[k] = &channelSum{}
		}
		sums[k].add(row)
	}
	channels := ordered(byKey(r.rows, func(row store.Row) string { return row.Channel }))
	channels = channels[:min(len(channels), mostShown)]
	s := &sheet.Sheet{Name: "revenue-by-channel-and-" + by, Title: "Revenue (ihc) by channel and " + by, Columns: []sheet.Column{over.Columns[0]}}
	best, least := decimal.Zero, decimal.Zero
	for _, c := range channels {
		s.Columns = append(s.Columns, sheet.Column{Name: c.channel, Title: c.channel, Kind: sheet.Amount})
	}
	for _, dated := range over.Rows {
		line := []sheet.Cell{dated[0]}
		for _, c := range channels {
			cell := sheet.None("no sessions")
			if sum := sums[cellKey{c.channel, dated[0].Text}]; sum != nil {
				cell = sheet.N(sum.revenue)
				best, least = decimal.Max(best, sum.revenue), decimal.Min(least, sum.revenue)
			}
			line = append(line, cell)
		}
		s.Rows = append(s.Rows, line)
	}
	rows := &page.Rows{Head: []string{""}, Ends: [2]string{s.Rows[0][0].Text}}
	if last := len(s.Rows) - 1; last > 0 {
		rows.Ends[1] = s.Rows[last][0].Text
	}
	for k, c := range channels {
		values := make([]float64, len(s.Rows))
		for i, line := range s.Rows {
			if values[i] = float(line[k+1].Number, best); line[k+1].Number.IsNegative() {
				values[i] = -1
			}
		}
		rows.Rows = append(rows.Rows, page.Row{Name: c.channel, Class: r.colour(c.channel), Cells: []page.Picture{{Picture: plot.HeatRow(values, len(values)-len(immature), k+1, r.colour(c.channel), "")}}})
	}
	note := ""
	if n := len(r.rank) - len(channels); n > 0 && r.Channel == "" {
		note = human.Thousands(n) + " more channels are in channel_reporting.csv."
	}
	finding := "There is no revenue above 0."
	if best.IsPositive() {
		finding = "The fuller the shade, the more revenue; the fullest is " + human.Decimal(best, 2) + "."
	}
	if least.IsNegative() {
		legend = append(slices.Clone(legend), page.Key{Class: "key-under", Text: "below 0, down to " + human.Decimal(least, 2)})
	}
	return []page.Figure{{ID: "grid", Title: "Revenue by channel and " + by, Finding: finding,
		Rows: rows, Legend: legend, Note: note, Sheet: shortened(s), Immature: immature}}
}

// pathSection says which ways lead to orders, and how long they take.
func (r *Report) pathSection() (page.Section, bool) {
	j := r.totals.Journeys
	if j == nil || j.Conversions == 0 || r.Dimension != "" {
		return page.Section{}, false
	}
	of := ""
	if r.Channel != "" {
		of = ", by way of whatever channels"
	}
	figures := []page.Figure{r.pathFigure(j), r.lengthFigure(), r.waitFigure()}
	return page.Section{ID: "paths-section", Title: "Paths", Lead: "The journeys of the " + human.Count(j.Conversions, "conversion") + " of these dates that were attributed" + of + ".", Figures: figures}, true
}

// pathsShown is how many paths are drawn; the table has more.
const pathsShown = 15

func (r *Report) pathFigure(j *store.Journeys) page.Figure {
	f := page.Figure{ID: "paths", Title: "The most frequent paths", Finding: "Visits of one channel in a row are one step: ×2.2 is 2.2 of them on average. What a step did: S of the start, H of the holding, C of the close, in percent.", Sheet: shortened(r.Paths())}
	for _, p := range j.Paths[:min(len(j.Paths), pathsShown)] {
		path := page.Path{Count: human.Thousands(p.Conversions), Share: sheet.Percent.People(part(p.Conversions, j.Conversions)), Value: human.Decimal(p.Revenue.Decimal(unit.MoneyDecimals), 2)}
		for i, s := range p.Steps {
			if p.Cut && i == store.MostSteps/2 {
				path.Steps = append(path.Steps, page.Step{Gap: true})
			}
			path.Steps = append(path.Steps, page.Step{Name: s.Channel, Class: r.colour(s.Channel), Times: visitsText(s, p.Conversions), Phases: phaseText(s, p.Conversions, len(p.Steps))})
		}
		f.Paths = append(f.Paths, path)
	}
	return f
}

// phaseText says what a step did, on average, in whole percents; nothing of the
// one step of a path, which does all.
func phaseText(s store.Step, conversions int64, steps int) string {
	if steps == 1 || s.Initializer+s.Holder+s.Closer == 0 {
		return ""
	}
	of := func(n int64) string {
		return share(n).Div(decimal.NewFromInt(conversions)).Shift(2).StringFixed(0)
	}
	return "S" + of(s.Initializer) + " H" + of(s.Holder) + " C" + of(s.Closer)
}

func (r *Report) lengthFigure() page.Figure {
	s := r.Lengths()
	rows := &page.Rows{Head: []string{""}}
	best := decimal.Zero
	for _, row := range s.Rows {
		best = decimal.Max(best, row[2].Number)
	}
	for _, row := range s.Rows {
		name := row[0].Text + " sessions"
		if row[0].Text == "1" {
			name = "1 session"
		}
		rows.Rows = append(rows.Rows, page.Row{Name: name, Cells: []page.Picture{{Picture: plot.Bar(float(row[2].Number, best), -1, "m", ""), Text: sheet.Percent.People(row[2])}}})
	}
	return page.Figure{ID: "lengths", Title: "Length of journeys", Rows: rows, Sheet: s}
}

func (r *Report) waitFigure() page.Figure {
	s := r.Waits()
	j := r.totals.Journeys
	var last int // until nearly all have come
	var sum int64
	for last = range j.Days {
		if sum += j.Days[last]; sum*1000 >= 995*j.Conversions {
			break
		}
	}
	last = max(last, 1)
	conversions := make([]float64, last+1)
	sum = 0
	for days := range conversions {
		if days < len(j.Days) {
			sum += j.Days[days]
		}
		conversions[days] = float64(sum) / float64(j.Conversions)
	}
	var marks []plot.Named
	for _, percent := range []int64{50, 90} {
		for days, v := range conversions {
			if v*100 >= float64(percent) {
				marks = append(marks, plot.Named{Name: fmt.Sprintf("%d %%: ", percent) + strings.Replace(r.within(percent), "the day", "the same day", 1), At: float64(days)})
				break
			}
		}
	}
	below := []plot.Named{{Name: "the same day"}, {Name: human.Count(last, "day"), At: float64(last)}}
	if last > 3 {
		below = slices.Insert(below, 1, plot.Named{Name: human.Count(last/4, "day"), At: float64(last / 4)}, plot.Named{Name: human.Count(last/2, "day"), At: float64(last / 2)},
			plot.Named{Name: human.Count(last*3/4, "day"), At: float64(last * 3 / 4)})
	}
	l := plot.Line{Values: conversions, Top: 1, Class: "m", Steps: true, Hatched: len(conversions), Marks: marks, Below: below, Grid: []plot.Named{{Name: "50 %", At: 0.5}, {Name: "90 %", At: 0.9}},
		Alt: "Part of the conversions that come within so many days of the first session: " + s.Notes[0]}
	return page.Figure{ID: "waits", Title: "Time to conversion", Finding: upper(s.Notes[0]) + ".",
		Lines: []page.Panel{{Name: "Conversions that have come, by days from the first session", Range: "0 to 100 %", Picture: l.SVG()}}, Sheet: shortened(s)}
}
