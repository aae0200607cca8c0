package main

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/shopspring/decimal"

	"github.com/ihc-pipeline/ihc/internal/attribution"
	"github.com/ihc-pipeline/ihc/internal/human"
	"github.com/ihc-pipeline/ihc/internal/sheet"
	"github.com/ihc-pipeline/ihc/store/report"
)

const (
	pageWidth = 80 // where no terminal says how wide it is
	nameWidth = 22
	gap       = "  "
	tooFew    = "*"
)

// printer writes a comparison of models for people.
type printer struct {
	*strings.Builder
	t *modelsTable
	// width is how many cells a line may take.
	width int
}

// out writes into the builder, which takes it all.
func (p printer) out(format string, args ...any) { _, _ = fmt.Fprintf(p.Builder, format, args...) }

// measure is one number of a channel and model, as it is shown.
type measure struct {
	title string
	cell  func(c attribution.Credit) string
	// sum writes the sum of a model's column, nil where there is none.
	sum func(m attribution.Result) string
}

func (p printer) all() {
	t := p.t
	p.out("%s by %s, %s revenue\n", human.Count(t.Conversions, "conversion"), human.Count(len(t.Section.Models), "model"), amount(t.Revenue))
	p.out("%s, %s without conversion\n", human.Count(t.Users, "user"), human.Count(t.Nulls, "journey"))
	if t.Conversions == 0 {
		p.WriteString("\nThere are no conversions to divide.\n")
		return
	}
	section := &t.Section
	if t.by == attribution.ByNothing {
		places := decimals(section, conversionsOf)
		p.table(section, conversionsMeasure("Conversions", places))
		p.table(section, measure{"95 % of conversions, ±", func(c attribution.Credit) string { return half(c.Conversions, places) }, nil})
		p.table(section, totals("Revenue", decimals(section, revenueOf), revenueOf))
		p.table(section, measure{"CPO", func(c attribution.Credit) string { return sheet.Amount.People(t.CPO("", c)) }, nil})
		p.table(section, measure{"ROAS", func(c attribution.Credit) string { return sheet.Amount.People(t.ROAS("", c)) }, nil})
	} else {
		for i := range t.Periods {
			s := &t.Periods[i]
			title := map[attribution.Period]string{attribution.ByWeek: "Week of ", attribution.ByMonth: "Month "}[t.by] + s.Period + ", conversions"
			p.table(s, conversionsMeasure(title, decimals(s, conversionsOf)))
		}
		p.WriteString("\nRevenue, CPO and ROAS by " + string(t.by) + ": --json or --csv.\n")
	}
	if _, more := p.channels(); more > 0 {
		p.out("\n%s more in --json and --csv, and in the totals.\n", human.Count(more, "channel"))
	}
	p.disagree()
	p.notes()
}

func conversionsOf(c attribution.Credit) float64 { return c.Conversions.Value }

func revenueOf(c attribution.Credit) float64 { return c.Revenue.Value }

// decimals is how many decimals a table of these numbers has room for.
func decimals(s *attribution.Section, of func(attribution.Credit) float64) int {
	for _, m := range s.Models {
		for _, c := range m.Credits {
			if math.Abs(of(c)) >= 10_000 {
				return 0
			}
		}
	}
	return 1
}

// totals is a measure whose columns are summed.
func totals(title string, places int, of func(attribution.Credit) float64) measure {
	return measure{title, func(c attribution.Credit) string { return rounded(of(c), places) }, func(m attribution.Result) string {
		sum := 0.0
		for _, c := range m.Credits {
			sum += of(c)
		}
		return rounded(sum, places)
	}}
}

func conversionsMeasure(title string, places int) measure {
	m := totals(title, places, conversionsOf)
	plain := m.cell
	m.cell = func(c attribution.Credit) string {
		if c.TooFew {
			return plain(c) + tooFew
		}
		return plain(c)
	}
	return m
}

// table writes a measure of all models: as many side by side as there is room.
func (p printer) table(s *attribution.Section, m measure) {
	channels, _ := p.channels()
	titles, shown := []string{"", ""}, p.named()
	for _, c := range channels {
		titles = append(titles, shown(c))
	}
	if m.sum != nil {
		titles = append(titles, "total")
	}
	names := 0
	for _, t := range titles {
		names = max(names, human.Width(t))
	}
	p.out("\n%s\n", m.title)
	width, first := 0, 0
	var columns [][]string
	flush := func(end int) {
		p.rows(titles, columns, names)
		columns, width, first = nil, 0, end
	}
	for i, result := range s.Models {
		column := p.column(result, channels, m)
		w := 0
		for _, cell := range column {
			w = max(w, human.Width(cell))
		}
		if i > first && names+width+len(gap)+w > p.width {
			flush(i)
			p.WriteByte('\n')
		}
		columns = append(columns, column)
		width += len(gap) + w
	}
	flush(len(s.Models))
}

// column returns two lines of heading, a cell for each channel, and the sum.
func (p printer) column(r attribution.Result, channels []string, m measure) []string {
	above, name := "", r.Model
	switch {
	case r.Coverage:
		above, name = "(cover-", "age)"
	case r.Model == attribution.LastNonDirect:
		above, name = "last non-", "direct"
	case strings.Contains(r.Model, "-"):
		above, name, _ = strings.Cut(r.Model, "-")
		above += "-"
	}
	column := []string{above, name}
	credits := map[string]attribution.Credit{}
	for _, c := range r.Credits {
		credits[c.Channel] = c
	}
	for _, channel := range channels {
		c, ok := credits[channel]
		if !ok {
			column = append(column, "–")
			continue
		}
		column = append(column, m.cell(c))
	}
	switch {
	case m.sum == nil:
	case r.Coverage:
		column = append(column, "–")
	default:
		column = append(column, m.sum(r))
	}
	// Marks stand to the right of the digits, not in their place.
	if slices.ContainsFunc(column[2:], func(c string) bool { return strings.HasSuffix(c, tooFew) }) {
		for i := range column {
			if !strings.HasSuffix(column[i], tooFew) {
				column[i] += " "
			}
		}
	}
	return column
}

func (p printer) rows(titles []string, columns [][]string, names int) {
	for i, title := range titles {
		line := human.Pad(title, names)
		for _, column := range columns {
			w := 0
			for _, cell := range column {
				w = max(w, human.Width(cell))
			}
			line += gap + human.PadLeft(column[i], w)
		}
		if line = strings.TrimRight(line, " "); line != "" {
			p.out("%s\n", line)
		}
	}
}

// named returns how each channel is written, in every table alike.
func (p printer) named() func(channel string) string {
	var all []string
	for _, m := range p.t.Section.Models {
		for _, c := range m.Credits {
			all = append(all, c.Channel)
		}
	}
	return human.Named(all, nameWidth)
}

// channels returns the names of those that are shown, those with the most
// conversions on the average of the models first, and how many there are more.
func (p printer) channels() (names []string, more int) {
	sums := map[string]float64{}
	for _, m := range p.t.Section.Models {
		for _, c := range m.Credits {
			if _, ok := sums[c.Channel]; !ok {
				names = append(names, c.Channel)
			}
			sums[c.Channel] += c.Conversions.Value
		}
	}
	slices.SortFunc(names, func(a, b string) int {
		if unattributed := cmp.Compare(last(a == attribution.Unattributed), last(b == attribution.Unattributed)); unattributed != 0 {
			return unattributed
		}
		return cmp.Or(cmp.Compare(math.Round(sums[b]*1e6), math.Round(sums[a]*1e6)), cmp.Compare(a, b))
	})
	shown := min(len(names), mostShown)
	return names[:shown], len(names) - shown
}

func last(yes bool) int {
	if yes {
		return 1
	}
	return 0
}

// mostApart is how many channels are named of which the models disagree.
const mostApart = 3

func (p printer) disagree() {
	all := p.t.Disagreements()
	if len(p.t.Section.Models) < 2 || len(all) == 0 || all[0].Conversions == 0 {
		return
	}
	p.WriteString("\nWhere they disagree most\n")
	shown := p.named()
	for _, d := range all[:min(len(all), mostApart)] {
		p.wrapped("  %s: from %s (%s) to %s (%s)", shown(d.Channel), amount(d.Least), d.LeastModel, amount(d.Most), d.MostModel)
	}
	var first, second string
	most := 0.0
	for i, a := range p.t.Section.Models {
		for _, b := range p.t.Section.Models[:i] {
			if part := report.Moved(a, b, p.t.Conversions); !a.Coverage && !b.Coverage && part > most {
				most, first, second = part, b.Model, a.Model
			}
		}
	}
	if most > 0 {
		p.wrapped("  %s and %s give %.1f %% of all conversions to different channels", first, second, 100*most)
	}
}

func (p printer) notes() {
	p.WriteByte('\n')
	var settings []string
	for _, m := range p.t.Section.Models {
		if m.Label != m.Model {
			settings = append(settings, human.Printable(m.Label))
		}
	}
	if len(settings) > 0 {
		p.wrapped("Settings: %s.", strings.Join(settings, ", "))
	}
	if slices.ContainsFunc(p.t.Section.Models, func(m attribution.Result) bool {
		return slices.ContainsFunc(m.Credits, func(c attribution.Credit) bool { return c.TooFew })
	}) {
		p.wrapped("%s too few to rank: fewer than %d conversions.", tooFew, attribution.TooFew)
	}
	p.wrapped("%s.", report.NotCause)
	for _, m := range p.t.Section.Models {
		for _, n := range m.Notes {
			p.wrapped("note: %s: %s", m.Model, human.Printable(n))
		}
	}
	for _, n := range p.t.notes {
		p.wrapped("note: %s", human.Printable(n))
	}
}

// wrapped writes a text in lines that fit, the second and later ones indented.
func (p printer) wrapped(format string, args ...any) {
	text := fmt.Sprintf(format, args...)
	indent := len(text) - len(strings.TrimLeft(text, " ")) + len(gap)
	p.out("%s\n", human.Wrap(text, p.width, indent))
}

// amount writes a number, with a decimal where that tells something.
func amount(v float64) string {
	if math.Abs(v) >= 10_000 {
		return rounded(v, 0)
	}
	return rounded(v, 1)
}

// rounded writes a number with so many decimals and commas between thousands,
// as every report does.
func rounded(v float64, places int) string {
	return human.Decimal(decimal.NewFromFloat(v), int32(places))
}

// signed writes a difference with its sign, and nothing moved without one.
func signed(v float64) string {
	text := rounded(v, 2)
	if v > 0 && text != rounded(0, 2) {
		return "+" + text
	}
	return text
}

func half(e attribution.Estimate, places int) string {
	if !e.Known {
		return "–"
	}
	return rounded((e.High-e.Low)/2, places)
}
